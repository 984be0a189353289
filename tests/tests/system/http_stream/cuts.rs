//! Loses responses of a list with their connections.

use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::chain::{CUTS, losses};
use aqueduct_tests::wire::{End, Wire};
use aqueduct_tests::{seed, wait};

use super::server::{Manner, Server};
use super::site::{agent, repeats};
use super::{LIMIT, SHORT};

/// Fewer bytes than any request.
const REQUEST_BYTES: usize = 1;

#[test]
#[ignore = "needs the programs: tests/run"]
fn lost_answers_of_a_list_lose_no_event_and_repeat_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let server = Server::new(Manner::default());
    let losses = losses(End::Server, REQUEST_BYTES);
    let wire = Wire::losing_answers(server.address, losses, seed::rng("http_poll"));
    let url = format!("http://{}/list", wire.address);
    let settings = format!(
        "items = \"/data\"\nid = \"/n\"\ncursor = \"/n\"\nresume = \"since\"\n\
         ids_max = 10000\ninterval = \"100ms\"\nbatch_events = 7\n{SHORT}"
    );
    let mut agent = agent(dir, "http_poll", &url, &settings);
    agent.start();
    let events = wait::until("answers to be lost", LIMIT, || {
        // The cursor moves with the last page of a turn. Until a turn is not cut, the ids of
        // everything read since then must be remembered.
        let events = server.append_numbers(3, "");
        thread::sleep(Duration::from_millis(50));
        (wire.lost() == CUTS).then_some(events)
    });
    assert_eq!(repeats(dir, events), 0);
    eprintln!("{CUTS} answers lost; {events} events, {:?}", began.elapsed());
    agent.stop(LIMIT);
}
