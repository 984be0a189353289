//! Goal: small files become large ones, in HDFS and on a disk, and a reader that lists their
//! directory finds each byte once at every moment, although collectors are killed at any of the
//! steps.
//!
//! Method: two collectors of one sink store small files in directories of five seconds each, from
//! an edge that sends to both, and merge those of directories that are over. While lines come, the
//! collectors are killed (-9) in turn, and started again; then one of them is started and killed
//! within its first steps, again and again, on a disk while the other one runs, and is stopped
//! (`SIGSTOP`) in between. All the while a reader lists the directories, by WebHDFS or the system,
//! and adds up the lengths: what is there once stays there, and nothing is there twice. In the end
//! there is one file in each directory, each line is once in the store, and `aqueduct verify`
//! agrees.
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

/// Each log of the edge is a file of its own, or two.
const SETTINGS: &str = "round = \"5s\"\ntime_from = \"arrival\"\ncompact = { after = \"2s\" }
roll = { age_max = \"1s\", count_max = 200 }";
/// Kills of collectors while lines come.
const KILLS: usize = 4;
/// Longest time between two logs, in milliseconds.
const PAUSE_MAX: u64 = 900;
/// Kills of the one that merges what is left, and its longest life, in milliseconds.
const SHORT_LIVES: usize = 8;
const LIFE_MAX: u64 = 700;
/// Longest time until all is merged.
const PATIENCE: Duration = Duration::from_secs(60);

/// One look at the store: the files of each directory, and their bytes.
type Look = BTreeMap<String, (usize, u64)>;

/// A store as a job sees it.
trait Reader: Sync {
    /// What is there; `None` if the store does not answer.
    fn look(&self) -> Option<Look>;

    /// What is there, for as long as a test lasts, and once more.
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

    fn is_merged(&self) -> bool {
        self.look().is_some_and(|look| look.values().all(|(files, _)| *files == 1))
    }
}

/// HDFS, by the NameNode's own HTTP.
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

/// A disk, by the system.
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
            // Its files are looked up in the directory that was opened, whatever has its name then.
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

/// What was seen of each directory.
#[derive(Default)]
struct Seen {
    last: Look,
    looks: usize,
    /// Files that have become part of others, as far as the looks show it.
    merged: usize,
}

impl Seen {
    /// No byte that was seen is missing; what is there twice would be missing in the next look.
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

/// Blocks of the files of a directory, as `hdfs fsck` counts them.
fn blocks(hdfs: &Hdfs, directory: &str) -> u64 {
    let said = hdfs.java("org.apache.hadoop.hdfs.tools.DFSck", &[directory]);
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().find(|line| line.contains("Total blocks (validated):"));
    let number = line.and_then(|line| line.split(':').nth(1)?.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no blocks:\n{said}"))
}

/// The collector `name` of [`collectors_are_killed`].
fn merging(dir: &Path, name: &str) -> Agent {
    let config = dir.join(name).join("collector.toml").display().to_string();
    Agent::new("aqueduct-collector", &["--config", &config], &dir.join(name).join("last.out"))
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_reader_finds_each_byte_once_while_files_are_merged_and_collectors_are_killed() {
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
        let ended = Instant::now();
        while !reader.is_merged() {
            assert!(ended.elapsed() < PATIENCE, "not merged: {:?}", reader.look());
            thread::sleep(Duration::from_millis(100));
        }
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
fn a_reader_of_a_disk_finds_each_byte_once_while_collectors_are_killed_and_stopped() {
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
        let ended = Instant::now();
        while !reader.is_merged() {
            assert!(ended.elapsed() < PATIENCE, "not merged: {:?}", reader.look());
            thread::sleep(Duration::from_millis(100));
        }
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

/// Ends what looks at the store, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
