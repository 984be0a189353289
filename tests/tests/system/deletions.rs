//! Goal: whatever an operator or a job does to a dataset in HDFS while or before its collectors
//! run, each line is stored once; or the sink stops and reports the command that repairs it, which
//! works.
//!
//! Method: the programs as child processes, and a real HDFS, in which Hadoop's own commands delete
//! (with and without a trash), restore, copy out of a snapshot, move, and set quotas. Stored and
//! written lines are compared. `lost_ledger` tests the same on a disk.
//!
//! Lane: core
//! Needs: hdfs
//! Weight: 0
//! Limit: 10m
//! Paths: @core

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{fs, thread};

use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::reconcile::{compare, verify};
use aqueduct_tests::scene::{LINES, STOP, Scene};
use aqueduct_tests::site::{Site, stored_in};
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

/// Timeout of a collector's action.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a separate directory.
fn root(test: &str) -> String {
    format!("/{test}-{:x}", seed::rng(test).random::<u32>() ^ std::process::id())
}

/// Returns the ledger of the scene's sink, whose store is in `root`.
fn ledger(scene: &Scene, root: &str) -> String {
    format!("{root}/_aqueduct/{}/ledger", scene.sink())
}

/// Returns the directories below `root` that readers read.
fn directories(hdfs: &Hdfs, root: &str) -> BTreeSet<String> {
    let names = hdfs.names(root).expect("the NameNode answers").into_iter();
    names.map(|(name, ..)| name).filter(|name| !name.starts_with(['_', '.'])).collect()
}

/// Scenes run in parallel, because each of them mostly waits.
#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn changes_of_a_dataset_by_others_neither_repeat_nor_lose_a_line() {
    let scenes: [(&str, fn()); 5] = [
        ("trash", restores_a_ledger_from_the_trash_or_rebuilds_it),
        ("snapshot", an_older_copy_is_refused_also_by_a_collector_that_knows_nothing),
        ("moved", a_dataset_that_is_moved_goes_on_where_its_sink_is_set_to),
        ("quota", a_quota_holds_commits_up_and_neither_loses_nor_repeats_a_line),
        ("retention", retention_and_snapshots_neither_bring_a_line_back_nor_hold_up_others),
    ];
    thread::scope(|scope| {
        for (name, scene) in scenes {
            let began = Instant::now();
            let played = move || {
                scene();
                eprintln!("{name}: {:?}", began.elapsed());
            };
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, played).expect("a thread is started");
        }
    });
}

fn restores_a_ledger_from_the_trash_or_rebuilds_it() {
    let (hdfs, root) = (Hdfs::shared(), root("trash"));
    let mut scene = Scene::begin(Site::in_hdfs(hdfs, &root));
    let books = format!("{root}/_aqueduct");
    hdfs.fs_with_trash(&["-rm", "-r", &books]);
    scene.is_stopped("while it lies in the trash");
    // Otherwise it would be moved into the new directory.
    let names = hdfs.names(&root).expect("the NameNode answers");
    assert!(names.iter().all(|(name, ..)| name != "_aqueduct"), "{names:?}");
    hdfs.fs(&["-mv", &hdfs.trash(&books), &books]);
    scene.until_stored();

    scene.collector.stop(STOP);
    hdfs.fs_with_trash(&["-rm", "-r", &ledger(&scene, &root)]);
    hdfs.fs_with_trash(&["-expunge", "-immediate"]);
    scene.start();
    scene.is_stopped("when the trash is emptied");
    scene.collector.stop(STOP);
    scene.decide("rebuild");
    scene.start();
    scene.ends_well();
}

fn an_older_copy_is_refused_also_by_a_collector_that_knows_nothing() {
    let (hdfs, root) = (Hdfs::shared(), root("snapshot"));
    let mut scene = Scene::begin(Site::in_hdfs(hdfs, &root));
    hdfs.admin(&["-allowSnapshot", &root]);
    hdfs.fs(&["-createSnapshot", &root, "before"]);
    scene.log("after the snapshot");
    scene.until_stored();
    scene.collector.stop(STOP);
    let ledger = ledger(&scene, &root);
    let copy = ledger.replacen(&root, &format!("{root}/.snapshot/before"), 1);
    hdfs.fs(&["-rm", "-r", "-skipTrash", &ledger]);
    hdfs.fs(&["-cp", &copy, &ledger]);
    scene.start();
    scene.is_stopped("an older copy");
    scene.collector.stop(STOP);

    let (kept, aside) = (scene.data_dir(), scene.site.path().join("aside"));
    fs::rename(&kept, &aside).expect("a data directory");
    scene.start();
    scene.is_stopped("an older copy and an empty data directory");
    scene.collector.until_logged("if it is an older copy", PATIENCE);
    assert!(scene.decide("show").contains("was published by commit record"));
    scene.collector.stop(STOP);
    fs::remove_dir_all(&kept).expect("a data directory");
    fs::rename(&aside, &kept).expect("a data directory");

    // Also in a directory with a snapshot, the ledger is replaced and stages are cleared.
    scene.decide("rebuild");
    scene.start();
    scene.ends_well();
}

