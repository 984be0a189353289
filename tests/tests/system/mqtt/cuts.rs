//! Loses acknowledgements with their connections, on both sides of a topic.

use std::path::Path;
use std::thread;
use std::time::Instant;

use aqueduct_tests::chain::{CUTS, Chain, losses, losses_of_source};
use aqueduct_tests::seed;
use aqueduct_tests::wire::{End, Wire};

use super::OPEN;
use super::broker::Broker;

/// Minimum size of a batch; larger than a greeting.
const BATCH_BYTES: usize = 500;
/// Size of a few releases of QoS 2.
const RELEASE_BYTES: usize = 8;

/// Returns the number of duplicates. With QoS 2 only the source loses its responses, because a sink
/// resends its batch.
fn repeats(dir: &Path, broker: &Broker, qos: usize) -> usize {
    let (name, at) = (format!("qos-{qos}"), broker.address);
    let sent = Wire::losing_answers(at, losses(End::Server, BATCH_BYTES), seed::rng(&name));
    let asked_bytes = if qos == 2 { RELEASE_BYTES } else { BATCH_BYTES };
    let taken = losses_of_source(End::Client, asked_bytes);
    let taken = Wire::losing_answers(at, taken, seed::rng(&name));
    let (to, wires) = match qos {
        1 => (sent.address, vec![&sent, &taken]),
        _ => (at, vec![&taken]),
    };
    let sink = format!(
        "type = \"mqtt\"\ntopic = \"{name}\"\nqos = {qos}\n\
         broker = {{ address = \"{to}\", client_id = \"{name}-sink\" }}"
    );
    let source = format!(
        "type = \"mqtt\"\nfilters = [\"{name}\"]\nqos = {qos}\nin_flight_max = 20\n\
         broker = {{ address = \"{}\", client_id = \"{name}\" }}",
        taken.address
    );
    let mut chain = Chain::start(dir, &name, &sink, Some(&source));
    // The broker drops messages published before the session exists.
    chain.agent().until_logged("subscribed", super::LIMIT);
    chain.lose(&wires);
    chain.repeats(Chain::stored)
}

#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn lost_responses_lose_no_message_and_only_the_broker_repeats_qos_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let broker = Broker::new(dir, "broker", OPEN);
    let [least, once] = thread::scope(|scope| {
        [1, 2]
            .map(|qos| {
                let broker = &broker;
                scope.spawn(move || repeats(dir, broker, qos))
            })
            .map(|chain| chain.join().expect("the chain keeps its promise"))
    });
    let again = broker.sent_behind_the_release("qos-2");
    eprintln!(
        "{CUTS} answers lost on each of three wires; repeats of QoS 1: {least}, of QoS 2: {once}, \
         of which the broker may have made {again}; {:?}",
        began.elapsed()
    );
    assert!(least > 0, "no answer was lost behind a stored message");
    assert!(once <= again, "{once} repeats of QoS 2, {again} by the broker's fault");
}
