//! Two collectors of one store, killed in turn while lines arrive.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rand::prelude::*;

use crate::agent::{Agent, CollectorConfig, wait_until_delivered};
use crate::http;

/// Logs between two kills.
const LOGS: usize = 5;
/// Lines per log.
const LINES: usize = 500;
/// Timeout for delivery.
const PATIENCE: Duration = Duration::from_secs(60);
/// Timeout of a stop.
const STOP: Duration = Duration::from_secs(25);

/// Returns the channel of the edge, in the folder of the test.
#[must_use]
pub fn edge_channel(dir: &Path) -> PathBuf {
    dir.join("edge/channels/main")
}

/// Writes logs into `dir`. An edge sends them to two collectors that store in `store`, with these
/// lines of the sink's settings. The collectors are killed (-9) in turn, this many times, and
/// restarted; five logs precede each kill, with pauses of up to `pause_max` milliseconds. Returns
/// the written lines when all is delivered and every agent has stopped.
///
/// # Panics
/// When an agent does not respond in time.
pub fn collectors_are_killed(
    dir: &Path,
    store: &str,
    sink_settings: &str,
    rng: &mut impl Rng,
    kills: (usize, u64),
) -> Vec<u8> {
    collectors_are_killed_after(dir, store, sink_settings, rng, kills, |_| ())
}

/// Same, with a callback before each kill, which gets its number, starting at 0.
///
/// # Panics
/// When an agent does not respond in time.
pub fn collectors_are_killed_after(
    dir: &Path,
    store: &str,
    sink_settings: &str,
    rng: &mut impl Rng,
    (kills, pause_max): (usize, u64),
    before: impl Fn(usize),
) -> Vec<u8> {
    let listens = [http::free_address(), http::free_address()];
    let collector = |(name, listen): (&str, &std::net::SocketAddr)| {
        let own = dir.join(name);
        fs::create_dir(&own).expect("the test's own folder");
        let config = CollectorConfig::new(&listen.to_string(), store, &own.join("data"));
        config.with_sink_settings(sink_settings).agent(&own)
    };
    let mut collectors: Vec<Agent> =
        ["one", "two"].into_iter().zip(&listens).map(collector).collect();
    let (tail, data) = (dir.join("*.log"), dir.join("edge"));
    let (tail, data) = (tail.display().to_string(), data.display().to_string());
    let [one, two] = listens.map(|listen| listen.to_string());
    let arguments = ["--tail", &tail, "--to", &one, "--to", &two, "--data-dir", &data];
    let mut edge = Agent::new("aqueduct-edge", &arguments, &dir.join("edge.out"));
    collectors.iter_mut().for_each(Agent::start);
    edge.start();

    let mut written = Vec::new();
    for kill in 0..kills {
        for part in 0..LOGS {
            let name = format!("{kill}-{part}");
            let text: String = (0..LINES).map(|line| format!("{name} {line}\n")).collect();
            written.extend_from_slice(text.as_bytes());
            fs::write(dir.join(format!("{name}.log")), text).expect("a log is written");
            thread::sleep(Duration::from_millis(rng.random_range(0..pause_max)));
        }
        before(kill);
        let killed = &mut collectors[kill % 2];
        killed.kill();
        killed.start();
    }
    wait_until_delivered(&edge, PATIENCE);
    edge.stop(STOP);
    for collector in &mut collectors {
        collector.stop(STOP);
    }
    written
}
