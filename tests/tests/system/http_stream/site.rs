//! The collector under test, and its store as readers see it.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::store;
use aqueduct_tests::wait;

use super::LIMIT;

/// Pauses after failures, of lengths that a test can tell apart.
pub(crate) const PAUSES: &str = r#"[sources.in.backoff]
network = { first = "0s", step = "5ms", limit = "20ms" }
http = { first = "300ms", limit = "5s" }
limited = { first = "100ms", limit = "100ms" }
"#;

/// Returns a collector with a source of this kind, and a store.
pub(crate) fn agent(dir: &Path, kind: &str, url: &str, settings: &str) -> Agent {
    let at = dir.display();
    let text = format!(
        r#"
[agent]
data_dir = "{at}/data"
[sources.in]
type = "{kind}"
url = "{url}"
channels = ["main"]
{settings}
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.store]
type = "hdfs"
url = "file://{at}/store/%Y"
encoder = "text"
channel = "main"
roll = {{ age_max = "1s", idle_max = "1s" }}
"#
    );
    Agent::configured("aqueduct-collector", dir, "agent", &text)
}

/// Counts how often each line is stored.
pub(crate) fn stored(dir: &Path) -> BTreeMap<String, usize> {
    store::lines(&dir.join("store"))
}

/// Returns the event with this number.
pub(crate) fn line(number: usize) -> String {
    format!("{{\"n\":{number},\"text\":\"\"}}")
}

/// Waits until this many different lines are stored. Returns the number of duplicates.
pub(crate) fn repeats(dir: &Path, lines: usize) -> usize {
    let (mut there, mut since) = (0, Instant::now());
    loop {
        thread::sleep(Duration::from_millis(200));
        let now = stored(dir).len();
        if now >= lines {
            break;
        }
        if now > there {
            (there, since) = (now, Instant::now());
        }
        // A store without new lines will not become complete.
        assert!(since.elapsed() < LIMIT / 3, "{there} of {lines} events are in the store");
    }
    // Resent lines would arrive now.
    thread::sleep(Duration::from_millis(1500));
    let stored = stored(dir);
    assert_eq!(stored.len(), lines, "no other lines");
    (0..lines).for_each(|number| assert!(stored.contains_key(&line(number)), "{number} lacks"));
    store::repeats(&stored)
}

/// Returns the count of an anomaly.
pub(crate) fn counted(agent: &Agent, reason: &str) -> f64 {
    let series = format!("aqueduct_source_anomalies_total{{source=\"in\",reason=\"{reason}\"}}");
    agent.metrics().and_then(|it| it.value(&series)).unwrap_or_default()
}

/// Waits for this many lines in the store, and returns them.
pub(crate) fn stored_soon(dir: &Path, lines: usize) -> BTreeMap<String, usize> {
    wait::until(&format!("{lines} lines"), LIMIT, || {
        Some(stored(dir)).filter(|stored| stored.len() >= lines)
    })
}
