//! A real HiveMQ with two collectors; all of them are killed.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::java_with;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::store;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

use super::broker::publish;
use super::{LIMIT, MESSAGES, agent, lines, source, wait_until_subscribed};

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hivemq/pom.xml"));
/// Timeout of the broker's start.
const START: Duration = Duration::from_secs(90);
/// Rounds of messages; in the last one the broker is killed.
const ROUNDS: usize = 4;

/// A broker with its sessions on disk. Killed on drop.
struct HiveMq {
    address: SocketAddr,
    web_socket: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl HiveMq {
    /// Starts a broker.
    fn start(dir: &Path) -> Self {
        let (address, web_socket) = (free_address(), free_address());
        let dir = dir.join("hivemq");
        for folder in ["conf", "data", "extensions"] {
            fs::create_dir_all(dir.join(folder)).expect("the test's own folder");
        }
        let text = format!(
            "<?xml version=\"1.0\"?>\n<hivemq><listeners><tcp-listener>\
             <port>{}</port><bind-address>127.0.0.1</bind-address></tcp-listener>\
             <websocket-listener><port>{}</port><bind-address>127.0.0.1</bind-address>\
             <path>/mqtt</path><subprotocols><subprotocol>mqtt</subprotocol></subprotocols>\
             </websocket-listener></listeners>\n\
             <mqtt><queued-messages><max-queue-size>100000</max-queue-size>\
             </queued-messages></mqtt>\n\
             <anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>\n\
             <persistence><mode>file</mode></persistence></hivemq>\n",
            address.port(),
            web_socket.port()
        );
        fs::write(dir.join("conf/config.xml"), text).expect("the test's own folder");
        fs::write(dir.join("HiveMq.java"), include_str!("HiveMq.java"))
            .expect("the test's own folder");
        let mut hivemq = Self { address, web_socket, dir, process: None };
        hivemq.revive();
        hivemq
    }

    /// Restarts it after [`HiveMq::kill`], with the same files at the same address.
    fn revive(&mut self) {
        let mut java = java_with("hivemq-2025.5", POM, &self.dir);
        java.arg(self.dir.join("HiveMq.java")).arg(&self.dir);
        let mut process = Process::start("hivemq", java, &self.dir.join("out"));
        wait::until("the broker to listen", START, || {
            assert!(process.is_alive(), "HiveMQ ended:\n{}", tail(&process.output()));
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }
}

/// Returns a collector with a member of the group, and another session whose messages arrive once.
fn collector(dir: &Path, name: &str, broker: &str) -> Agent {
    let at = |client: String| format!("address = \"{broker}\", client_id = \"{client}\"");
    let shared = "filters = [\"$share/collectors/site/#\"]\nqos = 2";
    let own = format!("filters = [\"once/{name}\"]\nqos = 2");
    let components = source(dir, &format!("shared-{name}"), &at(format!("s-{name}")), shared)
        + source(dir, &format!("own-{name}"), &at(format!("o-{name}")), &own).as_str();
    agent(dir, &format!("c-{name}"), &components)
}

/// Splits lines into two halves.
fn halves(lines: &str) -> (&str, &str) {
    let end = lines.match_indices('\n').nth(MESSAGES / 2 - 1).expect("as many lines").0;
    lines.split_at(end + 1)
}

/// Two collectors, one over TCP and one over WebSockets, share the messages of HiveMQ and have
/// others of their own, and are killed in turn; finally the broker is killed. While both run, the
/// broker may give all shared messages to one of them. So the killed one restarts only after half
/// of the messages went to the other one. When the broker is killed, only one collector's own
/// messages are in flight, because the broker would lose those of a group.
pub(crate) fn two_collectors_share_and_die() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let (began, mut rng) = (Instant::now(), seed::rng("hivemq"));
    let mut broker = HiveMq::start(dir);
    let names = ["one", "two"];
    // The second one uses WebSockets.
    let ways = [broker.address.to_string(), format!("ws://{}/mqtt", broker.web_socket)];
    let mut collectors = [0, 1].map(|at| collector(dir, names[at], &ways[at]));
    collectors.iter_mut().for_each(Agent::start);
    collectors.iter().for_each(|collector| wait_until_subscribed(collector, 2));
    // HiveMQ grants at most QoS 1 for a shared subscription.
    collectors.iter().for_each(|it| it.until_logged("granted=1", LIMIT));
    let (mut shared, mut own) = (String::new(), [String::new(), String::new()]);
    let mut repeats = 0;
    for round in 0..ROUNDS {
        let (of_all, own_now) = (
            lines(&format!("all-{round}"), 0..MESSAGES),
            names.map(|name| lines(&format!("{name}-{round}"), 0..MESSAGES)),
        );
        let broker_dies = round + 1 == ROUNDS;
        let victim = &mut collectors[round % 2];
        let (before, after) = halves(&of_all);
        thread::scope(|scope| {
            let own = ["once/one", "once/two"].into_iter().zip(&own_now);
            for (topic, lines) in own {
                scope.spawn(|| publish(broker.address, topic, 2, lines));
            }
            if !broker_dies {
                scope.spawn(|| publish(broker.address, "site/a", 1, before));
                thread::sleep(Duration::from_millis(rng.random_range(5..100)));
                victim.kill();
            }
        });
        if broker_dies {
            broker.kill();
            broker.revive();
            publish(broker.address, "site/a", 1, before);
        }
        publish(broker.address, "site/a", 1, after);
        if !broker_dies {
            victim.start();
        }
        shared += &of_all;
        own.iter_mut().zip(own_now).for_each(|(all, now)| *all += &now);
        let sent = store::counted(shared.lines());
        wait::until("all messages", LIMIT, || {
            let there = names.map(|name| store::lines(&dir.join(format!("shared-{name}"))));
            sent.keys().all(|it| there.iter().any(|there| there.contains_key(it))).then_some(())
        });
        for (name, own) in names.iter().zip(&own) {
            let there = wait::until("what is for one", LIMIT, || {
                let there = store::lines(&dir.join(format!("own-{name}")));
                store::counted(own.lines()).keys().all(|it| there.contains_key(it)).then_some(there)
            });
            repeats = store::repeats(&there);
            // After a kill, the broker resends what it had not saved.
            let is_once = repeats == 0 && there.len() == own.lines().count();
            assert!(is_once || broker_dies, "a message of QoS 2 is stored once: {repeats}");
        }
    }
    let parts = names.map(|name| store::lines(&dir.join(format!("shared-{name}"))).len());
    assert!(parts.iter().all(|part| *part >= MESSAGES / 2), "each gets its share: {parts:?}");
    collectors.iter_mut().for_each(|it| it.stop(LIMIT));
    eprintln!(
        "HiveMQ: {ROUNDS} rounds of {MESSAGES}, shared {parts:?}; {repeats} repeats of QoS 2 by a \
         broker that was killed; {:?}",
        began.elapsed()
    );
}
