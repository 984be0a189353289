//! `verify` reports accepted, stored, lost and duplicate batches correctly.
//!
//! Method: batches of a durable channel in a real directory are committed, all or some, through a
//! real ledger below `file://`. Then the store is damaged and verified again.

use std::sync::Arc;

use channel::durable::Config as ChannelConfig;
use channel::durable::inspect::Inspection;
use components_hdfs::hdfs::Config as SinkConfig;
use pipeline::testkit::build;
use pipeline::{
    Batch, BuildContext, Channel, Identity, IntervalSet, LetterCount, Outcome, Sequence, Sink,
};
use serde_json::json;
use tempfile::TempDir;

use super::*;

mod table;

/// Accepts `batches` batches of three lines, and commits the first `stored` of them.
async fn accepted(dir: &TempDir, batches: u64, stored: u64) {
    let channel = filled(dir, batches).await;
    deliver(&channel, dir, stored).await;
}

/// Returns a channel with batches of three lines.
async fn filled(dir: &TempDir, batches: u64) -> Arc<dyn Channel> {
    let place = dir.path().join("main");
    let channel: Arc<dyn Channel> =
        build::<ChannelConfig>(&json!({}), &components::alone("main", &place, env::real()))
            .unwrap()
            .into();
    channel.open().await.unwrap();
    channel.register(&[Arc::from("all")]).await.unwrap();
    for n in 0..batches {
        let batch = Batch::of([format!("{n} a"), format!("{n} b"), format!("{n} c")]);
        let mut put = channel.begin_put(batch.size()).await.unwrap();
        put.put(batch);
        put.commit().await.unwrap();
    }
    channel
}

/// Delivers this many batches of a channel into the store of [`url`], and closes both.
pub(crate) async fn deliver(channel: &Arc<dyn Channel>, dir: &TempDir, stored: u64) {
    deliver_with(channel, dir, &json!({ "url": url(dir) }), stored).await;
}

/// Delivers batches by a sink with these settings.
async fn deliver_with(
    channel: &Arc<dyn Channel>,
    dir: &TempDir,
    settings: &serde_json::Value,
    stored: u64,
) {
    let alone = components::alone("store", &dir.path().join("sink"), env::real());
    let cx = BuildContext { catalogue: catalogue::FULL, ..alone };
    let mut sink: Box<dyn Sink> = build::<SinkConfig>(settings, &cx).unwrap();
    sink.open().await.unwrap();
    let mut take = channel.begin_take("all");
    for _ in 0..stored {
        let taken = take.take().await.unwrap();
        let ticket = taken.ticket;
        sink.write(taken).await.unwrap();
        sink.flush();
        assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
        take.commit(&IntervalSet::from(ticket..ticket + 1));
    }
    sink.close().await;
    drop(take);
    channel.close().await.unwrap();
}

fn url(dir: &TempDir) -> String {
    format!("file://{}/logs", dir.path().display())
}

fn args(dir: &TempDir, deep: bool, account: PathBuf) -> VerifyArgs {
    let (store, accounts) = (vec![url(dir)], vec![account]);
    let (sink, retention, table) = (None, None, None);
    let (access, complete, json) = (admin::Access::default(), true, false);
    VerifyArgs { store, sink, deep, complete, retention, table, json, access, accounts }
}

async fn report(dir: &TempDir, deep: bool) -> Result<Report, VerifyError> {
    verified(&args(dir, deep, dir.path().join("main")), &env::real()).await
}

/// Returns a visible file of the store.
fn a_file(dir: &TempDir) -> PathBuf {
    let logs = dir.path().join("logs");
    let names = env::real().disk.list(&logs).unwrap();
    let name = names.into_iter().map(|(name, _)| name).find(|name| name.ends_with(".log"));
    logs.join(name.unwrap())
}

fn write(path: &Path, content: &[u8]) {
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = env::real().disk.open(path, mode).unwrap();
    file.write_at(&[std::io::IoSlice::new(content)], 0, true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_stored_once_is_proved() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 4, 4).await;
    for deep in [false, true] {
        let report = report(&dir, deep).await.unwrap();
        let text = report.text();
        assert_eq!(report.verdict(), Verdict::Complete, "{text}");
        assert!(text.contains("accepted               4 batches"), "{text}");
        assert!(text.contains("12 events in 4 files"), "{text}");
        assert!(report.json().starts_with("{\"verdict\":\"complete\""), "{}", report.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_in_the_channel_are_pending_and_not_missing() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 5, 3).await;
    let report = report(&dir, false).await.unwrap();
    assert_eq!(report.verdict(), Verdict::ConsistentSoFar);
    let text = report.text();
    assert!(text.contains("pending                2 batches"), "{text}");
    assert!(text.contains("held                   6 events"), "{text}");
    assert!(text.contains("\nCONSISTENT SO FAR: nothing is missing or repeated"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_nowhere_is_named() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 4, 4).await;
    // The account of an edge whose last batches never reached this store.
    let inspection = Inspection::open(&env::real(), &dir.path().join("main"), None).unwrap();
    let mut account = inspection.account();
    drop(inspection);
    let epoch = account.accepted.iter().next().unwrap().1;
    account.accepted.insert_set(account.origin, epoch, &(4..6).into());
    let file = dir.path().join("edge.json");
    write(&file, account.to_json().as_bytes());
    let report = verified(&args(&dir, false, file), &env::real()).await.unwrap();
    assert_eq!(report.verdict(), Verdict::NotProved);
    let text = report.text();
    assert!(text.contains("missing                2 batches"), "{text}");
    let named = format!("missing: {}, epoch {}, 4 to 5", account.origin, epoch.0);
    assert!(text.contains(&named), "{text}");
}

/// Right after a start the store is empty, which does not prove a loss.
#[tokio::test(flavor = "multi_thread")]
async fn batches_of_which_none_is_committed_are_consistent_so_far() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 1, 0).await;
    let report = report(&dir, false).await.unwrap();
    assert_eq!(report.verdict(), Verdict::ConsistentSoFar, "{}", report.text());
}

