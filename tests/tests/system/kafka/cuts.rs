//! Loses responses of the broker with their connections, on both sides of a topic.

use std::thread;
use std::time::Instant;

use aqueduct_tests::chain::{BATCH_BYTES, CUTS, Chain, losses, losses_of_source};
use aqueduct_tests::http::free_address;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::seed;
use aqueduct_tests::wire::{End, Wire};

/// Fewer bytes than any request.
const REQUEST_BYTES: usize = 1;
/// Client properties for a quick reconnect.
const SOON: &str = "\"reconnect.backoff.ms\" = \"10\", \"reconnect.backoff.max.ms\" = \"50\", \
                    \"retry.backoff.ms\" = \"20\"";

/// Method: two topics, one for a sink with transactions. On one side responses to batches are lost,
/// on the other one responses to any request of the source.
#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn lost_answers_lose_no_message_of_a_topic_and_repeat_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let chains = ["plain", "once"].map(|name| {
        let sent = losses(End::Server, BATCH_BYTES);
        let taken = losses_of_source(End::Server, REQUEST_BYTES);
        let sides = [sent, taken].map(|losses| {
            let at = free_address();
            (at, Wire::losing_answers(at, losses, seed::rng(name)))
        });
        (name, sides)
    });
    let wires =
        chains.iter().flat_map(|(_, sides)| sides.each_ref().map(|it| (it.0, it.1.address)));
    let _kafka = Kafka::start_behind(dir, &wires.collect::<Vec<_>>());
    let repeats = |name: &str, [(_, sent), (_, taken)]: &[_; 2]| {
        let (sent, taken): (&Wire, &Wire) = (sent, taken);
        let sink = format!(
            "type = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{name}\"\nexactly_once = {}\n\
             properties = {{ {SOON} }}",
            sent.address,
            name == "once"
        );
        let source = format!(
            "type = \"kafka\"\nbrokers = [\"{}\"]\ntopics = [\"{name}\"]\ngroup = \"{name}\"\n\
             properties = {{ {SOON} }}",
            taken.address
        );
        let mut chain = Chain::start(dir, name, &sink, Some(&source));
        chain.lose(&[sent, taken]);
        chain.repeats(Chain::stored)
    };
    let found = thread::scope(|scope| {
        chains
            .each_ref()
            .map(|(name, sides)| scope.spawn(|| repeats(name, sides)))
            .map(|chain| chain.join().expect("the chain keeps its promise"))
    });
    eprintln!(
        "{CUTS} answers lost on each of four wires; {found:?} repeats; {:?}",
        began.elapsed()
    );
    assert_eq!(found, [0, 0], "a batch that goes again is known");
}
