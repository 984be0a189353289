//! A full channel drops the configured batches, counts them, and never drops one that a sink holds.
//!
//! Method: a channel of 1 MiB on a simulated disk gets twice as much; the counter and the output
//! add up to the input.

use std::path::Path;
use std::sync::Arc;

use crate::common::*;
use aqueduct_channel::durable;
use aqueduct_channel::testkit::{SimDisk, world};
use bytes::Bytes;
use metrics::ChannelReason;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Channel, IntervalSet, SourcePosition};
use serde_json::json;
use tokio::time::timeout;

const PUTS: u32 = 100;

async fn open_with(disk: &SimDisk, overflow: &str) -> (Box<dyn Channel>, BuildContext) {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, disk.changes()));
    let settings = json!({ "capacity": "1MiB", "index": "none", "overflow": overflow });
    let channel = build::<durable::Config>(&settings, &cx).expect("the settings are right");
    channel.open().await.unwrap();
    channel.register(&[Arc::from("sink")]).await.unwrap();
    (channel, cx)
}

fn count(cx: &BuildContext, reason: &'static str) -> u64 {
    let label = ChannelReason { channel: "main".into(), reason };
    cx.metrics.channel_anomalies.get_or_create(&label).get()
}

async fn put_all(channel: &dyn Channel) {
    for n in 0..PUTS {
        let mut batch = Batch::of([format!("{n} {}", "o".repeat(20_000))]);
        batch.envelope.positions.push(SourcePosition {
            source: "in".into(),
            key: Bytes::from_static(b"file"),
            value: Some(Bytes::from(n.to_string())),
            after: None,
        });
        put(channel, batch).await.unwrap();
    }
}

async fn numbers(channel: &dyn Channel) -> Vec<u32> {
    let number = |body: &String| body.split(' ').next().unwrap().parse().unwrap();
    drain(channel).await.iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn the_newest_are_dropped_and_their_positions_kept() {
    let disk = SimDisk::new(SEED);
    let (channel, cx) = open_with(&disk, "drop_newest").await;
    put_all(&*channel).await;
    let dropped = count(&cx, "dropped_newest_event");
    assert!(dropped > 20, "only {dropped} of 2 MB were dropped at 1 MiB");
    assert_eq!(channel.positions("in")[0].1, Bytes::from("99"));
    let left = numbers(&*channel).await;
    assert_eq!(left.len() as u64 + dropped, u64::from(PUTS));
    assert_eq!(left[..10], (0..10).collect::<Vec<_>>()[..]);
    assert_eq!(channel.status().events, 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_dropped_but_not_what_a_sink_holds() {
    let disk = SimDisk::new(SEED);
    let (channel, cx) = open_with(&disk, "drop_oldest").await;
    put_all(&*channel).await;
    let dropped = count(&cx, "dropped_oldest_event");
    assert!(dropped > 20, "only {dropped} of 2 MB were dropped at 1 MiB");
    let mut take = channel.begin_take("sink");
    let held = next(&mut *take).await.unwrap();
    let waits = timeout(PATIENCE, put_all(&*channel)).await;
    assert!(waits.is_err(), "what a sink holds is waited for");
    let only = IntervalSet::from(held.ticket..held.ticket + 1);
    take.commit(&only);
    drop(take);
    put_all(&*channel).await;
    assert!(count(&cx, "dropped_oldest_event") > dropped);
    drain(&*channel).await;
    assert_eq!(channel.status().events, 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_events_stay_dropped_after_a_crash() {
    let disk = SimDisk::new(SEED);
    let (channel, cx) = open_with(&disk, "drop_oldest").await;
    put_all(&*channel).await;
    let dropped = count(&cx, "dropped_oldest_event");
    settle().await;
    disk.crash();
    let (channel, _) = open_with(&disk, "block").await;
    assert_eq!(channel.status().events + dropped, u64::from(PUTS));
    let left = numbers(&*channel).await;
    assert_eq!(left, (dropped as u32..PUTS).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_intake_resumes_when_the_channel_is_drained() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    let body = "x".repeat(50_000);
    let batch = Batch::of([&body]);
    while let Ok(put) = timeout(PATIENCE, channel.begin_put(batch.size())).await {
        let mut put = put.unwrap();
        put.put(batch.clone());
        put.commit().await.unwrap();
    }
    assert!(channel.status().intake_stopped, "there is no room");
    let mut take = channel.begin_take("sink");
    while let Some(taken) = next(&mut *take).await {
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    tokio::time::sleep(PATIENCE).await;
    assert!(!channel.status().intake_stopped, "nothing was put since");
}
