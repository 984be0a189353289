//! The command decides for a stopped collector, shows changes to the ledger, and rejects the rest.
//!
//! Method: a real sink below `file://` commits one batch; then its ledger is deleted.

use components_hdfs::hdfs::Config as SinkConfig;
use pipeline::env::OpenMode;
use pipeline::testkit::build;
use pipeline::{Batch, Epoch, Identity, Origin, Outcome, Sequence, Sink, Taken};
use tempfile::TempDir;

use super::*;

fn target(dir: &TempDir) -> Target {
    let store = format!("file://{}/logs/%Y", dir.path().display());
    let (sink, data_dir) = ("store".into(), dir.path().join("data"));
    Target {
        store,
        sink,
        data_dir,
        #[cfg(feature = "webhdfs")]
        synconclose: false,
        json: false,
    }
}

/// Offers a batch to a collector start. Returns whether it was delivered.
fn offer(dir: &TempDir, number: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = dir.path().join("data/sinks/store");
        let cx = components::alone("store", &place, env::real());
        let settings = json!({ "url": target(dir).store });
        let mut sink: Box<dyn Sink> = build::<SinkConfig>(&settings, &cx).unwrap();
        if sink.open().await.is_err() {
            return false;
        }
        let mut batch = Batch::of([format!("line {number}")]);
        let (origin, epoch) = (Origin([5; 16]), Epoch(1));
        batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(number) });
        sink.write(Taken { ticket: 0, batch }).await.unwrap();
        sink.flush();
        let outcome = sink.settled().await.outcome;
        sink.close().await;
        matches!(outcome, Outcome::Delivered)
    })
}

/// Creates a stopped collector that has stored one batch.
fn site() -> TempDir {
    let dir = TempDir::new().unwrap();
    assert!(offer(&dir, 0));
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    env::real().disk.open(&dir.path().join("data/format"), mode).unwrap();
    dir
}

fn act(action: Action) -> Result<(String, bool), String> {
    let said = done(&LedgerArgs { action }, &env::real());
    said.map(|said| (said.text, said.sound)).map_err(|error| agent::chain(&error))
}

fn lose(dir: &TempDir) {
    env::real().disk.remove_dir_all(&dir.path().join("logs/_aqueduct")).unwrap();
}

#[test]
fn lost_batches_are_shown_and_a_rebuilt_ledger_lists_them() {
    let dir = site();
    let (text, sound) = act(Action::Show(target(&dir))).unwrap();
    assert!(sound && text.contains("no action needed"), "{text}");
    lose(&dir);
    let (text, sound) = act(Action::Show(target(&dir))).unwrap();
    for part in ["does not exist", "remembers 1 committed batches", "aqueduct ledger rebuild"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!sound && !offer(&dir, 1), "it stores nothing");
    let (text, sound) = act(Action::Rebuild(target(&dir))).unwrap();
    assert!(sound && text.contains("1 batches by name, 1 events in 1 files"), "{text}");
    assert!(offer(&dir, 0) && offer(&dir, 1));
    let (text, sound) = act(Action::Show(target(&dir))).unwrap();
    assert!(sound && text.contains("2 batches by name, 2 events in 2 files"), "{text}");
}

#[test]
fn a_program_reads_the_same_as_json() {
    let dir = site();
    let said = |action| done(&LedgerArgs { action }, &env::real()).map(|said| said.json).unwrap();
    let found = said(Action::Show(target(&dir)));
    assert_eq!((&found["sound"], &found["stored"]["events"]), (&json!(true), &json!(1)));
    assert_eq!(found["stored"], found["remembered"]);
    lose(&dir);
    let found = said(Action::Show(target(&dir)));
    assert_eq!((&found["sound"], &found["forgotten_batches"]), (&json!(false), &json!(1)));
    let found = said(Action::Rebuild(target(&dir)));
    assert_eq!((&found["done"], &found["stored"]["batches"]), (&json!("rebuilt"), &json!(1)));
}

#[test]
fn adopted_missing_ledger_starts_empty_and_is_reported() {
    let dir = site();
    lose(&dir);
    let (text, sound) = act(Action::Adopt(target(&dir))).unwrap();
    assert!(
        sound && text.contains("has no batches; new commit records are numbered from 1"),
        "{text}"
    );
    assert!(offer(&dir, 1));
}

#[test]
fn a_collector_that_runs_and_a_directory_of_no_agent_are_refused() {
    let dir = site();
    lose(&dir);
    let lock = env::real().disk.lock(&dir.path().join("data/LOCK")).ok().unwrap();
    for action in [Action::Adopt(target(&dir)), Action::Rebuild(target(&dir))] {
        let error = act(action).unwrap_err();
        assert!(error.contains("stop that collector first"), "{error}");
    }
    drop(lock);
    let elsewhere = Target { data_dir: dir.path().join("logs"), ..target(&dir) };
    let error = act(Action::Show(elsewhere)).unwrap_err();
    assert!(error.contains("not the data directory of an agent"), "{error}");
    let fresh = Target { sink: "another".into(), ..target(&dir) };
    let error = act(Action::Rebuild(fresh)).unwrap_err();
    assert!(error.contains("nothing to rebuild from"), "{error}");
}
