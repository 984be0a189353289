//! Rules that only two threads at once could break, shown one step at a time.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::path::Path;
use std::sync::Arc;

use pipeline::testkit::context;
use pipeline::units::ByteSize;
use pipeline::{Batch, IntervalSet, PutTransaction};
use tokio::sync::Notify;

use crate::durable::core::{Core, Request};
use crate::durable::opening::Opening;
use crate::durable::put::Put;
use crate::durable::{Config, IndexKind};
use crate::testkit::{SimDisk, world};

const CONSUMER: &str = "sink";

async fn filled(disk: &SimDisk) -> Arc<Core> {
    let cx = context("main", Path::new("/data/main"), world(disk, 1));
    let config = Config {
        capacity: ByteSize::mib(1),
        segment_bytes: ByteSize(64 << 10),
        index: IndexKind::None,
        ..Config::default()
    };
    let core = Opening { config, cx, dirty: Arc::new(Notify::new()) }.run().unwrap();
    let (reply, answer) = tokio::sync::oneshot::channel();
    core.submit(Request::Register { names: vec![Arc::from(CONSUMER)], reply });
    answer.await.unwrap().unwrap();
    for _ in 0..6 {
        let mut put = Box::new(Put::new(core.clone(), Default::default()));
        put.put(Batch::of(["c".repeat(20_000)]));
        put.commit().await.unwrap();
    }
    core
}

#[tokio::test]
async fn a_segment_stays_until_the_commits_of_its_batches_are_on_the_disk() {
    let core = filled(&SimDisk::new(1)).await;
    let before = core.state().book.segments.len();
    assert!(before >= 3, "only {before} segments");
    while core.state().book.in_flight.take(CONSUMER).is_some() {}
    core.commit(&Arc::from(CONSUMER), &IntervalSet::from(0..6));
    core.release(&mut core.state());
    assert_eq!(core.state().book.segments.len(), before, "released before the commit is written");
    core.state().flush = true;
    core.lead_until_idle();
    assert_eq!(core.state().book.segments.len(), 1);
}
