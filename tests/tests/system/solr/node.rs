//! A single node: kills, rejected documents, and a core that does not exist yet.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::letters::letters;
use aqueduct_tests::solr::Solr;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;
use rustix::process::Signal;

use super::{LIMIT, flow, numbers};

/// Reasons of dead letters: the first event of a batch determines the reason.
const REASONS: [&str; 2] = ["refused", "unwritable_event"];

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_event_is_one_document_through_kills_or_a_dead_letter() {
    const GOOD: usize = 6_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("solr"), Instant::now());
    let mut solr = Solr::start(dir);
    let settings = format!("urls = [\"http://{}/solr\"]\ncommit_within = \"1s\"", solr.address());
    let text = flow(dir, &[("out", &settings)]);
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    let mut expected = Vec::new();
    for round in 0..6 {
        let mut lines = String::new();
        for n in (round * GOOD / 6)..((round + 1) * GOOD / 6) {
            writeln!(lines, "{{\"n\":{n}}}").expect("text");
            let bad = match n % 700 {
                100 => format!("{{\"n\":\"none {n}\"}}"),
                300 => format!("{{\"unknown\":{n}}}"),
                301 => format!("{{\"n\":{{\"inc\":{n}}}}}"),
                500 => format!("{{\"_version_\":{n}}}"),
                600 => format!("{{\"n\":[{n},1]}}"),
                _ => continue,
            };
            writeln!(lines, "{bad}").expect("text");
            expected.push(bad);
        }
        fs::write(dir.join(format!("in/{round}.log")), lines).expect("the test's own folder");
        if round == 0 {
            agent.until_logged("has no collection `lines`: create it", LIMIT);
            solr.create();
        }
        thread::sleep(Duration::from_millis(rng.random_range(100..700)));
        if round % 3 == 1 {
            agent.kill();
            solr.kill();
            agent.start();
            solr.revive();
        } else {
            // Requests sent meanwhile are executed, but the agent never receives the responses.
            solr.signal(Signal::STOP);
            thread::sleep(Duration::from_millis(200));
            agent.kill();
            solr.signal(Signal::CONT);
            agent.start();
        }
    }
    wait::until("all events in Solr", LIMIT, || {
        thread::sleep(Duration::from_millis(300));
        (solr.documents().len() >= GOOD).then_some(())
    });
    agent.stop(LIMIT);
    let documents = solr.documents();
    assert!(documents.iter().all(|it| it["header_app_s"] == "Shop"), "{}", documents[0]);
    assert_eq!(numbers(&documents), (0..GOOD as u64).collect::<Vec<_>>());
    let mut letters = letters(&dir.join("data"), &REASONS);
    // A batch interrupted by a kill has its dead letters twice.
    letters.sort_unstable();
    letters.dedup();
    expected.sort_unstable();
    assert_eq!(letters, expected);
    eprintln!("{GOOD} events, {} dead letters, {:?}", letters.len(), began.elapsed());
}
