//! A collector that owns a sink, and drives it like the agent does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ledger::{Audit, Operator};
use metrics::Metrics;
use peers::{LedgerBoard, ProgressBoard};
use pipeline::env::Clock;
use pipeline::{
    Batch, BuildContext, Env, Epoch, Identity, Origin, Outcome, Sequence, Settings, Sink, Taken,
    Ticket,
};
use serde_json::Value;
use storage::memory::Memory;
use storage::{FileSystem, StoreUrl};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::hdfs::completeness::{self, Report};
use crate::hdfs::{Config, HdfsSink, place};

/// Longer than any roll of these tests; costs nothing with a paused clock.
const PATIENCE: Duration = Duration::from_secs(900);
/// Compacts the ledger after every roll, while the next one is written.
const COMPACT_AFTER: u64 = 1;
/// How often to reopen a sink before giving up.
const OPENINGS: usize = 12;

/// Of the operator of these tests.
const ACT: completeness::Act<'static> = completeness::Act { by: "me", at: 7, token: [9; 16] };

/// A collector: its settings and its data directory.
pub(in crate::hdfs) struct Collector {
    settings: Value,
    directory: Arc<TempDir>,
    env: Env,
    metrics: Metrics,
}

impl Collector {
    pub(in crate::hdfs) fn new(settings: Value) -> Self {
        let (directory, metrics) = (Arc::new(tempfile::tempdir().unwrap()), Metrics::default());
        Self { settings, directory, env: env::real(), metrics }
    }

    /// Returns the metrics of its sinks.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Creates a collector whose wall clock is the paused clock of its test.
    pub(super) fn with_clock(settings: Value) -> Self {
        let clock = Arc::new(TestClock(Instant::now()));
        Self { env: Env { clock, ..env::real() }, ..Self::new(settings) }
    }

    /// Changes its settings from the next start on.
    pub(super) fn change(&mut self, settings: Value) {
        self.settings = settings;
    }

    /// Starts this collector on `store`.
    pub(in crate::hdfs) fn sink(&self, store: &Memory) -> HdfsSink {
        self.sink_on(Arc::new(store.clone()))
    }

    /// Returns an operator of this collector.
    pub(super) fn operator(&self, store: Arc<dyn FileSystem>) -> Operator {
        let config: Config = Settings::from_json(&self.settings).read().unwrap();
        let (dataset, name) =
            place::dataset(&StoreUrl::parse(&config.url).unwrap(), "store").unwrap();
        let directory = self.directory.path().to_owned();
        Operator { fs: store, dataset, name, env: env::real(), directory }
    }

    /// Starts this collector on any store.
    pub(super) fn sink_on(&self, store: Arc<dyn FileSystem>) -> HdfsSink {
        self.start(store).0
    }

    /// Starts this collector. Also returns the reports of its edges.
    pub(super) fn sink_and_progress(&self, store: &Memory) -> (HdfsSink, ProgressBoard) {
        let (sink, cx) = self.start(Arc::new(store.clone()));
        (sink, cx.get())
    }

    /// Returns the state of a directory in the store of this collector.
    pub(super) async fn report(&self, store: &Memory, directory: &str) -> Report {
        let Operator { fs, dataset, .. } = self.operator(Arc::new(store.clone()));
        completeness::report(fs, dataset, directory).await.unwrap()
    }

    /// Recomputes all receipts; returns their number, and what is wrong.
    pub(super) async fn audit(&self, store: &Memory) -> (u64, Vec<String>) {
        let Operator { fs, dataset, .. } = self.operator(Arc::new(store.clone()));
        let audit = Audit::read(fs.clone(), dataset.clone()).await.unwrap();
        let found = completeness::audit_receipts(fs, dataset, &audit, None).await.unwrap();
        (found.receipts, found.problems)
    }

    /// Declares that an edge has left.
    pub(super) async fn leave(&self, store: &Memory, origin: Origin, at: i64) {
        let Operator { fs, dataset, .. } = self.operator(Arc::new(store.clone()));
        let roster = completeness::roster(fs.clone(), dataset.clone()).await.unwrap().0;
        let edge = roster.get(origin).unwrap();
        let token = self.env.entropy.bytes16();
        let act = completeness::Act { at, token, ..ACT };
        completeness::leave(fs, dataset, (origin, edge), act).await.unwrap();
    }

    /// Waives an edge.
    pub(super) async fn waive(&self, store: &Memory, origin: Origin, directory: &str) {
        let Operator { fs, dataset, .. } = self.operator(Arc::new(store.clone()));
        completeness::waive(fs, dataset, (origin, directory), ACT).await.unwrap();
    }

    /// Starts this collector. Also returns the announcements of its ledger.
    pub(super) fn sink_and_ledgers(&self, store: &Memory) -> (HdfsSink, LedgerBoard) {
        let (sink, cx) = self.start(Arc::new(store.clone()));
        (sink, cx.get())
    }

