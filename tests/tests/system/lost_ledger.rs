//! Goal: if a commit ledger was deleted, emptied, truncated or restored from an older copy,
//! collectors never store committed lines again, and an operator's command lets them continue.
//!
//! Method: the programs as child processes with a `file://` store. The ledger is changed while a
//! collector runs and while it is down; a second collector starts with an empty data directory.
//! Stored and written lines are compared.
//!
//! Lane: core
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aqueduct_tests::scene::{STOP, Scene};
use aqueduct_tests::site::Site;

fn begun() -> Scene {
    Scene::begin(Site::new())
}

fn ledger_of(scene: &Scene) -> PathBuf {
    let books = scene.site.path().join("store/_aqueduct");
    let sink = fs::read_dir(books).expect("books").next().expect("a sink").expect("an entry");
    sink.path().join("ledger")
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copied(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_ledger_deleted_below_collectors_at_work_is_rebuilt_without_repeats() {
    let mut scene = begun();
    fs::remove_dir_all(scene.site.path().join("store/_aqueduct")).expect("the books");
    scene.is_stopped("while it runs");
    // A collector without any memory must not start a new ledger next to visible files, either.
    scene.collector.kill();
    let kept = scene.site.path().join("collector");
    let aside = scene.site.path().join("aside");
    fs::rename(&kept, &aside).expect("a data directory");
    scene.start();
    scene.is_stopped("with an empty data directory");
    scene.collector.stop(STOP);
    fs::remove_dir_all(&kept).expect("a data directory");
    fs::rename(&aside, &kept).expect("a data directory");
    assert!(scene.decide("show").contains("aqueduct ledger rebuild"));
    scene.decide("rebuild");
    scene.start();
    scene.ends_well();
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_ledger_deleted_while_collectors_are_down_is_rebuilt_without_repeats() {
    let mut scene = begun();
    scene.collector.stop(STOP);
    fs::remove_dir_all(ledger_of(&scene)).expect("the ledger");
    scene.start();
    scene.is_stopped("while it was down");
    scene.collector.kill();
    scene.decide("rebuild");
    scene.start();
    scene.ends_well();
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn older_copy_and_missing_entries_are_refused_and_repaired() {
    let mut scene = begun();
    let (ledger, copy) = (ledger_of(&scene), scene.site.path().join("copy"));
    copied(&ledger, &copy);
    scene.log("after the copy");
    scene.until_stored();
    scene.collector.stop(STOP);
    fs::remove_dir_all(&ledger).expect("the ledger");
    copied(&copy, &ledger);
    scene.start();
    scene.is_stopped("an older copy");
    scene.collector.stop(STOP);
    scene.decide("rebuild");
    scene.start();
    scene.until_stored();
    // The oldest entries are removed by age; the newest generation begins with a checkpoint.
    for name in ["four", "five", "six"] {
        scene.log(name);
        scene.until_stored();
    }
    let newest = fs::read_dir(ledger_of(&scene)).expect("generations");
    let newest = newest.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let entries = fs::read_dir(newest.max().expect("a generation")).expect("entries");
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    fs::remove_file(&entries[0]).expect("an entry");
    scene.collector.kill();
    scene.start();
    scene.is_stopped("a hole");
    scene.collector.stop(STOP);
    scene.decide("rebuild");
    scene.start();
    scene.ends_well();
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn emptied_dataset_works_again_after_adoption() {
    let mut scene = begun();
    scene.collector.stop(STOP);
    let store = scene.site.path().join("store");
    fs::rename(&store, scene.site.path().join("archive")).expect("the dataset");
    scene.start();
    scene.log("after it was moved away");
    scene.collector.until_logged("aqueduct ledger show --store", Duration::from_secs(30));
    assert!(scene.site.stored().is_empty());
    scene.collector.stop(STOP);
    scene.decide("adopt");
    scene.start();
    scene.site.wait_until_stored(500);
    scene.edge.stop(STOP);
    scene.collector.stop(STOP);
    let lines = scene.site.stored().iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 500, "only what was not committed before");
}
