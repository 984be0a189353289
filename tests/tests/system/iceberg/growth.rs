//! Growth of a table's metadata with many small commits, one line each. PyIceberg reads the table.
//!
//! By default, more commits than a list may have manifests. `AQUEDUCT_TABLE_COMMITS=1440` measures
//! a day of commits once a minute:
//!
//! ```sh
//! AQUEDUCT_TABLE_COMMITS=1440 tests/run iceberg
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::iceberg::{Catalog, hadoop_catalog, python};
use aqueduct_tests::wait;

/// Commits, unless the environment has another number.
const COMMITS: usize = 130;
/// Manifests that are merged, by default.
const MANIFESTS_MAX: u64 = 100;
/// Commits at each end whose time is shown.
const SHOWN: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn commits() -> usize {
    let number = std::env::var("AQUEDUCT_TABLE_COMMITS").ok();
    number.map_or(COMMITS, |number| number.parse().expect("a number of commits"))
}

/// Returns a collector that makes a file and a commit of each line of `lines.log`.
pub(super) fn collector(dir: &Path, catalog: &str) -> Agent {
    let text = format!(
        "[agent]\ndata_dir = \"{dir}/data\"\n\
         [sources.log]\ntype = \"tail_dir\"\npaths = [\"{dir}/lines.log\"]\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{dir}/warehouse/logs/web/data\"\n\
         channel = \"main\"\nroll = {{ count_max = 1 }}\n\
         encoder = {{ type = \"parquet\", columns = [{{ name = \"line\", type = \"string\", \
         from = \"body\" }}] }}\n\
         iceberg = {{ catalog = \"{catalog}\", table = \"logs.web\", create = true }}\n",
        dir = dir.display(),
    );
    Agent::configured("aqueduct-collector", dir, "growth", &text)
}

/// Returns how often the collector has committed to its table.
pub(super) fn table_commits(collector: &Agent) -> Option<usize> {
    Some(collector.metrics()?.sum("aqueduct_hdfs_table_commits_total")? as usize)
}

/// Makes a collector commit lines, one by one. Returns the median time of the first and the last
/// commits, from the line to the table.
fn commit_lines(dir: &Path, catalog: &str) -> [Duration; 2] {
    let path = dir.join("lines.log");
    let mut lines = fs::File::create(path).expect("the test's own folder");
    let mut collector = collector(dir, catalog);
    let mut times = Vec::new();
    collector.start();
    for line in 0..commits() {
        let began = Instant::now();
        writeln!(lines, "{line}").expect("a line is written");
        wait::until("the table to have the line", PATIENCE, || {
            // The first commit has no files.
            (table_commits(&collector)? > line + 1).then_some(())
        });
        times.push(began.elapsed());
    }
    collector.stop(PATIENCE);
    let median = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    [median(&times[1..=SHOWN]), median(&times[times.len() - SHOWN..])]
}

/// Returns the numbers of a table, as PyIceberg reads it.
fn measured(dir: &Path, table: &[&str]) -> BTreeMap<String, u64> {
    let script = dir.join("growth.py");
    fs::write(&script, include_str!("growth.py")).expect("the test's own folder");
    let output = python().arg(script).args(table).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let number = |line: &str| {
        let (name, number) = line.split_once(' ').expect("a name and a number");
        (name.to_owned(), number.parse().expect("a number"))
    };
    text.lines().map(number).collect()
}

/// Checks the numbers of a table, and shows them.
fn check(name: &str, dir: &Path, metadata: &Path, times: [Duration; 2], table: &[&str]) {
    let numbers = measured(dir, table);
    let commits = commits() as u64;
    assert_eq!((numbers["rows"], numbers["lines"]), (commits, commits), "{numbers:?}");
    assert_eq!(numbers["snapshots"], commits + 1, "{numbers:?}");
    assert!(numbers["manifests"] <= MANIFESTS_MAX, "{numbers:?}");
    let files: Vec<PathBuf> = fs::read_dir(metadata)
        .expect("the metadata of the table")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().expect("a file").len()).sum();
    let versions = files.iter().filter(|file| file.extension().is_some_and(|it| it == "json"));
    eprintln!(
        "{name}: {numbers:?}, {} versions, {} files of metadata with {} MiB, {:?} for a commit at \
         the start, {:?} at the end",
        versions.count(),
        files.len(),
        bytes >> 20,
        times[0],
        times[1]
    );
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn metadata_of_a_table_in_a_directory_stays_small_after_many_commits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, warehouse) = (folder.path(), folder.path().join("warehouse"));
    let (url, table) = (format!("file://{}", warehouse.display()), warehouse.join("logs/web"));
    let times = commit_lines(dir, &url);
    let metadata = table.join("metadata");
    check("directory", dir, &metadata, times, &[&table.display().to_string()]);
    let counted = hadoop_catalog(dir, &[&url, "count"]);
    assert_eq!(counted, format!("{} rows, null changes\n", commits()));
    let versions = fs::read_dir(metadata).expect("the metadata of the table").filter(|entry| {
        entry.as_ref().expect("an entry").path().extension().is_some_and(|it| it == "json")
    });
    assert!(versions.count() <= 101, "old versions are deleted");
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn metadata_of_a_table_in_a_rest_catalog_stays_small_after_many_commits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, catalog) = (folder.path(), Catalog::start(folder.path()));
    let address = format!("http://{}", catalog.address());
    let times = commit_lines(dir, &address);
    let metadata = dir.join("warehouse/logs/web/metadata");
    check("REST catalog", dir, &metadata, times, &[&address, "logs.web"]);
}
