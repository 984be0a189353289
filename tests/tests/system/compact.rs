//! Goal: small files are merged into large ones, in HDFS and on a disk. A reader that lists their
//! directory finds each byte once at every moment, although collectors are killed at any step.
//!
//! Method: two collectors of one sink store small files in directories of five seconds, from an
//! edge that sends to both, and merge those of old directories. While lines arrive, the collectors
//! are killed (-9) in turn, and restarted. Then one of them is started and killed within its first
//! steps, repeatedly; on a disk while the other one runs and is suspended (`SIGSTOP`) in between.
//! Meanwhile a reader lists the directories, with WebHDFS or the system, and sums up the lengths:
//! no byte disappears or occurs twice. At the end, each directory has one file, each line is in the
//! store once, and `aqueduct verify` agrees.
//!
//! Lane: core
//! Needs: hdfs
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::seed;
use rand::prelude::*;
use rustix::process::Signal;

/// Each log of the edge becomes one or two files.
const SETTINGS: &str = "round = \"5s\"\ntime_from = \"arrival\"\ncompact = { after = \"2s\" }
roll = { age_max = \"1s\", count_max = 200 }";
/// Kills of collectors while lines arrive.
const KILLS: usize = 4;
/// Maximum pause between two logs, in milliseconds.
const PAUSE_MAX: u64 = 900;
/// Kills of the last merging collector, and its maximum lifetime in milliseconds.
const SHORT_LIVES: usize = 8;
const LIFE_MAX: u64 = 700;
/// Timeout for merging everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A snapshot of the store: number and total size of each directory's files.
type Look = BTreeMap<String, (usize, u64)>;

/// A store, as a job sees it.
trait Reader: Sync {
    /// Returns a snapshot; `None` if the store does not answer.
    fn look(&self) -> Option<Look>;

    /// Takes snapshots until the test is over, and a final one.
    fn watch(&self, over: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        loop {
            let is_last = over.load(Ordering::Relaxed);
            if let Some(look) = self.look() {
                seen.add(look);
            }
            if is_last {
                return seen;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until each directory has one file.
    fn wait_until_merged(&self) {
        let began = Instant::now();
        let is_merged = |look: Look| look.values().all(|(files, _)| *files == 1);
        while !self.look().is_some_and(is_merged) {
            assert!(began.elapsed() < PATIENCE, "not merged: {:?}", self.look());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// HDFS, with the NameNode's HTTP API.
struct NameNode<'a> {
    hdfs: &'a Hdfs,
    root: String,
}

impl Reader for NameNode<'_> {
    fn look(&self) -> Option<Look> {
        let mut look = Look::new();
        for (directory, ..) in self.hdfs.names(&self.root)? {
            if directory.contains('_') {
                continue;
            }
            let files = self.hdfs.names(&format!("{}/{directory}", self.root))?;
            look.insert(directory, (files.len(), files.iter().map(|(.., len)| len).sum()));
        }
        Some(look)
    }
}

/// A disk, with system calls.
struct Disk(PathBuf);

impl Reader for Disk {
    fn look(&self) -> Option<Look> {
        let mut look = Look::new();
        for directory in fs::read_dir(&self.0).ok()? {
            let directory = directory.expect("a directory has a name");
            let name = directory.file_name().into_string().expect("of letters");
            if name.contains('_') {
                continue;
            }
            // Look up the files in the opened directory, whatever has its name later.
            let open = File::open(directory.path()).expect("a directory stays");
            let files = fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd()));
            let files = files.expect("a directory is listed").map(|file| {
                file.and_then(|file| file.metadata()).expect("a listed file is there").len()
            });
            let lengths: Vec<u64> = files.collect();
            look.insert(name, (lengths.len(), lengths.iter().sum()));
        }
        Some(look)
    }
}

/// The snapshots of each directory.
#[derive(Default)]
struct Seen {
    last: Look,
    looks: usize,
    /// Files that were merged, as far as the snapshots show it.
    merged: usize,
}

impl Seen {
    /// Asserts that no seen byte is missing. A duplicate would be missing in the next snapshot.
    fn add(&mut self, look: Look) {
        self.looks += 1;
        for (directory, (files, bytes)) in look {
            let (before, last) = self.last.entry(directory.clone()).or_default();
            assert!(bytes >= *last, "{directory}: {bytes} bytes, and {last} before");
            self.merged += before.saturating_sub(files);
            (*before, *last) = (files, bytes);
        }
    }
}

/// Counts the blocks of a directory's files with `hdfs fsck`.
fn blocks(hdfs: &Hdfs, directory: &str) -> u64 {
    let said = hdfs.java("org.apache.hadoop.hdfs.tools.DFSck", &[directory]);
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find(|line| line.contains("Total blocks (validated):"));
    let number = line.and_then(|line| line.split(':').nth(1)?.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no blocks:\n{said}"))
}

/// Returns the collector `name` of [`collectors_are_killed`].
fn merging(dir: &Path, name: &str) -> Agent {
    let config = dir.join(name).join("collector.toml").display().to_string();
    Agent::new("aqueduct-collector", &["--config", &config], &dir.join(name).join("last.out"))
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn reader_finds_each_byte_once_during_merges_and_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, hdfs) = (folder.path(), Hdfs::shared());
    let (mut rng, began) = (seed::rng("compact"), Instant::now());
    let root = format!("/compact-{:x}", rng.random::<u32>());
    let url = format!("{}{root}/%H-%M-%S", hdfs.url());
    let reader = NameNode { hdfs, root: root.clone() };
    let over = AtomicBool::new(false);
    let (written, seen) = thread::scope(|scope| {
        let reader = &reader;
        let watched = scope.spawn(|| reader.watch(&over));
        let ends = Ends(&over);
        let written = collectors_are_killed(dir, &url, SETTINGS, &mut rng, (KILLS, PAUSE_MAX));
        let mut collector = merging(dir, "one");
        for _ in 0..SHORT_LIVES {
            collector.start();
            thread::sleep(Duration::from_millis(rng.random_range(0..LIFE_MAX)));
            collector.kill();
        }
        collector.start();
        reader.wait_until_merged();
        collector.stop(PATIENCE);
        drop(ends);
        (written, watched.join().expect("the store is looked at"))
    });
    let last = reader.look().expect("the NameNode answers");
    assert_eq!(seen.last, last, "what was seen last is what is there");
    assert!(seen.merged > 0, "the reader was there while files were merged");
    let stored = hdfs.read(&format!("{root}/[0-9]*/*"));
    let found = compare(&written, &stored);
    assert!(found.is_none(), "{found}");
    prove(&url, None, &[edge_channel(dir)]);
    let (first, _) = last.first_key_value().expect("a directory");
    assert_eq!(blocks(hdfs, &format!("{root}/{first}")), 1, "its files were one block each");
    eprintln!(
        "{found}; {} looks; {} directories with a file of one block each, of {} files; {:?}",
        seen.looks,
        last.len(),
        last.len() + seen.merged,
        began.elapsed()
    );
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn reader_of_a_disk_finds_each_byte_once_during_kills_and_stops() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let (mut rng, began) = (seed::rng("compact on a disk"), Instant::now());
    fs::create_dir(&store).expect("the test's own folder");
    let url = format!("file://{}/%H-%M-%S", store.display());
    let (reader, over) = (Disk(store.clone()), AtomicBool::new(false));
    let (written, seen) = thread::scope(|scope| {
        let watched = scope.spawn(|| reader.watch(&over));
        let ends = Ends(&over);
        let written = collectors_are_killed(dir, &url, SETTINGS, &mut rng, (KILLS, PAUSE_MAX / 2));
        let [mut collector, mut other] = ["one", "two"].map(|name| merging(dir, name));
        other.start();
        for _ in 0..SHORT_LIVES {
            collector.start();
            let life = Duration::from_millis(rng.random_range(0..LIFE_MAX));
            thread::sleep(life / 2);
            other.process().signal(Signal::STOP);
            thread::sleep(life / 2);
            collector.kill();
            other.process().signal(Signal::CONT);
        }
        collector.start();
        reader.wait_until_merged();
        collector.stop(PATIENCE);
        other.stop(PATIENCE);
        drop(ends);
        (written, watched.join().expect("the store is looked at"))
    });
    let last = reader.look().expect("the disk answers");
    assert_eq!(seen.last, last, "what was seen last is what is there");
    assert!(seen.merged > 0, "the reader was there while files were merged");
    let mut stored = Vec::new();
    for directory in last.keys() {
        for file in fs::read_dir(store.join(directory)).expect("it is there") {
            let path = file.expect("a file has a name").path();
            stored.extend(fs::read(path).expect("a merged file is read"));
        }
    }
    let found = compare(&written, &stored);
    assert!(found.is_none(), "{found}");
    prove(&url, None, &[edge_channel(dir)]);
    eprintln!(
        "{found}; {} looks; {} directories with one file each, of {} files; {:?}",
        seen.looks,
        last.len(),
        last.len() + seen.merged,
        began.elapsed()
    );
}

/// Ends the reader, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
