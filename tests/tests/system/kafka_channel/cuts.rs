//! Loses responses of the broker with their connections.

use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::chain::{CUTS, losses};
use aqueduct_tests::http::free_address;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::wire::{End, Wire};
use aqueduct_tests::{seed, wait};

use super::{Load, PATIENCE, STOP, agent, stored, until_stored};

/// Size of a batch of lines, and of some other requests.
const REQUEST_BYTES: usize = 500;

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn lost_answers_lose_no_line_of_the_channel_and_repeat_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began, at) = (folder.path(), Instant::now(), free_address());
    let losses = losses(End::Server, REQUEST_BYTES);
    let wire = Wire::losing_answers(at, losses, seed::rng("kafka channel"));
    let _kafka = Kafka::start_behind(dir, &[(at, wire.address)]);
    let load = Load::start(dir);
    let mut agent = agent(dir, "one", (&format!("[\"{}\"]", wire.address), 1));
    agent.start();
    wait::until("answers to be lost", PATIENCE, || {
        thread::sleep(Duration::from_millis(100));
        (wire.lost() == CUTS).then_some(())
    });
    let written = load.end();
    until_stored(dir, written.len());
    agent.stop(STOP);
    let found = compare(&written, &stored(dir));
    assert!(found.is_none(), "{found}");
    eprintln!("{CUTS} answers lost; {found}, {:?}", began.elapsed());
}
