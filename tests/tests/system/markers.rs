//! Goal: a directory with a `success_marker` is complete: no file appears in it later, although
//! collectors are killed at any moment; and every directory gets its marker.
//!
//! Method: two collectors of one sink store in directories of five seconds, from an edge that sends
//! to both. While lines arrive, the collectors are killed (-9) in turn, and restarted. The content
//! of each directory when its marker is first seen is compared with its final content, and each
//! line with the written ones.
//!
//! Lane: core
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::seed;

/// The last file of a directory becomes visible only after the directory could have been marked.
const SETTINGS: &str = "round = \"5s\"\nlate_after = \"1s\"\nsuccess_marker = { after = \"4s\" }
roll = { age_max = \"9s\" }";
const MARKER: &str = "_SUCCESS";
/// Kills of collectors, in turn.
const KILLS: usize = 4;
/// Maximum pause between two logs, in milliseconds. A collector runs for about five of them, in
/// which its files must become visible and the stage must be listed twice.
const PAUSE_MAX: u64 = 4_000;
/// Timeout from the last line until each directory is marked.
const PATIENCE: Duration = Duration::from_secs(60);
/// Minimum number of directories marked while lines arrive and collectors are killed.
const MARKED_MEANWHILE: usize = 2;

/// Late lines go here, in directories without markers.
const LATE: &str = "late";

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Returns the directories that should get a marker, and the names in each.
fn directories(store: &Path) -> BTreeMap<PathBuf, BTreeSet<String>> {
    let own = names(store).into_iter().filter(|name| !name.starts_with('_') && name != LATE);
    let paths = own.map(|name| store.join(name));
    paths.map(|path| (path.clone(), names(&path))).collect()
}

/// The content of each directory when its marker was first seen.
#[derive(Default)]
struct Seen(BTreeMap<PathBuf, BTreeSet<String>>);

impl Seen {
    fn look(&mut self, store: &Path) {
        for (path, names) in directories(store) {
            if names.contains(MARKER) {
                self.0.entry(path).or_insert(names);
            }
        }
    }
}

/// Ends the observer, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_directory_with_a_marker_is_complete_through_kills_of_its_collectors() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let (mut rng, began) = (seed::rng("markers"), Instant::now());
    let url = format!("file://{}/%Y%m%d-%H%M%S", store.display());
    let (mut seen, over) = (Seen::default(), AtomicBool::new(false));
    let written = thread::scope(|scope| {
        let watched = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                seen.look(&store);
                thread::sleep(Duration::from_millis(10));
            }
        });
        let ends = Ends(&over);
        let written = collectors_are_killed(dir, &url, SETTINGS, &mut rng, (KILLS, PAUSE_MAX));
        drop(ends);
        watched.join().expect("the store is looked at");
        written
    });
    let meanwhile = seen.0.len();
    assert!(meanwhile >= MARKED_MEANWHILE, "{meanwhile} directories were marked meanwhile");

    // Either collector marks what both have left.
    let config = dir.join("one/collector.toml").display().to_string();
    let mut collector =
        Agent::new("aqueduct-collector", &["--config", &config], &dir.join("one/last.out"));
    collector.start();
    let ended = Instant::now();
    while directories(&store).values().any(|names| !names.contains(MARKER)) {
        seen.look(&store);
        assert!(ended.elapsed() < PATIENCE, "unmarked: {:?}", directories(&store));
        thread::sleep(Duration::from_millis(10));
    }
    seen.look(&store);
    collector.stop(PATIENCE);

    let last = directories(&store);
    for (path, names) in &last {
        assert_eq!(names, &seen.0[path], "{}: changed after its marker", path.display());
    }
    let mut all = last.clone();
    let late = store.join(LATE);
    all.extend(names(&late).iter().map(|name| (late.join(name), names(&late.join(name)))));
    let files = all.iter().flat_map(|(path, names)| names.iter().map(|name| path.join(name)));
    let stored: Vec<u8> = files.flat_map(|file| fs::read(file).expect("a visible file")).collect();
    let found = compare(&written, &stored);
    assert!(found.is_none(), "{found}");
    prove(&url, None, &[edge_channel(dir)]);
    eprintln!(
        "{found}; {} directories, {meanwhile} of them marked while lines came; {} late; {:?}",
        last.len(),
        all.len() - last.len(),
        began.elapsed()
    );
}
