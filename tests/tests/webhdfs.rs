//! Goal: every line is in HDFS once, although collectors that reach it by HTTP alone are killed at
//! any moment.
//!
//! Method: two collectors of one sink store by `webhdfs://` in a real HDFS, from an edge that sends
//! to both. While lines come, the collectors are killed (-9) in turn, many times, and started
//! again. In the end Hadoop's own shell reads the files, each line is compared with what was
//! written, and `aqueduct verify` proves the same from the ledger, by HTTP and by `hdfs://`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, wait_until_delivered};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::http;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::seed;
use rand::prelude::*;

/// Kills of collectors, by turns.
const KILLS: usize = 12;
/// Lines of a log.
const LINES: usize = 500;
/// Longest time between two logs, in milliseconds; a collector is killed after five of them.
const PAUSE_MAX: u64 = 800;
const STOP: Duration = Duration::from_secs(25);

#[test]
#[ignore = "needs the optimised programs and HDFS: tests/run"]
fn collectors_that_are_killed_store_each_line_once_by_http() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, hdfs) = (folder.path(), Hdfs::shared());
    let (mut rng, began, mut written) = (seed::rng("webhdfs"), Instant::now(), Vec::new());
    let path = format!("/webhdfs-{:x}/%Y-%m-%d", rng.random::<u64>());
    let store = format!("webhdfs://{}{path}", hdfs.web_address());
    let listens = [http::free_address(), http::free_address()];
    let mut collectors: Vec<Agent> = ["one", "two"]
        .iter()
        .zip(&listens)
        .map(|(name, listen)| {
            let own = dir.join(name);
            fs::create_dir(&own).expect("the test's own folder");
            CollectorConfig::new(&listen.to_string(), &store, &own.join("data")).agent(&own)
        })
        .collect();
    let (tail, data) = (dir.join("*.log"), dir.join("edge"));
    let (tail, data) = (tail.display().to_string(), data.display().to_string());
    let [one, two] = listens.map(|listen| listen.to_string());
    let arguments = ["--tail", &tail, "--to", &one, "--to", &two, "--data-dir", &data];
    let mut edge = Agent::new("aqueduct-edge", &arguments, &dir.join("edge.out"));
    collectors.iter_mut().for_each(Agent::start);
    edge.start();

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
    edge.stop(STOP);
    for collector in &mut collectors {
        collector.stop(STOP);
    }

    let prefix = path.split('%').next().unwrap_or_default();
    let pattern = format!("{prefix}20*/*.log");
    let (files, stored) = (hdfs.list(&pattern), hdfs.read(&pattern));
    let found = compare(&written, &stored);
    assert!(found.is_none(), "{found}");
    let channels = [dir.join("edge/channels/main")];
    prove(&store, None, &channels);
    prove(&format!("{}{path}", hdfs.url()), Some(&hdfs.conf_dir()), &channels);
    let prefix = prefix.trim_end_matches('/');
    hdfs.fs(&["-rm", "-r", "-skipTrash", prefix]);
    eprintln!("{found}; {} files, {:?}", files.len(), began.elapsed());
}
