//! Goal: if connections between two agents are cut after a batch is stored but before its response,
//! no event is lost, and each cut duplicates at most that batch.
//!
//! Method: for each protocol with a sink and a source, a chain through a wire that loses 200
//! responses ([`aqueduct_tests::chain`]). The protocol `grpc` is not among them, because it
//! recognizes repeated batches, which the harness `torture` shows with cut responses. Protocols of
//! third-party servers are cut in their own tests.
//!
//! Lane: core
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::path::Path;
use std::thread;
use std::time::Instant;

use aqueduct_tests::chain::{BATCH, BATCH_BYTES, CUTS, Chain, losses};
use aqueduct_tests::http::free_address;
use aqueduct_tests::seed;
use aqueduct_tests::wire::{End, Wire};

/// A protocol: name of the chain, maximum number of batches in flight on a connection, settings of
/// the sink with `{to}` as its target, and of the source with `{at}` as its listen address.
type Protocol = (&'static str, usize, &'static str, &'static str);

const PROTOCOLS: [Protocol; 5] = [
    ("avro", 1, "type = \"avro\"\naddress = \"{to}\"", "type = \"avro\"\nlisten = \"{at}\""),
    ("thrift", 1, "type = \"thrift\"\naddress = \"{to}\"", "type = \"thrift\"\nlisten = \"{at}\""),
    (
        "http",
        1,
        "type = \"http\"\nurl = \"http://{to}/\"\nencoder = \"text\"",
        "type = \"http\"\nlisten = \"{at}\"\ndecoder = \"lines\"",
    ),
    (
        "otlp-grpc",
        4,
        "type = \"otlp\"\nurl = \"http://{to}\"\ncompression = \"none\"",
        "type = \"otlp\"\nlisten = [\"{at}\"]",
    ),
    (
        "otlp-http",
        1,
        "type = \"otlp\"\nurl = \"http://{to}\"\ncompression = \"none\"\nprotocol = \"http\"",
        "type = \"otlp\"\nlisten = [\"{at}\"]",
    ),
];

/// Returns the number of duplicates in a chain that loses responses.
fn repeats(dir: &Path, (name, _, sink, source): Protocol) -> usize {
    let at = free_address();
    let wire = Wire::losing_answers(at, losses(End::Server, BATCH_BYTES), seed::rng(name));
    let sink = sink.replace("{to}", &wire.address.to_string());
    let source = source.replace("{at}", &at.to_string());
    let mut chain = Chain::start(dir, name, &sink, Some(&source));
    chain.lose(&[&wire]);
    chain.repeats(Chain::stored)
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn lost_responses_between_agents_repeat_only_their_batches() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let found = thread::scope(|scope| {
        let chains = PROTOCOLS.map(|it| scope.spawn(move || (it.0, it.1, repeats(dir, it))));
        chains.map(|chain| chain.join().expect("the chain keeps its promise"))
    });
    for (name, batches, repeats) in found {
        eprintln!("{name}: {CUTS} answers lost, {repeats} lines repeated");
        assert!(repeats > 0, "{name}: no answer was lost behind a stored batch");
        assert!(repeats <= CUTS * batches * BATCH, "{name}: {repeats} repeats");
    }
    eprintln!("{:?}", began.elapsed());
}
