//! A server without space for its streams.

use std::time::Instant;

use aqueduct_tests::chain::Chain;
use serde_json::json;

use super::reached;
use super::server::{ROOM, Server};

/// Initial size limit of the streams: too small for the following lines.
const LITTLE: usize = 150_000;

#[test]
#[ignore = "needs the programs, nats-server and openssl: tests/run"]
fn lines_wait_for_a_full_server_and_are_in_their_stream_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut server = Server::start(dir);
    server.client().make("FULL", "full", &json!({}));
    let reached = reached(server.address);
    let sink = format!("type = \"nats\"\nsubject = \"full.a\"\n{reached}");
    let source = format!("type = \"nats\"\nstream = \"FULL\"\n{reached}");
    let mut chain = Chain::start(dir, "full", &sink, Some(&source));
    let words = "insufficient resources (10023); the storage of JetStream is full";
    chain.meet_full_server(words, |is_full| {
        server.kill();
        server.set_room(if is_full { LITTLE } else { ROOM });
        server.revive();
    });
    let repeats = chain.repeats(Chain::stored);
    eprintln!("a full server: {repeats} repeats, {:?}", began.elapsed());
    assert_eq!(repeats, 0, "the stream knows a batch again, and the source its position");
}
