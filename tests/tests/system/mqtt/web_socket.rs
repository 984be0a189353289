//! Source and sink have the same guarantees over a WebSocket with TLS as over TCP.

use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use aqueduct_tests::http::free_address;
use aqueduct_tests::store;
use aqueduct_tests::wire::Wire;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::broker::Broker;
use super::{LIMIT, MESSAGES, OPEN, agent, lines, source, wait_until_subscribed};

/// Rounds of messages: the agent is killed in the first, the broker is restarted in the second.
const ROUNDS: usize = 3;

/// Messages of QoS 2 go to one source; others go to a second source, to the sink and to a third
/// source. All of them use `wss://` through a relay that cuts connections.
pub(crate) fn messages_survive_kills_and_cuts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    aqueduct_tests::certificates::make(dir);
    let (secure, path) = (free_address(), dir.display());
    let settings = format!(
        "{OPEN}listener {} 127.0.0.1\nprotocol websockets\ncafile {path}/ca.pem\n\
         certfile {path}/server.pem\nkeyfile {path}/server.key\n",
        secure.port()
    );
    let mut broker = Broker::new(dir, "broker", &settings);
    let wire = Wire::new(secure);
    let at = |client: &str| {
        let tls = format!("tls = {{ ca = \"{path}/ca.pem\" }}");
        format!("address = \"wss://{}/mqtt\", client_id = \"{client}\", {tls}", wire.address)
    };
    let mut components = source(dir, "q2", &at("q2"), "filters = [\"site/#\"]\nqos = 2")
        + source(dir, "q1", &at("q1"), "filters = [\"out/#\"]").as_str();
    let _ = write!(
        components,
        "[sources.relay]\ntype = \"mqtt\"\nchannels = [\"relay\"]\nfilters = [\"relay/#\"]\n\
         broker = {{ {} }}\n\
         [channels.relay]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.relay]\ntype = \"mqtt\"\nchannel = \"relay\"\ntopic = \"out/%{{topic}}\"\n\
         broker = {{ {} }}\n",
        at("relay"),
        at("sink")
    );
    let mut collector = agent(dir, "collector", &components);
    collector.start();
    wait_until_subscribed(&collector, 3);
    let mut rng = seed::rng("mqtt-ws");
    let (mut exact, mut relayed) = (String::new(), String::new());
    for round in 0..ROUNDS {
        let texts = ["2", "1"].map(|qos| lines(&format!("{qos}-{round}"), 0..MESSAGES));
        thread::scope(|scope| {
            let publishing = [
                scope.spawn(|| broker.publish("site/a", 2, &texts[0])),
                scope.spawn(|| broker.publish("relay/a", 1, &texts[1])),
            ];
            thread::sleep(Duration::from_millis(rng.random_range(1..30)));
            wire.cut();
            if round == 0 {
                collector.kill();
                collector.start();
            }
            publishing.into_iter().for_each(|it| it.join().expect("the devices publish"));
        });
        if round == 1 {
            broker.stop();
            broker.start();
        }
        exact += &texts[0];
        relayed += &texts[1];
    }
    let (exact, relayed) = (store::counted(exact.lines()), store::counted(relayed.lines()));
    wait::until("all messages of QoS 2, once each", LIMIT, || {
        (store::lines(&dir.join("q2")) == exact).then_some(())
    });
    wait::until("all messages that were relayed", LIMIT, || {
        let there = store::lines(&dir.join("q1"));
        relayed.keys().all(|line| there.contains_key(line)).then_some(())
    });
    collector.stop(LIMIT);
    assert!(store::lines(&dir.join("q2")) == exact, "a message of QoS 2 is stored once");
    let there = store::lines(&dir.join("q1"));
    assert_eq!(there.len(), relayed.len(), "no message of another kind");
    let repeats: usize = store::repeats(&there);
    eprintln!("{} messages of each QoS by wss, {repeats} repeats of QoS 1", exact.len());
}