fn a_dataset_that_is_moved_goes_on_where_its_sink_is_set_to() {
    let (hdfs, root) = (Hdfs::shared(), root("moved"));
    let [second, third, archive] = ["second", "third", "archive"].map(|it| format!("{root}-{it}"));
    let mut scene = Scene::begin(Site::in_hdfs(hdfs, &root));
    scene.collector.stop(STOP);
    hdfs.fs(&["-mv", &root, &second]);
    scene.site.stores_in(&second);
    scene.start();
    scene.log("moved while it was down");
    scene.until_stored();

    hdfs.fs(&["-mv", &second, &third]);
    scene.is_stopped("moved while it runs");
    let names = hdfs.names(&second).expect("the NameNode answers");
    assert!(names.is_empty(), "nothing is begun where it was: {names:?}");
    scene.collector.stop(STOP);
    scene.site.stores_in(&third);
    scene.start();
    scene.until_stored();
    scene.edge.stop(STOP);
    scene.collector.stop(STOP);
    scene.site.prove();

    // Only a directory, while the collector runs.
    scene.edge.start();
    scene.start();
    hdfs.fs(&["-mkdir", &archive]);
    for day in directories(hdfs, &third) {
        hdfs.fs(&["-mv", &format!("{third}/{day}"), &format!("{archive}/{day}")]);
    }
    scene.log("after its days were moved away");
    scene.site.wait_until_stored(LINES);
    scene.stop();
    let stored = [stored_in(hdfs, &archive), scene.site.stored()].concat();
    let found = compare(&scene.site.logged(), &stored);
    assert!(found.is_none(), "{found}");
}

fn a_quota_holds_commits_up_and_neither_loses_nor_repeats_a_line() {
    let (hdfs, root) = (Hdfs::shared(), root("quota"));
    let mut scene = Scene::begin(Site::in_hdfs(hdfs, &root));
    // The commit's entry is rejected after its files are complete and it is prepared.
    let entries = format!("{}/g0", ledger(&scene, &root));
    let used = 1 + hdfs.names(&entries).expect("the NameNode answers").len();
    hdfs.admin(&["-setQuota", &used.to_string(), &entries]);
    scene.stores_nothing("no entry more", "hdfs dfsadmin -setQuota");
    hdfs.admin(&["-clrQuota", &entries]);
    scene.until_stored();
    // No more blocks allowed.
    hdfs.admin(&["-setSpaceQuota", "1k", &root]);
    scene.stores_nothing("no block more", "-setSpaceQuota");
    hdfs.admin(&["-clrSpaceQuota", &root]);
    scene.until_stored();
    // Committed files cannot become visible.
    let days = directories(hdfs, &root);
    let day = format!("{root}/{}", days.last().expect("lines are stored by days"));
    hdfs.admin(&["-setQuota", "1", &day]);
    scene.stores_nothing("no name more", "cannot publish committed files");
    hdfs.admin(&["-clrQuota", &day]);
    scene.ends_well();
}

fn retention_and_snapshots_neither_bring_a_line_back_nor_hold_up_others() {
    const SMALL: &str = "round = \"5s\"\ntime_from = \"arrival\"
roll = { age_max = \"1s\", count_max = 200 }";
    let (hdfs, root) = (Hdfs::shared(), root("retention"));
    let merging = |after: &str| format!("compact = {{ after = \"{after}\" }}\n{SMALL}");
    let site = Site::in_hdfs(hdfs, &root).with_sink_settings(&merging("10min"), "%H-%M-%S");
    let mut scene = Scene::begin(site);
    let files = |directory: &str| {
        let names = hdfs.names(&format!("{root}/{directory}")).expect("the NameNode answers");
        names.len()
    };
    let several = || {
        let all = directories(hdfs, &root).into_iter();
        all.filter(|directory| files(directory) > 1).collect::<Vec<_>>()
    };
    wait::until("two directories with several files", PATIENCE, || {
        scene.log(&format!("{} more", scene.written));
        scene.until_stored();
        (several().len() > 1).then_some(())
    });
    scene.collector.stop(STOP);
    hdfs.admin(&["-allowSnapshot", &root]);
    hdfs.fs(&["-createSnapshot", &root, "small"]);
    let before = several();
    let small: Vec<usize> = before.iter().map(|it| files(it)).collect();

    // HDFS cannot concatenate files of a snapshot: they stay, and nothing waits for them.
    scene.site = scene.site.with_sink_settings(&merging("1s"), "%H-%M-%S");
    scene.start();
    wait::until("the directories of the snapshot to be given up", PATIENCE, || {
        let given_up = scene.collector.metrics()?.sum("aqueduct_hdfs_unmerged_given_up_total")?;
        (given_up >= before.len() as f64).then_some(())
    });
    assert_eq!(small, before.iter().map(|it| files(it)).collect::<Vec<_>>(), "as they were");

    let (first, rest) = before.split_first().expect("two of them");
    hdfs.fs(&["-rm", "-r", "-skipTrash", &format!("{root}/{first}")]);
    let left = stored_in(hdfs, &root);
    scene.log("after the retention job");
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    scene.site.wait_until_stored(lines(&left) + LINES);
    // Without the snapshot, started merges continue; deleted files stay deleted.
    hdfs.fs(&["-deleteSnapshot", &root, "small"]);
    assert!(!rest.is_empty() && scene.written > lines(&left) + LINES);
    for directory in rest {
        wait::until("merges to go on", PATIENCE, || (files(directory) == 1).then_some(()));
    }
    assert!(!directories(hdfs, &root).contains(first), "what was removed comes back");
    scene.stop();
    let found = compare(&scene.site.logged(), &scene.site.stored());
    let gone = scene.written - lines(&left) - LINES;
    assert_eq!((found.missing, found.repeated, found.foreign), (gone, 0, 0), "{found}");
    let mut proof = verify(&scene.site.store(), &[scene.site.path().join("edge/channels/main")]);
    proof.args(["--retention", "0s"]).env("HADOOP_CONF_DIR", hdfs.conf_dir());
    let output = proof.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
