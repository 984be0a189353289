//! A broker that requires TLS with a client certificate and a password: for a source, a sink and a
//! channel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, ROLL};
use aqueduct_tests::certificates;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::store;
use aqueduct_tests::wait;

use super::{PATIENCE, STOP};

/// Lines per log.
const LINES: usize = 2_000;

/// Returns an agent that sends lines of `in.log` to the topic `secured`, and stores what it reads
/// there. With `has_channel`, its channel is a topic of the same broker.
fn agent(
    dir: &Path,
    name: &str,
    broker: &str,
    (authority, password): (&str, &str),
    has_channel: bool,
) -> Agent {
    let at = dir.display();
    let shown = format!(
        "\"security.protocol\" = \"sasl_ssl\", \"sasl.mechanism\" = \"SCRAM-SHA-512\", \
         \"sasl.username\" = \"agent\", \"ssl.ca.location\" = \"{at}/{authority}\", \
         \"ssl.certificate.location\" = \"{at}/client.pem\", \
         \"ssl.key.location\" = \"{at}/client.key\", \"reconnect.backoff.max.ms\" = \"500\""
    );
    let client = format!(
        "brokers = [\"{broker}\"]\nproperties = {{ {shown} }}\n\
         secret_properties = {{ \"sasl.password\" = \"{password}\" }}\n"
    );
    let channel = match has_channel {
        true => format!("type = \"kafka\"\ntopic = \"buffer\"\ncreate_with_replicas = 1\n{client}"),
        false => "type = \"durable\"\ncapacity = \"64MiB\"".to_owned(),
    };
    let text = format!(
        "[agent]\ndata_dir = \"{at}/{name}\"\n\
         [sources.files]\ntype = \"tail_dir\"\npaths = [\"{at}/in.log\"]\nchannels = [\"out\"]\n\
         [channels.out]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"kafka\"\ntopic = \"secured\"\nchannel = \"out\"\n{client}\
         [sources.in]\ntype = \"kafka\"\ntopics = [\"secured\"]\ngroup = \"stores\"\n{client}\
         channels = [\"in\"]\n\
         [channels.in]\n{channel}\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store/%Y\"\nchannel = \"in\"\n{ROLL}\n"
    );
    Agent::configured("aqueduct-collector", dir, name, &text)
}

/// Counts how often each line is stored.
pub(crate) fn stored(dir: &Path) -> BTreeMap<String, usize> {
    store::lines(&dir.join("store"))
}

/// Lines sent over TLS with a password and a certificate are read in the same way, with a kill of
/// the broker. Another authority or another password is rejected, and the log contains the reason.
pub(crate) fn lines_go_there_and_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    certificates::make(dir);
    let (mut kafka, secured) = Kafka::start_secured(dir, dir);
    let lines = |part: usize| -> String {
        (0..LINES).map(|line| format!("line {part}-{line}\n")).collect()
    };
    fs::write(dir.join("in.log"), lines(0)).expect("a log is written");
    for (authority, password, said) in [
        ("other.pem", "secret", "certificate verify failed"),
        ("ca.pem", "wrong", "Authentication failed"),
    ] {
        let shown = (authority, password);
        let mut refused = agent(dir, &format!("no-{password}"), &secured, shown, false);
        refused.start();
        refused.until_logged(said, PATIENCE);
        refused.kill();
    }
    assert!(stored(dir).is_empty(), "a refused agent has stored something");

    let mut agent = agent(dir, "yes", &secured, ("ca.pem", "secret"), true);
    agent.start();
    let all_of = |parts: usize| {
        wait::until("all lines", PATIENCE, || (stored(dir).len() == parts * LINES).then_some(()));
    };
    all_of(1);
    kafka.kill();
    let log = fs::OpenOptions::new().append(true).open(dir.join("in.log"));
    std::io::Write::write_all(&mut log.expect("a log"), lines(1).as_bytes()).expect("a log");
    std::thread::sleep(Duration::from_millis(500));
    kafka.revive();
    all_of(2);
    assert!(stored(dir).values().all(|times| *times == 1), "a line is stored twice");
    agent.stop(STOP);
    eprintln!("{} lines over TLS there and back, {:?}", 2 * LINES, began.elapsed());
}