    fn start(&self, store: Arc<dyn FileSystem>) -> (HdfsSink, BuildContext) {
        let cx = formats::alone("store", self.directory.path(), self.env.clone());
        let cx = BuildContext { metrics: self.metrics.clone(), ..cx };
        let config: Config = Settings::from_json(&self.settings).read().unwrap();
        let url = StoreUrl::parse(&config.url).unwrap();
        // The sink may outlive its collector, and still writes into its directory.
        let directory = self.directory.clone();
        let connect = Box::new(move || {
            let _kept = &directory;
            Ok(store.clone())
        });
        let mut sink = config.sink(&url, &cx, connect).unwrap();
        sink.keeping.compact_after = COMPACT_AFTER;
        (sink, cx)
    }
}

/// When the clock of a [`Collector::with_clock`] starts, in seconds since 1970: a full hour.
pub(super) const STARTED: u64 = 1_800_000_000;

struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(STARTED) + self.0.elapsed()
    }
}

/// Returns batch `number` of the only origin in these tests.
pub(super) fn batch(number: u64, lines: &[&str]) -> Batch {
    let (origin, epoch) = (Origin([5; 16]), Epoch(1));
    let mut batch = Batch::of(lines);
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(number) });
    batch
}

/// Returns batches of two lines each, `n-a` and `n-b`, alternating between two directories.
pub(super) fn numbered(count: u64) -> Vec<(Ticket, Batch)> {
    let numbered = |n: u64| {
        let mut batch = batch(n, &[&format!("{n}-a"), &format!("{n}-b")]);
        let app = if n.is_multiple_of(2) { "even" } else { "odd" };
        batch.set_header("app", app, pipeline::Existing::Replace);
        (n, batch)
    };
    (0..count).map(numbered).collect()
}

/// Returns the lines of [`numbered`], sorted.
pub(super) fn numbered_lines(count: u64) -> Vec<String> {
    let mut lines: Vec<String> =
        (0..count).flat_map(|n| [format!("{n}-a"), format!("{n}-b")]).collect();
    lines.sort();
    lines
}

pub(super) fn taken(ticket: Ticket, batch: &Batch) -> Taken {
    Taken { ticket, batch: batch.clone() }
}

/// Delivers all batches.
pub(super) async fn deliver(sink: &mut HdfsSink, batches: &[(Ticket, Batch)]) {
    assert!(drive(sink, batches).await, "every batch is delivered");
    at_rest(sink).await;
    sink.close().await;
}

/// Waits for work after a settlement: a new generation of the ledger starts with the ledger locked.
pub(super) async fn at_rest(sink: &HdfsSink) {
    if let Some(session) = &sink.session {
        drop(session.ledger.lock().await);
    }
}

/// Writes the batches until all are delivered, reopening the sink after each failure; `false` if
/// the store stays dead.
pub(super) async fn drive(sink: &mut HdfsSink, batches: &[(Ticket, Batch)]) -> bool {
    let mut waiting: BTreeMap<Ticket, Batch> = batches.iter().cloned().collect();
    for _ in 0..OPENINGS {
        if sink.open().await.is_ok() && feed(sink, &mut waiting).await {
            return true;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    false
}

/// Feeds an open sink; `true` once all is delivered, `false` when it fails.
async fn feed(sink: &mut HdfsSink, waiting: &mut BTreeMap<Ticket, Batch>) -> bool {
    let mut ready: Vec<Ticket> = waiting.keys().copied().collect();
    while !waiting.is_empty() {
        for ticket in std::mem::take(&mut ready) {
            let Some(batch) = waiting.get(&ticket) else { continue };
            if sink.write(taken(ticket, batch)).await.is_err() {
                return false;
            }
        }
        sink.flush();
        let settlement = timeout(PATIENCE, sink.settled()).await.expect("every batch is settled");
        match settlement.outcome {
            Outcome::Delivered => waiting.retain(|ticket, _| !settlement.tickets.contains(*ticket)),
            Outcome::Again(None) => ready.extend(settlement.tickets.iter()),
            Outcome::Again(Some(_)) => return false,
            outcome => panic!("{outcome:?}"),
        }
    }
    true
}

/// Returns the files that readers see: every file outside of the reserved directory.
pub(super) fn visible(files: &BTreeMap<String, Bytes>) -> BTreeMap<&str, &Bytes> {
    let seen = files.iter().filter(|(path, _)| !path.contains("/_aqueduct/"));
    seen.map(|(path, content)| (path.as_str(), content)).collect()
}

/// Returns every visible line, sorted.
pub(super) fn lines_of(store: &Memory) -> Vec<String> {
    let files = store.files();
    let lines = visible(&files).into_values().flat_map(|content| content.split(|b| *b == b'\n'));
    let mut lines: Vec<String> = lines
        .filter(|line| !line.is_empty())
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    lines.sort();
    lines
}
