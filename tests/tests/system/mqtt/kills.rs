//! Messages survive kills of agent and broker, and cut connections.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::store;
use aqueduct_tests::wire::Wire;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::broker::{Broker, publishing};
use super::wait_until_subscribed;
use super::{LIMIT, MESSAGES, OPEN, agent, connections, lines, source};

/// Runs of the collector.
const LIVES: usize = 8;

/// Lines written by devices, by QoS 1 and 2.
type Written = [BTreeMap<String, usize>; 2];

/// Waits until all is stored. Returns the number of duplicates for each QoS.
fn repeats(dir: &Path, written: &Written) -> [usize; 2] {
    for (qos, all) in [(1, &written[0]), (2, &written[1])] {
        wait::until(&format!("all of QoS {qos}"), LIMIT, || {
            let there = store::lines(&dir.join(format!("q{qos}")));
            all.keys().all(|line| there.contains_key(line)).then_some(())
        });
    }
    thread::sleep(Duration::from_secs(1));
    [1, 2].map(|qos| {
        let there = store::lines(&dir.join(format!("q{qos}")));
        assert_eq!(there.len(), written[qos - 1].len(), "no message of another kind");
        store::repeats(&there)
    })
}

/// Messages of each QoS of `version` survive kills and cut connections. The broker saves its state
/// before it is killed.
pub(crate) fn messages_survive_kills(version: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut broker = Broker::new(dir, "broker", OPEN);
    let wire = Wire::new(broker.address);
    let mut collector = collector(dir, &wire, version);
    let (began, mut rng) = (Instant::now(), seed::rng("mqtt"));
    collector.start();
    wait_until_subscribed(&collector, 2);
    let mut written = Written::default();
    for life in 0..LIVES {
        for qos in [1, 2] {
            let text = lines(&format!("{qos}-{life}"), 0..MESSAGES);
            let topic = format!("site/a/q{qos}");
            thread::scope(|scope| {
                let publishing = scope.spawn(|| broker.publish(&topic, qos, &text));
                for _ in 0..3 {
                    thread::sleep(Duration::from_millis(rng.random_range(1..20)));
                    wire.cut();
                }
                publishing.join().expect("the devices publish");
            });
            written[qos - 1].extend(store::counted(text.lines()));
        }
        if life % 2 == 1 {
            let text = killed_while_it_stores(life, &broker, &wire, &mut collector, &mut rng);
            written[1].extend(store::counted(text.lines()));
            broker.save();
            broker.kill();
            broker.start();
            collector.start();
        }
    }
    let before = repeats(dir, &written);
    let again = broker.sent_behind_the_release("c2");
    assert!(before[1] <= again, "{} repeats of QoS 2, {again} by the broker's fault", before[1]);
    collector.kill();
    let after = killed_while_it_delivers(dir, &mut broker, &mut collector, &mut written);
    ids_are_given_again(dir, &mut broker, &mut rng);
    collector.stop(LIMIT);
    eprintln!(
        "MQTT {version}: {} messages of each QoS; repeats of QoS 1 and 2: {before:?}, of which \
         the broker may have made {again}, and {after:?} with a broker that was killed while it \
         delivered; {:?}",
        written[0].len(),
        began.elapsed()
    );
}

/// Kills a collector while messages of QoS 2 arrive and are stored. Returns the written lines.
fn killed_while_it_stores(
    life: usize,
    broker: &Broker,
    wire: &Wire,
    collector: &mut Agent,
    rng: &mut impl Rng,
) -> String {
    let before = connections(collector);
    wire.cut();
    wait::until("both connections", LIMIT, || (connections(collector) >= before + 2).then_some(()));
    let text = lines(&format!("2-{life}-killed"), 0..MESSAGES);
    thread::scope(|scope| {
        let publishing = scope.spawn(|| broker.publish("site/a/q2", 2, &text));
        thread::sleep(Duration::from_millis(rng.random_range(5..60)));
        collector.kill();
        publishing.join().expect("the devices publish");
    });
    text
}

fn collector(dir: &Path, wire: &Wire, version: &str) -> Agent {
    let components = [1, 2].map(|qos| {
        let at = wire.address;
        source(
            dir,
            &format!("q{qos}"),
            &format!("address = \"{at}\", client_id = \"c{qos}\", version = \"{version}\""),
            &format!(
                "filters = [\"site/+/q{qos}\"]\nqos = {qos}\nin_flight_max = 100\n\
                 topic_patterns = [\"site/+site/#\"]"
            ),
        )
    });
    agent(dir, "collector", &components.concat())
}

/// A broker killed during delivery forgets sent messages and acknowledgements, and repeats them.
fn killed_while_it_delivers(
    dir: &Path,
    broker: &mut Broker,
    collector: &mut Agent,
    written: &mut Written,
) -> [usize; 2] {
    for qos in [1, 2] {
        let text = lines(&format!("{qos}-last"), 0..MESSAGES);
        broker.publish(&format!("site/a/q{qos}"), qos, &text);
        written[qos - 1].extend(store::counted(text.lines()));
    }
    broker.save();
    let before = connections(collector);
    collector.start();
    wait::until("a connection", LIMIT, || (connections(collector) > before).then_some(()));
    thread::sleep(Duration::from_millis(20));
    broker.kill();
    broker.start();
    repeats(dir, written)
}

/// A killed broker reuses the ids of forgotten messages. The source must not confuse them.
fn ids_are_given_again(dir: &Path, broker: &mut Broker, rng: &mut impl Rng) {
    broker.save();
    for life in 0..3 {
        let text = lines(&format!("2-forgotten-{life}"), 0..MESSAGES);
        let mut publishing = publishing(broker.address, "site/a/q2", 2, &text);
        thread::sleep(Duration::from_millis(rng.random_range(5..40)));
        broker.kill();
        publishing.kill().expect("it waits for the broker");
        publishing.wait().expect("it has ended");
        broker.start();
        let text = lines(&format!("2-known-{life}"), 0..MESSAGES);
        broker.publish("site/a/q2", 2, &text);
        let known = store::counted(text.lines());
        wait::until("the messages of a broker that has forgotten others", LIMIT, || {
            let there = store::lines(&dir.join("q2"));
            known.keys().all(|line| there.contains_key(line)).then_some(())
        });
        broker.save();
    }
}