/// The events are neither lost nor in the store.
#[tokio::test(flavor = "multi_thread")]
async fn events_among_dead_letters_are_counted_and_not_proved() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 4, 4).await;
    let main = dir.path().join("main");
    let mut account = account::from_directory(&main, None, &env::real()).unwrap().remove(0);
    let (origin, epoch) = (account.origin, account.accepted.iter().next().unwrap().1);
    account.accepted.insert_set(origin, epoch, &(4..6).into());
    let batch = |n| Some(Identity { origin, epoch, sequence: Sequence(n) });
    let letter = |n, whole, events| {
        let reason = if whole { "too_large" } else { "unwritable_event" };
        LetterCount { reason, batch: batch(n), whole, events }
    };
    // The first letter is a copy of a stored batch.
    for count in [letter(0, true, 3), letter(1, false, 2), letter(4, true, 3)] {
        account.letters.add(count);
    }
    account.remarks.insert("line_cut of tail".into(), 7);
    let file = dir.path().join("edge.json");
    write(&file, account.to_json().as_bytes());
    let text = verified(&args(&dir, false, file.clone()), &env::real()).await.unwrap().text();
    assert!(text.contains("in dead letters        5 events"), "{text}");
    assert!(text.contains("in dead letters: 2 events, unwritable_event\n"), "{text}");
    assert!(text.contains("missing                1 batches"), "{text}");
    assert!(text.contains("since its start: 7 line_cut of tail\n"), "{text}");
    account.letters.add(letter(5, true, 1));
    write(&file, account.to_json().as_bytes());
    let report = verified(&args(&dir, false, file), &env::real()).await.unwrap();
    let text = report.text();
    assert_eq!(report.verdict(), Verdict::NotProved, "{text}");
    assert!(text.contains("6 events are in dead letters, not in the store"), "{text}");
    assert!(text.ends_with("NOT PROVED\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_file_is_found_only_by_reading_and_a_missing_one_always() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 3, 3).await;
    let victim = a_file(&dir);
    write(&victim, b"X");
    assert!(
        report(&dir, false).await.unwrap().verdict() == Verdict::Complete,
        "its length is right"
    );
    let deep = report(&dir, true).await.unwrap();
    assert_eq!(deep.verdict(), Verdict::NotProved);
    assert!(deep.text().contains("was changed after its commit"), "{}", deep.text());

    env::real().disk.remove_file(&victim).unwrap();
    let shallow = report(&dir, false).await.unwrap();
    assert_eq!(shallow.verdict(), Verdict::NotProved);
    assert!(shallow.text().contains("is missing"), "{}", shallow.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_deleted_by_retention_are_expired_and_younger_ones_lost() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 3, 3).await;
    env::real().disk.remove_file(&a_file(&dir)).unwrap();
    for (retention, proved) in [(None, false), (Some("1h"), false), (Some("0s"), true)] {
        let mut args = args(&dir, true, dir.path().join("main"));
        args.retention = retention.map(|period| humantime::parse_duration(period).unwrap());
        let report = verified(&args, &env::real()).await.unwrap();
        let text = report.text();
        assert_eq!(report.verdict() == Verdict::Complete, proved, "{retention:?}: {text}");
        assert_eq!(text.contains("expired               1 files"), proved, "{text}");
        assert_eq!(text.contains("is missing"), !proved, "{text}");
    }
}

/// Holds even if the rest of the ledger has everything that the account names.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_with_a_hole_proves_nothing() {
    for gone in ["00000000000000000000", "00000000000000000001"] {
        let dir = TempDir::new().unwrap();
        accepted(&dir, 3, 3).await;
        let ledger = dir.path().join("logs/_aqueduct/store/ledger/g0");
        env::real().disk.remove_file(&ledger.join(gone)).unwrap();
        let error = agent::chain(&report(&dir, false).await.err().unwrap());
        assert!(error.contains("is missing, but the later record 2 exists"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn address_without_a_scheme_is_explained() {
    let access = admin::Access::default();
    for address in ["127.0.0.1:16003", "edge-1:9464/account"] {
        let said = accounts_of(Path::new(address), &access, &env::real()).await;
        let error = said.err().unwrap().to_string();
        assert!(error.contains("write http://"), "{error}");
    }
    let error = accounts_of(Path::new("edge-1.json"), &access, &env::real()).await.err().unwrap();
    assert!(matches!(error, VerifyError::File { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_ledger_is_not_taken_for_an_empty_one() {
    let dir = TempDir::new().unwrap();
    accepted(&dir, 1, 0).await;
    env::real().disk.rename(&dir.path().join("logs"), &dir.path().join("moved")).unwrap();
    let error = report(&dir, false).await.err().unwrap();
    assert!(matches!(error, VerifyError::Proof(ProofError::NoLedger { .. })), "{error}");
}
