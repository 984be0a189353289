//! A spill channel keeps the order across memory and disk, and its positions are never ahead of
//! batches that a crash would lose.
//!
//! Method: memory for three batches, on a simulated disk; the clock is paused.

use std::path::Path;
use std::sync::Arc;

use crate::common::*;
use aqueduct_channel::spill;
use aqueduct_channel::testkit::{SimDisk, world};
use bytes::Bytes;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, IntervalSet, SourcePosition};
use serde_json::json;

async fn open_spill(disk: &SimDisk) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, disk.changes()));
    let settings = json!({ "memory": "32KiB", "disk": { "capacity": "1MiB", "index": "none" } });
    let channel = build::<spill::Config>(&settings, &cx).unwrap();
    channel.open().await.unwrap();
    channel.register(&[Arc::from("sink")]).await.unwrap();
    channel
}

async fn put_number(channel: &dyn Channel, n: u32) {
    let mut batch = Batch::of([format!("{n} {}", "s".repeat(10_000))]);
    let (key, value) = (Bytes::from_static(b"file"), Some(Bytes::from(n.to_string())));
    batch.envelope.positions.push(SourcePosition { source: "in".into(), key, value, after: None });
    put(channel, batch).await.unwrap();
}

fn numbers(bodies: &[String]) -> Vec<u32> {
    bodies.iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_order_is_kept_from_memory_to_disk_and_back() {
    let channel = open_spill(&SimDisk::new(SEED)).await;
    let mut expected = 0;
    for round in 1..4 {
        for n in 0..12 * round {
            put_number(&*channel, expected + n).await;
        }
        let mut take = channel.begin_take("sink");
        let first = next(&mut *take).await.unwrap();
        take.rollback(&IntervalSet::from(first.ticket..first.ticket + 1));
        drop(take);
        let found = numbers(&drain(&*channel).await);
        assert_eq!(found, (expected..expected + 12 * round).collect::<Vec<_>>());
        expected += 12 * round;
    }
    assert_eq!(channel.status().events, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_memory_only_and_reads_again_from_before_it() {
    let disk = SimDisk::new(SEED);
    let channel = open_spill(&disk).await;
    for n in 0..10 {
        put_number(&*channel, n).await;
    }
    assert_eq!(channel.positions("in")[0].1, Bytes::from("9"));
    let mut take = channel.begin_take("sink");
    let first = next(&mut *take).await.unwrap();
    take.commit(&IntervalSet::from(first.ticket..first.ticket + 1));
    settle().await;
    disk.crash();
    drop(take);
    let channel = open_spill(&disk).await;
    assert_eq!(channel.positions("in")[0].1, Bytes::from("0"), "1 and 2 were in memory only");
    assert_eq!(numbers(&drain(&*channel).await), (3..10).collect::<Vec<_>>());
}
