//! Goal: every line is in a bucket of S3 once, although collectors are killed at any moment.
//!
//! Method: two collectors of one sink store into one bucket of a real server of S3, from an
//! edge that sends to both. While lines come, the collectors are killed (-9) in turn, many
//! times, and started again. In the end each line of each object below the days is compared
//! with what was written, and `aqueduct verify` proves the same from the ledger.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, wait_until_delivered};
use aqueduct_tests::http;
use aqueduct_tests::reconcile::{compare, proved, verify};
use aqueduct_tests::s3::{BUCKET, S3};
use aqueduct_tests::seed;
use rand::prelude::*;

/// Kills of collectors, by turns.
const KILLS: usize = 12;
/// Lines of a log.
const LINES: usize = 500;
/// Longest time between two logs, in milliseconds; a collector is killed after five of them.
const PAUSE_MAX: u64 = 500;

#[test]
#[ignore = "needs the optimised programs and Python: tests/run"]
fn collectors_that_are_killed_store_each_line_once_in_a_bucket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = S3::start(dir);
    let store = format!("s3://{BUCKET}/in/%Y-%m-%d");
    let settings = format!(
        "s3 = {{ endpoint = \"{}\", access_key = \"key\", secret_key = \"secret\" }}",
        server.endpoint()
    );
    let listens = [http::free_address(), http::free_address()];
    let mut collectors: Vec<Agent> = ["one", "two"]
        .iter()
        .zip(&listens)
        .map(|(name, listen)| {
            let own = dir.join(name);
            fs::create_dir(&own).expect("the test's own folder");
            let config = CollectorConfig::new(&listen.to_string(), &store, &own.join("data"));
            config.with_sink_settings(&settings).agent(&own)
        })
        .collect();
    let (tail, data) = (dir.join("*.log"), dir.join("edge"));
    let (tail, data) = (tail.display().to_string(), data.display().to_string());
    let [one, two] = listens.map(|listen| listen.to_string());
    let arguments = ["--tail", &tail, "--to", &one, "--to", &two, "--data-dir", &data];
    let mut edge = Agent::new("aqueduct-edge", &arguments, &dir.join("edge.out"));
    collectors.iter_mut().for_each(Agent::start);
    edge.start();

    let (began, mut rng, mut written) = (Instant::now(), seed::rng("s3"), Vec::new());
    for kill in 0..KILLS {
        for part in 0..5 {
            let name = format!("{kill}-{part}");
            let text: String = (0..LINES).map(|line| format!("{name} {line}\n")).collect();
            written.extend_from_slice(text.as_bytes());
            fs::write(dir.join(format!("{name}.log")), text).expect("a log is written");
            thread::sleep(Duration::from_millis(rng.random_range(0..PAUSE_MAX)));
        }
        let killed = &mut collectors[kill % 2];
        killed.kill();
        killed.start();
    }
    wait_until_delivered(&edge, Duration::from_secs(60));
    edge.stop(Duration::from_secs(25));
    for collector in &mut collectors {
        collector.stop(Duration::from_secs(25));
    }

    let keys = server.keys("in/20");
    let stored: String = keys.iter().map(|key| server.read(key)).collect();
    let found = compare(&written, stored.as_bytes());
    assert!(found.is_none(), "{found}");
    let entries = server.keys("in/_aqueduct/").len();
    let mut command = verify(&store, &[dir.join("edge/channels/main")]);
    command.arg("--deep").env("AWS_ENDPOINT_URL", server.endpoint());
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    proved(command).unwrap_or_else(|said| panic!("{said}"));
    eprintln!(
        "{found}; {} files, {entries} objects of the ledger, {:?}",
        keys.len(),
        began.elapsed()
    );
}
