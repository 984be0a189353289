//! A full disk stops the intake, keeps everything, lets takes and commits go on, and ends by
//! itself.
//!
//! Method: the simulated disk has room for a few segments only, less than the channel's capacity
//! asks for. The clock is paused.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

mod common;

use aqueduct_channel::testkit::SimDisk;
use common::*;
use pipeline::{Batch, IntervalSet};
use serde_json::{Value, json};
use tokio::time::timeout;

fn large() -> String {
    "z".repeat(30_000)
}

/// 16 MiB in segments of 256 KiB.
fn settings() -> Value {
    json!({ "capacity": "16MiB", "segment_bytes": "256KiB", "index": "none" })
}

/// Puts until one has to wait; how many were acknowledged.
async fn fill(channel: &dyn pipeline::Channel) -> usize {
    let (mut stored, mut refused) = (0, 0);
    loop {
        match timeout(PATIENCE, put(channel, Batch::of([large()]))).await {
            Ok(Ok(())) => stored += 1,
            // Those that were begun before the channel knew.
            Ok(Err(_)) => refused += 1,
            Err(_) => return stored,
        }
        assert!(stored < 1_000, "the disk is never full");
        assert!(refused < 5, "puts are taken on although the disk is full");
    }
}

#[tokio::test(start_paused = true)]
async fn intake_stops_and_goes_on_by_itself() {
    let disk = SimDisk::new(SEED);
    let channel = try_open(&disk, &settings()).await.unwrap();
    let mut stored = 40;
    for _ in 0..stored {
        put(&*channel, Batch::of([large()])).await.unwrap();
    }
    // The channel finds out when the next segment is refused.
    disk.set_quota(disk.used());
    stored += fill(&*channel).await;
    assert!(channel.status().intake_stopped);
    // Takes and commits need no room; what they free is used again.
    let mut take = channel.begin_take("sink");
    for _ in 0..stored / 2 {
        let taken = next(&mut *take).await.unwrap();
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    settle().await;
    settle().await;
    timeout(PATIENCE * 3, put(&*channel, Batch::of([large()]))).await.expect("it goes on").unwrap();
    drop(take);
    assert_eq!(drain(&*channel).await.len(), stored - stored / 2 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_survives_a_crash_and_a_restart() {
    let disk = SimDisk::new(SEED);
    let channel = try_open(&disk, &settings()).await.unwrap();
    disk.set_capacity(2 << 20);
    let stored = fill(&*channel).await;
    disk.set_capacity(disk.used());
    disk.crash();
    let channel = try_open(&disk, &settings()).await.unwrap();
    let found = drain(&*channel).await;
    assert_eq!(found.len(), stored);
    assert!(found.iter().all(|body| *body == large()));
    settle().await;
    settle().await;
    put(&*channel, Batch::of([large()])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_channel_never_takes_more_than_its_share_of_the_disk() {
    let disk = SimDisk::new(SEED);
    disk.set_capacity(4 << 20);
    let channel = try_open(&disk, &settings()).await.unwrap();
    fill(&*channel).await;
    let (used, capacity) = (disk.used(), channel.status().capacity_bytes);
    assert!(capacity < 4 << 20, "a capacity of {capacity} bytes on a disk of 4 MiB");
    assert!(used <= (4 << 20) * 85 / 100, "{used} bytes of 4 MiB are used");
}
