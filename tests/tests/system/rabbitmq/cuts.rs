//! Loses confirmations and acknowledgements with their connections, on both sides of a queue.

use std::time::Instant;

use aqueduct_tests::chain::{BATCH, BATCH_BYTES, CUTS, Chain, losses, losses_of_source};
use aqueduct_tests::seed;
use aqueduct_tests::wire::{End, Wire};

use super::broker::Broker;

/// Messages that the broker sends before acknowledgements.
const PREFETCH: usize = 20;

#[test]
#[ignore = "needs the programs, RabbitMQ, Python and openssl: tests/run"]
fn lost_answers_lose_no_message_of_a_queue_and_repeat_few() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let broker = Broker::start(dir);
    let (began, at) = (Instant::now(), broker.address);
    broker.run(&["declare", "cuts"]);
    let sent = losses(End::Server, BATCH_BYTES);
    let sent = Wire::losing_answers(at, sent, seed::rng("rabbitmq sink"));
    let taken = losses_of_source(End::Client, BATCH_BYTES);
    let taken = Wire::losing_answers(at, taken, seed::rng("rabbitmq source"));
    let sink = format!(
        "type = \"rabbitmq\"\nexchange = \"\"\nrouting_key = \"cuts\"\n\
         broker = {{ urls = [\"amqp://{}\"] }}",
        sent.address
    );
    let source = format!(
        "type = \"rabbitmq\"\nqueue = \"cuts\"\nprefetch = {PREFETCH}\n\
         broker = {{ urls = [\"amqp://{}\"] }}",
        taken.address
    );
    let mut chain = Chain::start(dir, "cuts", &sink, Some(&source));
    chain.lose(&[&sent, &taken]);
    let repeats = chain.repeats(Chain::stored);
    eprintln!("{CUTS} answers lost on each side; {repeats} repeats; {:?}", began.elapsed());
    assert!((1..=CUTS * (BATCH + PREFETCH)).contains(&repeats), "{repeats} repeats");
}
