//! A SolrCloud: a node hangs until others have replaced it, then one is killed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, wait_until_delivered};
use aqueduct_tests::solr::Cloud;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;
use rustix::process::Signal;

use super::{LIMIT, flow, numbers};

/// How long a node hangs: longer than it remains the leader (`cloud.xml`), and longer than a
/// success is reliable.
const HUNG: Duration = Duration::from_millis(11_500);
/// Lines of a burst, and the pause after it.
const BURST: (u64, Duration) = (100, Duration::from_millis(300));

/// Writes bursts of numbered lines until it is stopped; returns the number of lines.
fn feed(dir: &Path, is_over: &AtomicBool) -> u64 {
    let mut file = File::create(dir.join("in/lines.log")).expect("the test's own folder");
    let mut written = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut lines = String::new();
        (written..written + BURST.0).for_each(|n| writeln!(lines, "{{\"n\":{n}}}").expect("text"));
        file.write_all(lines.as_bytes()).expect("the test's own folder");
        written += BURST.0;
        thread::sleep(BURST.1);
    }
    written
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_event_is_one_document_while_nodes_hang_and_are_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("solr-cloud"), Instant::now());
    let mut cloud = Cloud::start(dir);
    let (hung, addresses) = (cloud.leader(), cloud.addresses());
    let mut urls: Vec<_> = addresses.iter().map(|it| format!("http://{it}/solr")).collect();
    urls.rotate_left(hung);
    // One waits for the late success of a node that hung, the other one switches to the next node.
    let patient = format!("urls = {urls:?}\nin_flight_max = 8");
    let hasty = format!("{patient}\ntimeout = \"4s\"");
    let text = flow(dir, &[("patient", &patient), ("hasty", &hasty)]);
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text)
        .with_log_filter("info,aqueduct_components_search=debug");
    agent.start();
    eprintln!("a SolrCloud after {:?}", began.elapsed());
    let is_over = AtomicBool::new(false);
    let events = thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(dir, &is_over));
        thread::sleep(Duration::from_millis(rng.random_range(1_000..2_000)));
        cloud.signal(hung, Signal::STOP);
        thread::sleep(HUNG);
        cloud.signal(hung, Signal::CONT);
        // Some of the load meets a node that listens but is not ready.
        thread::sleep(Duration::from_millis(rng.random_range(1_000..3_000)));
        let killed = cloud.leader();
        cloud.kill(killed);
        thread::sleep(Duration::from_millis(rng.random_range(0..1_000)));
        cloud.revive(killed);
        cloud.until_whole();
        eprintln!("whole again after {:?}", began.elapsed());
        is_over.store(true, Ordering::Relaxed);
        feeder.join().expect("the feeder ends")
    });
    let expected: Vec<u64> = (0..events).collect();
    wait_until_delivered(&agent, LIMIT);
    let documents = wait::until("the replicas to agree", LIMIT, || cloud.documents());
    agent.stop(LIMIT);
    for sink in ["patient/", "hasty/"] {
        let of_sink =
            documents.iter().filter(|it| it["id"].as_str().expect("an id").starts_with(sink));
        let found = numbers(of_sink);
        let lost = expected.iter().filter(|n| found.binary_search(n).is_err()).count();
        assert!(found == expected, "{sink}: {} documents, {lost} events lost", found.len());
    }
    let late = agent.output().matches("the response was too late to prove").count();
    eprintln!("{events} events by two sinks, {late} late successes, {:?}", began.elapsed());
}
