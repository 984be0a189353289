//! Goal: an edge cuts smaller batches for a collector with a lower limit. Batches cut earlier
//! arrive when the limit is raised: every line once, no dead letter. Behind a relay, batches that
//! only one of several collectors accepts arrive at that one.
//!
//! Method: both agents in child processes. The edge starts first, so that its channel contains
//! whole batches of the default size before a collector announces a limit.

#[allow(dead_code, reason = "a part of it is used here")]
use std::fs::{File, read_to_string};
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::loopback::free_address;

use crate::common::{Agent, aqueduct, command, edge, stored, text, write};

/// Lines of the file that exists before any limit is known: 20 MB.
const EARLY: usize = 200_000;
/// Lines of the later file.
const LATE: usize = 20_000;

fn lines(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n:0>93}")).collect()
}

/// Waits until a condition is true; on a timeout, fails with the edge's log.
fn until(log: &Path, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", read_to_string(log).unwrap());
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn collector_with_a_lower_limit_gets_the_rest_when_it_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (early, late) = (lines("early", EARLY), lines("late", LATE));
    write(&dir.path().join("early.log"), &(early.join("\n") + "\n"));
    let address = free_address().to_string();
    let settings = edge(&at("edge"), &at("*.log")).replace("ADDRESS", &address);
    write(&dir.path().join("edge.toml"), &settings);
    let log = dir.path().join("log");
    let child = command(&["edge", "--config", &at("edge.toml")])
        .stderr(Stdio::from(File::create(&log).unwrap()))
        .spawn();
    let edge = Agent { child: child.unwrap() };
    // The channel contains all lines in batches of 1 MiB.
    let segments = dir.path().join("edge/channels/main/log");
    let held = || {
        let files = std::fs::read_dir(&segments).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum::<u64>()
    };
    until(&log, || held() >= early.iter().map(|line| line.len() as u64 + 1).sum());

    let collector = Agent::collector_at(dir.path(), &address, "64KiB");
    until(&log, || read_to_string(&log).unwrap().contains("holding back batches of this size"));
    write(&dir.path().join("late.log"), &(late.join("\n") + "\n"));
    until(&log, || {
        stored(dir.path()).iter().filter(|line| line.starts_with("late")).count() == LATE
    });
    let said = read_to_string(&log).unwrap();
    assert!(said.contains("message_max") && said.contains(&address), "{said}");
    assert!(stored(dir.path()).len() < EARLY, "batches of the default size are held back");
    collector.stop();

    let collector = Agent::collector_at(dir.path(), &address, "16MiB");
    until(&log, || stored(dir.path()).len() >= EARLY + LATE);
    let mut expected = [early, late].concat();
    expected.sort();
    assert!(stored(dir.path()) == expected, "every line once");
    edge.stop();
    collector.stop();
    let letters = text(&aqueduct(&["dlq", "list", &at("edge")]));
    assert!(letters.contains("no dead letters"), "{letters}");
    assert!(stored(dir.path()) == expected, "every line once");
}

/// A relay whose group has both collectors, in this order.
fn relay(dir: &Path, listen: &str, collectors: [&str; 2]) -> Agent {
    let at = dir.join("relay");
    let [small, large] = collectors;
    let settings = format!(
        "[agent]\ndata_dir = \"{}\"\ngrace = \"1s\"\n\
         [sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.small]\ntype = \"grpc\"\naddress = \"{small}\"\n\
         [sinks.large]\ntype = \"grpc\"\naddress = \"{large}\"\n\
         [groups.collectors]\ntype = \"failover\"\nchannel = \"main\"\n\
         sinks = [\"small\", \"large\"]\n",
        at.display(),
    );
    write(&dir.join("relay.toml"), &settings);
    let file = dir.join("relay.toml").display().to_string();
    let log = File::create(dir.join("relay.log")).unwrap();
    Agent { child: command(&["collector", "--config", &file]).stderr(log).spawn().unwrap() }
}

#[test]
fn line_accepted_by_one_collector_of_a_relay_is_no_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let (large, to_large) = Agent::collector(dir.path(), "16MiB");
    // Collectors of one group share a store.
    let to_small = free_address().to_string();
    let settings = read_to_string(dir.path().join("collector.toml")).unwrap();
    let settings = settings.replace("/collector\"", "/small\"").replace("16MiB", "64KiB");
    let small = Agent::configured(dir.path(), "small", &settings.replace(&to_large, &to_small));
    let listen = free_address().to_string();
    let relay = relay(dir.path(), &listen, [&to_small, &to_large]);
    let log = dir.path().join("relay.log");
    // Both collectors have announced their limits.
    let noted = |data: &str, text: &str| {
        read_to_string(dir.path().join(data).join("limits")).is_ok_and(|file| file.contains(text))
    };
    until(&log, || noted("relay", &to_small) && noted("relay", &to_large));

    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    write(&dir.path().join("in/a.log"), "short\n");
    write(&dir.path().join("edge.toml"), &edge(&at("edge"), &at("in/*.log")));
    let edge = Agent::edge(dir.path(), &listen);
    until(&log, || stored(dir.path()) == ["short"] && noted("edge", "65536"));
    let long = "x".repeat(200 << 10);
    write(&dir.path().join("in/b.log"), &format!("{long}\n"));
    until(&log, || stored(dir.path()).len() > 1);
    for agent in [edge, relay, small, large] {
        agent.stop();
    }
    assert!(stored(dir.path()) == ["short", &long], "each line once");
    for data in ["edge", "relay"] {
        let letters = text(&aqueduct(&["dlq", "list", &at(data)]));
        assert!(letters.contains("no dead letters"), "{data}: {letters}");
    }
}
