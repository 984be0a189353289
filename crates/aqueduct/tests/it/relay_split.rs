//! Goal: a relay that splits a batch over two channels loses and duplicates nothing, whether both
//! lead to one collector or to two with the same store. The edge learns when all parts are
//! committed.
//!
//! Method: an edge, a relay and collectors in child processes. Every line of a file must be in the
//! store once, no agent may have a dead letter, and `aqueduct verify` must prove the same from the
//! accounts of edge and relay.

#[allow(dead_code, reason = "a part of it is used here")]
use std::fs::read_to_string;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::loopback::free_address;

use crate::common::{Agent, aqueduct, edge, stored, text, write};

/// Lines of the file; the relay splits each batch.
const LINES: usize = 3_000;

/// A relay that spreads the events of a batch over two channels, each with a collector.
fn relay(dir: &Path, listen: &str, collectors: [&str; 2]) -> Agent {
    let [one, other] = collectors;
    let settings = format!(
        "[agent]\ndata_dir = \"{}/relay\"\ngrace = \"5s\"\n\
         [sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"a\", \"b\"]\n\
         selector = {{ type = \"load_balancing\" }}\n\
         [channels.a]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [channels.b]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.one]\ntype = \"grpc\"\naddress = \"{one}\"\nchannel = \"a\"\n\
         [sinks.other]\ntype = \"grpc\"\naddress = \"{other}\"\nchannel = \"b\"\n",
        dir.display(),
    );
    Agent::configured(dir, "relay", &settings)
}

/// Returns the dead letters of the edge and the relay.
fn letters_of(dir: &Path) -> String {
    let letters = ["edge", "relay"].map(|agent| {
        let data = dir.join(agent).display().to_string();
        let said = text(&aqueduct(&["dlq", "list", &data]));
        if said.contains("no dead letters") { String::new() } else { said }
    });
    letters.concat()
}

fn goes_through(two_collectors: bool) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (first, to_first) = Agent::collector(dir.path(), "16MiB");
    let mut agents = vec![first];
    let mut to_second = to_first.clone();
    if two_collectors {
        to_second = free_address().to_string();
        let settings = read_to_string(dir.path().join("collector.toml")).unwrap();
        let settings = settings.replace("/collector\"", "/second\"").replace(&to_first, &to_second);
        agents.push(Agent::configured(dir.path(), "second", &settings));
    }
    let listen = free_address().to_string();
    let relay = relay(dir.path(), &listen, [&to_first, &to_second]);
    let mut lines: Vec<String> = (0..LINES).map(|n| format!("line {n:05}")).collect();
    write(&dir.path().join("in.log"), &(lines.join("\n") + "\n"));
    let settings = edge(&at("edge"), &at("in.log"));
    write(&dir.path().join("edge.toml"), &settings.replace("grace = \"1s\"", "grace = \"10s\""));
    let edge = Agent::edge(dir.path(), &listen);
    let began = Instant::now();
    while stored(dir.path()).len() < LINES {
        let letters = letters_of(dir.path());
        assert!(letters.is_empty(), "{letters}");
        let found = stored(dir.path()).len();
        assert!(began.elapsed() < Duration::from_secs(60), "{found} of {LINES} lines arrived");
        sleep(Duration::from_millis(50));
    }
    // Each agent waits until all its events are delivered, so both parts were acknowledged.
    edge.stop();
    relay.stop();
    agents.into_iter().for_each(Agent::stop);
    lines.sort();
    assert!(stored(dir.path()) == lines, "every line once");
    assert_eq!(letters_of(dir.path()), "");
    let store = format!("file://{}", at("store"));
    let accounts = ["edge/channels/main", "relay/channels/a", "relay/channels/b"].map(at);
    let [edge, a, b] = &accounts;
    let proved = aqueduct(&["verify", "--complete", "--store", &store, edge, a, b]);
    assert!(proved.status.success(), "{}", text(&proved));
}

#[test]
fn parts_of_a_batch_that_meet_in_one_collector_are_all_stored() {
    goes_through(false);
}

#[test]
fn parts_of_a_batch_that_meet_in_one_dataset_are_all_stored() {
    goes_through(true);
}
