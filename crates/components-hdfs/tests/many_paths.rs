//! Memory that the sink `hdfs` needs for the paths of a batch.
//!
//! - A batch with a different directory for each event costs a few times its own size, and nothing
//!   for directories beyond the limit of a roll.
//! - Consecutive events for the same directory need no allocation each.
//!
//! Method: the allocator counts all bytes allocated while such a batch is routed, written and
//! committed, which is more than is held at any moment. The tests run one at a time.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![allow(clippy::disallowed_methods, reason = "the test looks at the store as it is")]

use std::alloc::System;
use std::path::Path;

use aqueduct_components_hdfs::hdfs::Config;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, Epoch, Identity, Origin, Outcome, Sequence, Sink, Taken};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Events, each with a different value.
const EVENTS: usize = 200_000;
/// Directories of a roll.
const BUCKETS: usize = 256;
/// Maximum number of allocated bytes per byte of the batch.
const FACTOR: usize = 16;
/// Additional bytes per round of this many files, whatever they contain.
const ROUND_BYTES: usize = 64 << 20;
/// Maximum rounds of a batch; events of further directories go to `_overflow`.
const ROUNDS: usize = 16;

/// Counts the directories below, and the lines in their files.
fn stored(root: &Path) -> (usize, usize) {
    let directories = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let directories: Vec<_> = directories.filter(|path| !path.ends_with("_aqueduct")).collect();
    let files = directories.iter().flat_map(|path| std::fs::read_dir(path).unwrap());
    let lines = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let lines = lines.map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count()).sum();
    (directories.len(), lines)
}

/// The allocator counts all threads, so run one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Returns the allocations of a batch of this many events, with different times within one hour.
async fn allocations_of(sink: &mut dyn Sink, sequence: u64, events: usize) -> usize {
    let mut builder = BatchBuilder::default();
    for n in 0..events {
        let at = 1_795_165_200_000 + n as u64;
        builder.push(b"a line", &[("timestamp", &at.to_string())]);
    }
    let mut batch = builder.finish();
    let (origin, epoch) = (Origin([6; 16]), Epoch(1));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(sequence) });
    let region = Region::new(ALLOCATOR);
    sink.write(Taken { ticket: sequence, batch }).await.unwrap();
    sink.flush();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    region.change().allocations
}

#[tokio::test]
async fn events_of_one_directory_cost_no_allocation_each() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("logs");
    let url = format!("file://{}/%Y-%m-%d-%H", root.display());
    let cx = formats::alone("store", folder.path(), env::real());
    let mut sink: Box<dyn Sink> = build::<Config>(&json!({ "url": url }), &cx).unwrap();
    sink.open().await.unwrap();
    let few = allocations_of(&mut *sink, 0, 1_000).await;
    let many = allocations_of(&mut *sink, 1, 100_000).await;
    sink.close().await;
    assert!(many < few + 1_000, "{few} for 1,000 events, {many} for 100,000");
    assert_eq!(stored(&root), (1, 101_000));
}

#[tokio::test]
async fn a_batch_of_many_paths_costs_a_few_times_its_own_bytes() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("logs");
    let url = format!("file://{}/%{{app}}", root.display());
    let cx = formats::alone("store", folder.path(), env::real());
    let settings = json!({ "url": url, "buckets_max": BUCKETS });
    let mut sink: Box<dyn Sink> = build::<Config>(&settings, &cx).unwrap();
    sink.open().await.unwrap();
    let mut builder = BatchBuilder::default();
    for n in 0..EVENTS {
        builder.push(b"a line", &[("app", &format!("{n:07}"))]);
    }
    let mut batch = builder.finish();
    let (origin, epoch) = (Origin([5; 16]), Epoch(1));
    batch.envelope.identity = Some(Identity { origin, epoch, sequence: Sequence(0) });
    let bytes = batch.encoded_len();

    let region = Region::new(ALLOCATOR);
    sink.write(Taken { ticket: 0, batch }).await.unwrap();
    sink.flush();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    let taken = region.change().bytes_allocated;
    let most = FACTOR * bytes + ROUNDS * ROUND_BYTES;
    assert!(taken <= most, "{taken} bytes were taken for a batch of {bytes}, over {most}");
    sink.close().await;
    assert_eq!(stored(&root), (ROUNDS * BUCKETS + 1, EVENTS), "the rest is in _overflow");
}
