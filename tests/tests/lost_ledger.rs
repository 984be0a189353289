//! Goal: a commit ledger that was deleted, emptied, cut or put back to an older copy never makes a
//! collector store again what is committed, and an operator's command makes it go on.
//!
//! Method: the programs as child processes with a `file://` store. The ledger is changed below a
//! collector at work and while it is down; a second collector comes with an empty data directory.
//! What is stored is compared with what was written, line by line.
#![allow(
    clippy::disallowed_methods,
    reason = "a system test looks at the machine as it is: its clock, its disk"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;
use aqueduct_tests::wait;

const STOP: Duration = Duration::from_secs(25);

/// A site where the first 1,000 lines are stored, its agents, and the ledger.
struct Scene {
    site: Site,
    collector: Agent,
    edge: Agent,
    written: usize,
    /// Bytes of the collector's output that were looked at.
    seen: usize,
}

impl Scene {
    fn begin() -> Self {
        let site = Site::new();
        let (mut collector, mut edge) = (site.collector(), site.edge());
        collector.start();
        edge.start();
        let mut scene = Self { site, collector, edge, written: 0, seen: 0 };
        for name in ["one", "two", "three"] {
            scene.log(name);
            scene.site.wait_until_stored(scene.written);
        }
        scene
    }

    fn log(&mut self, name: &str) {
        self.site.log(name, 500);
        self.written += 500;
    }

    fn ledger(&self) -> PathBuf {
        let books = self.site.path().join("store/_aqueduct");
        let sink = fs::read_dir(books).expect("books").next().expect("a sink").expect("an entry");
        sink.path().join("ledger")
    }

    /// The collector says what to do, and stores nothing of what is new.
    fn is_stopped(&mut self, why: &str) {
        let (before, from) = (self.site.stored().len(), self.seen);
        self.log(why);
        wait::until("the sink to be stopped", Duration::from_secs(60), || {
            let output = self.collector.output();
            output[from.min(output.len())..].contains("aqueduct ledger show --store").then_some(())
        });
        self.seen = self.collector.output().len();
        thread::sleep(Duration::from_secs(2));
        assert_eq!(self.site.stored().len(), before, "{why}: it stores nothing");
    }

    fn decide(&self, what: &str) -> String {
        let sink = self.ledger_name();
        let store = format!("file://{}", self.site.path().join("store/%Y-%m-%d").display());
        let mut command = program("aqueduct");
        command.args(["ledger", what, "--store", &store, "--sink", &sink, "--data-dir"]);
        let output = command.arg(self.site.path().join("collector")).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let expected = if what == "show" { Some(1) } else { Some(0) };
        assert_eq!(output.status.code(), expected, "{what}: {said}");
        said
    }

    fn ledger_name(&self) -> String {
        let text =
            fs::read_to_string(self.site.path().join("collector.toml")).expect("its settings");
        let table = text.lines().find_map(|line| line.strip_prefix("[sinks.")).expect("a sink");
        table.trim_end_matches(']').to_owned()
    }

    /// All lines are stored, each once, and the proof says so.
    fn ends_well(mut self) {
        self.site.wait_until_stored(self.written);
        self.edge.stop(STOP);
        self.collector.stop(STOP);
        let found = compare(&self.site.logged(), &self.site.stored());
        assert!(found.is_none(), "{found}");
        self.site.prove();
    }
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
#[ignore = "needs the optimised programs: tests/run"]
fn a_ledger_deleted_below_collectors_at_work_is_rebuilt_without_repeats() {
    let mut scene = Scene::begin();
    fs::remove_dir_all(scene.site.path().join("store/_aqueduct")).expect("the books");
    scene.is_stopped("while it runs");
    // Nor does one that knows nothing begin again next to what is visible.
    scene.collector.kill();
    let kept = scene.site.path().join("collector");
    let aside = scene.site.path().join("aside");
    fs::rename(&kept, &aside).expect("a data directory");
    scene.collector.start();
    scene.is_stopped("with an empty data directory");
    scene.collector.stop(STOP);
    fs::remove_dir_all(&kept).expect("a data directory");
    fs::rename(&aside, &kept).expect("a data directory");
    assert!(scene.decide("show").contains("aqueduct ledger rebuild"));
    scene.decide("rebuild");
    scene.collector.start();
    scene.ends_well();
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn a_ledger_deleted_while_collectors_are_down_is_rebuilt_without_repeats() {
    let mut scene = Scene::begin();
    scene.collector.stop(STOP);
    fs::remove_dir_all(scene.ledger()).expect("the ledger");
    scene.collector.start();
    scene.is_stopped("while it was down");
    scene.collector.kill();
    scene.decide("rebuild");
    scene.collector.start();
    scene.ends_well();
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn an_older_copy_and_missing_entries_are_refused_and_mended() {
    let mut scene = Scene::begin();
    let (ledger, copy) = (scene.ledger(), scene.site.path().join("copy"));
    copied(&ledger, &copy);
    scene.log("after the copy");
    scene.site.wait_until_stored(scene.written);
    scene.collector.stop(STOP);
    fs::remove_dir_all(&ledger).expect("the ledger");
    copied(&copy, &ledger);
    scene.collector.start();
    scene.is_stopped("an older copy");
    scene.collector.stop(STOP);
    scene.decide("rebuild");
    scene.collector.start();
    scene.site.wait_until_stored(scene.written);
    // The oldest entries go by their age; the newest generation begins with a checkpoint.
    for name in ["four", "five", "six"] {
        scene.log(name);
        scene.site.wait_until_stored(scene.written);
    }
    let newest = fs::read_dir(scene.ledger()).expect("generations");
    let newest = newest.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    let entries = fs::read_dir(newest.max().expect("a generation")).expect("entries");
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    fs::remove_file(&entries[0]).expect("an entry");
    scene.collector.kill();
    scene.collector.start();
    scene.is_stopped("a hole");
    scene.collector.stop(STOP);
    scene.decide("rebuild");
    scene.collector.start();
    scene.ends_well();
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn an_emptied_dataset_goes_on_after_adopting_it() {
    let mut scene = Scene::begin();
    scene.collector.stop(STOP);
    let store = scene.site.path().join("store");
    fs::rename(&store, scene.site.path().join("archive")).expect("the dataset");
    scene.collector.start();
    scene.log("after it was moved away");
    scene.collector.until_logged("aqueduct ledger show --store", Duration::from_secs(30));
    assert!(scene.site.stored().is_empty());
    scene.collector.stop(STOP);
    scene.decide("adopt");
    scene.collector.start();
    scene.site.wait_until_stored(500);
    scene.edge.stop(STOP);
    scene.collector.stop(STOP);
    let lines = scene.site.stored().iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 500, "only what was not committed before");
}
