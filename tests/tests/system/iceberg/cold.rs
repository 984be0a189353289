//! Starts of a collector whose table has one snapshot, and 10,000 snapshots.
//!
//! The snapshots are added to the metadata, which is what a start and a commit read. A line waits
//! for the collector: the time until it is in the store, and in the table.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aqueduct_tests::iceberg::{Catalog, python};
use aqueduct_tests::wait;

use super::growth::{collector, table_commits};

const SNAPSHOTS: usize = 10_000;
/// Maximum time that the large table adds to a start, on a machine that runs other tests. On a
/// quiet one, a start takes less than 2 s.
const START_MAX: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a line, and starts a collector. Returns the times until the line is in the store, and
/// until the collector has made these commits to the table.
fn start(dir: &Path, catalog: &str, line: &str, commits: usize) -> [Duration; 2] {
    let mut collector = collector(dir, catalog);
    let path = dir.join("lines.log");
    let earlier = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, format!("{earlier}{line}\n")).expect("the test's own folder");
    let began = Instant::now();
    collector.start();
    let times = ["store", "table"].map(|place| {
        wait::until(&format!("the line in the {place}"), PATIENCE, || {
            let events = collector.metrics()?.sum("aqueduct_sink_committed_events_total")?;
            let is_there = place == "store" || table_commits(&collector)? >= commits;
            (events > 0.0 && is_there).then_some(())
        });
        began.elapsed()
    });
    collector.stop(PATIENCE);
    times
}

fn measure(name: &str, dir: &Path, catalog: &str, place: &str) {
    // The first commit has no files.
    start(dir, catalog, "first", 2);
    let small = start(dir, catalog, "small", 1);
    let script = dir.join("cold.py");
    fs::write(&script, include_str!("cold.py")).expect("the test's own folder");
    let output = python().arg(script).args([place, &SNAPSHOTS.to_string()]).output();
    let output = output.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = String::from_utf8(output.stdout).expect("UTF-8");
    let large = start(dir, catalog, "large", 1);
    let next = start(dir, catalog, "next", 1);
    eprintln!(
        "{name}: start with a small table {small:?}, with {SNAPSHOTS} snapshots in {} bytes of \
         metadata {large:?}, {next:?}",
        bytes.trim()
    );
    assert!(large[0].max(next[0]) < small[0] + START_MAX, "{large:?}, {next:?}");
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn collector_of_a_directory_with_many_snapshots_starts_soon() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, warehouse) = (folder.path(), folder.path().join("warehouse"));
    let (url, table) = (format!("file://{}", warehouse.display()), warehouse.join("logs/web"));
    measure("directory", dir, &url, &table.display().to_string());
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn collector_of_a_rest_catalog_with_many_snapshots_starts_soon() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, catalog) = (folder.path(), Catalog::start(folder.path()));
    let address = format!("http://{}", catalog.address());
    measure("REST catalog", dir, &address, &address);
}
