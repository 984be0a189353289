//! Loses acknowledgements with their connections, on both sides of a stream.

use std::path::Path;
use std::thread;
use std::time::Instant;

use aqueduct_tests::chain::{CUTS, Chain, losses, losses_of_source};
use aqueduct_tests::seed;
use aqueduct_tests::wire::{End, Wire};
use serde_json::json;

use super::reached;
use super::server::Server;

/// Messages per request of a source.
const PREFETCH: usize = 50;
/// Minimum size of a batch; larger than a greeting.
const BATCH_BYTES: usize = 500;

/// Returns the number of duplicates. The sink causes none, because the stream recognizes message
/// ids.
fn repeats(dir: &Path, server: &Server, name: &str, settings: &str) -> usize {
    server.client().make(name, name, &json!({}));
    let sent =
        Wire::losing_answers(server.address, losses(End::Server, BATCH_BYTES), seed::rng(name));
    // After messages, the source sends its acknowledgement, or its next request.
    let losses = losses_of_source(End::Client, BATCH_BYTES);
    let taken = Wire::losing_answers(server.address, losses, seed::rng(name));
    let sink = format!("type = \"nats\"\nsubject = \"{name}.a\"\n{}", reached(sent.address));
    let source =
        format!("type = \"nats\"\nstream = \"{name}\"\n{settings}{}", reached(taken.address));
    let mut chain = Chain::start(dir, name, &sink, Some(&source));
    let lines = chain.lose(&[&sent, &taken]);
    let repeats = chain.repeats(Chain::stored);
    assert_eq!(server.client().last(name), lines, "{name}: each line is in the stream once");
    repeats
}

/// A shared consumer repeats messages whose acknowledgement was lost: the requested ones, and those
/// that arrived while they were being stored.
#[test]
#[ignore = "needs the programs, nats-server and openssl: tests/run"]
fn lost_answers_lose_no_message_and_only_a_shared_consumer_repeats() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let server = &Server::start(dir);
    let alone = format!("prefetch = {PREFETCH}\n");
    let shared = format!("consumer = \"all\"\nack_wait = \"2s\"\n{alone}");
    let [alone, shared] = thread::scope(|scope| {
        [("ALONE", &*alone), ("SHARED", &*shared)]
            .map(|(name, settings)| scope.spawn(|| repeats(dir, server, name, settings)))
            .map(|chain| chain.join().expect("the chain keeps its promise"))
    });
    eprintln!(
        "{CUTS} answers lost on each of four connections; repeated lines: {alone} by a source \
         alone, {shared} by a shared consumer; {:?}",
        began.elapsed()
    );
    assert_eq!(alone, 0, "a source that reads alone stores each message once");
    assert!((1..=CUTS * 2 * PREFETCH).contains(&shared), "{shared} repeats");
}
