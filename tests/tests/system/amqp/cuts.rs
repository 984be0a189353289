//! Loses responses with their connections, on both sides of a queue.

use std::time::Instant;

use aqueduct_tests::chain::{BATCH, BATCH_BYTES, CUTS, Chain, losses, losses_of_source};
use aqueduct_tests::seed;
use aqueduct_tests::wire::{End, Wire};

use super::artemis::Artemis;

/// Messages that the broker sends before acknowledgements.
const CREDIT: usize = 20;
/// A broker setting: unlimited delivery attempts.
const PATIENT: &str = "<address-settings><address-setting match=\"#\">\
                       <max-delivery-attempts>-1</max-delivery-attempts>\
                       </address-setting></address-settings>";

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn lost_answers_lose_no_message_of_a_queue_and_repeat_few() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let broker = Artemis::start_with(dir, "amqp", "", PATIENT);
    let sent = losses(End::Server, BATCH_BYTES);
    let sent = Wire::losing_answers(broker.address, sent, seed::rng("amqp sink"));
    let taken = losses_of_source(End::Client, BATCH_BYTES);
    let taken = Wire::losing_answers(broker.address, taken, seed::rng("amqp source"));
    let queue = "address = \"cuts\"\ndestination_type = \"queue\"";
    let sink =
        format!("type = \"amqp\"\n{queue}\nbroker = {{ urls = [\"amqp://{}\"] }}", sent.address);
    let source = format!(
        "type = \"amqp\"\n{queue}\ncredit = {CREDIT}\nbroker = {{ urls = [\"amqp://{}\"] }}",
        taken.address
    );
    let mut chain = Chain::start(dir, "cuts", &sink, Some(&source));
    chain.lose(&[&sent, &taken]);
    let repeats = chain.repeats(Chain::stored);
    eprintln!("{CUTS} answers lost on each side; {repeats} repeats; {:?}", began.elapsed());
    assert!((1..=CUTS * (BATCH + CREDIT)).contains(&repeats), "{repeats} repeats");
}
