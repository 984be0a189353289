//! Three brokers, `min.insync.replicas` of 2: each kind of leader is killed under load. Also
//! measures the puts per second of a source with one put at a time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::kafka::{Cluster, Kafka};
use aqueduct_tests::reconcile::compare;

use super::{Load, PATIENCE, STOP, agent, stored, until_stored};

/// Number of measured puts.
const PUTS: usize = 300;

/// The leaders of the frames, of the STATEs and of the transaction coordinator are killed, each
/// under load; lines continue while a broker is down.
pub(crate) fn each_line_is_stored_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut cluster = Cluster::start(dir);
    let brokers = cluster.brokers();
    let load = Load::start(dir);
    let mut one = agent(dir, "one", (&brokers, 3));
    one.start();
    until_stored(dir, 1);
    for round in 0..2 {
        for topic in ["buffer", "__transaction_state", "buffer-state"] {
            let (lost, before) = (Instant::now(), stored(dir).len());
            cluster.lose_leader_of(topic, || until_stored(dir, before + 100_000));
            eprintln!("round {round}, leader of {topic}: all in sync after {:?}", lost.elapsed());
        }
    }
    let written = load.end();
    until_stored(dir, written.len());
    one.stop(STOP);
    let found = compare(&written, &stored(dir));
    assert!(found.is_none(), "{found}");
    eprintln!("{found}, {:?}", began.elapsed());
}

/// Compared with a channel on disk: with one broker, and with three replicas.
pub(crate) fn puts_of_a_lone_source() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let topic = |brokers: &str, replicas: u32| {
        format!("brokers = {brokers}\ntopic = \"puts\"\ncreate_with_replicas = {replicas}")
    };
    let show = |what: &str, channel: &str, settings: &str| {
        let each = puts(dir, what, channel, settings);
        eprintln!("{what}: {:.0} puts in a second of a lone source", 1.0 / each.as_secs_f64());
    };
    show("disk", "durable", "capacity = \"64MiB\"");
    let kafka = Kafka::start(dir);
    show("one", "kafka", &topic(&format!("[\"{}\"]", kafka.address()), 1));
    drop(kafka);
    let cluster = Cluster::start(dir);
    show("three", "kafka", &topic(&cluster.brokers(), 3));
}

/// Returns the duration of a put for a client that waits for the response to each request.
fn puts(dir: &Path, what: &str, channel: &str, settings: &str) -> Duration {
    let (at, listen) = (dir.display(), free_address());
    let text = format!(
        "[agent]\ndata_dir = \"{at}/puts-{what}\"\n\
         [sources.in]\ntype = \"http\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"{channel}\"\n{settings}\n\
         [sinks.out]\ntype = \"discard\"\nchannel = \"main\"\n"
    );
    let mut agent = Agent::configured("aqueduct-collector", dir, &format!("puts-{what}"), &text);
    agent.start();
    let mut client = TcpStream::connect(listen).expect("the source");
    client.set_nodelay(true).expect("a socket");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let body = "[{\"headers\":{},\"body\":\"a line as others are\"}]";
    let request = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = [0; 4096];
    let mut ask = || {
        client.write_all(request.as_bytes()).expect("a request is sent");
        let read = client.read(&mut answer).expect("an answer");
        assert!(answer[..read].starts_with(b"HTTP/1.1 20"), "an event is not taken");
    };
    (0..50).for_each(|_| ask());
    let began = Instant::now();
    (0..PUTS).for_each(|_| ask());
    let each = began.elapsed() / PUTS as u32;
    agent.stop(STOP);
    each
}
