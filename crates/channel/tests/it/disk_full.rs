//! A full disk stops the intake and loses nothing. Takes and commits continue, and the stop ends
//! automatically.
//!
//! Method: the simulated disk has room for a few segments only, less than the channel's capacity.
//! The clock is paused.

use crate::common::*;
use aqueduct_channel::testkit::SimDisk;
use pipeline::{Batch, Channel, ChannelError, IntervalSet};
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
async fn fill(channel: &dyn Channel) -> usize {
    fill_with(channel, &large()).await
}

async fn fill_with(channel: &dyn Channel, body: &str) -> usize {
    let (mut stored, mut refused) = (0, 0);
    loop {
        match timeout(PATIENCE, put(channel, Batch::of([body]))).await {
            Ok(Ok(())) => stored += 1,
            // Puts that began before the channel noticed.
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
    // Takes and commits need no room; the room that they free is reused.
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

/// Keeps the disk full: a foreign file immediately takes freed room.
fn fill_with_something_else(disk: &SimDisk) {
    disk.set_capacity(disk.used());
}

#[tokio::test(start_paused = true)]
async fn a_channel_opens_again_and_again_on_a_full_disk_and_drains_and_goes_on() {
    for (seed, restarts) in (0..12).zip([1, 2, 3, 7].into_iter().cycle()) {
        let disk = SimDisk::new(seed);
        let channel = try_open(&disk, &settings()).await.unwrap();
        let stored = 20 + seed as usize * 3;
        for _ in 0..stored {
            put(&*channel, Batch::of([large()])).await.unwrap();
        }
        fill_with_something_else(&disk);
        let mut channel = Some(channel);
        for _ in 0..restarts {
            // As kill -9 leaves it, with the power on.
            drop(channel.take());
            settle().await;
            disk.crash();
            let opened = try_open(&disk, &settings()).await;
            channel = Some(opened.expect("a full disk does not keep a channel from opening"));
            settle().await;
        }
        let channel = channel.unwrap();
        let found = drain(&*channel).await;
        assert!(found.len() >= stored, "seed {seed}: {} of {stored} came", found.len());
        settle().await;
        settle().await;
        let status = channel.status();
        assert!(!status.intake_stopped, "seed {seed}: stopped while it is empty: {status:?}");
        for _ in 0..2 {
            put(&*channel, Batch::of([large()])).await.unwrap();
            assert_eq!(drain(&*channel).await.len(), 1);
        }
        // All commits are on the disk: no batch is delivered again.
        settle().await;
        drop(channel);
        disk.crash();
        let channel = try_open(&disk, &settings()).await.unwrap();
        assert_eq!(drain(&*channel).await.len(), 0, "seed {seed}: what was committed came again");
    }
}

#[tokio::test(start_paused = true)]
async fn delivers_without_free_space_and_accepts_after_it_is_freed() {
    let disk = SimDisk::new(SEED);
    disk.set_capacity(0);
    let channel = try_open(&disk, &settings()).await.expect("it opens on a disk of nothing");
    let (origin, named) = channel.own_epoch().unwrap();
    assert!(channel.status().intake_stopped);
    assert_eq!(fill(&*channel).await, 0);
    disk.set_capacity(4 << 20);
    settle().await;
    settle().await;
    put(&*channel, Batch::of(["small"])).await.unwrap();
    let mut take = channel.begin_take("sink");
    let identity = next(&mut *take).await.unwrap().batch.envelope.identity.unwrap();
    assert_eq!(identity.origin, origin);
    assert!(named < identity.epoch, "an epoch that is on no disk was named");
    assert_eq!(channel.own_epoch(), Some((origin, identity.epoch)));
}

#[tokio::test(start_paused = true)]
async fn no_epoch_is_named_that_the_next_start_may_go_below() {
    for seed in 0..40 {
        assert!(names_no_epoch_too_early(seed).await, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_of_two_segments_is_used_and_emptied_and_used_again() {
    for kib in [300, 400, 520, 700] {
        let disk = SimDisk::new(SEED);
        disk.set_capacity(kib << 10);
        let channel = try_open(&disk, &settings()).await.unwrap();
        let mut all = 0;
        for round in 0..9 {
            let stored = fill(&*channel).await;
            let used = stored as u64 * 30_000;
            all += used;
            assert!(stored >= 2, "{kib} KiB, round {round}: {stored} puts fit");
            assert!(channel.status().intake_stopped);
            // One put still waits, and succeeds as soon as there is room.
            let found = drain(&*channel).await.len();
            assert!(found >= stored, "{kib} KiB, round {round}: {found} of {stored} came");
            settle().await;
            settle().await;
            let status = channel.status();
            assert!(!status.intake_stopped, "{kib} KiB, round {round}: {status:?}");
        }
        // A fifth at the least: the reserve is 80 KiB.
        assert!(all * 100 >= 9 * (kib << 10) * 20, "{kib} KiB: {all} bytes in nine rounds");
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_the_limit_that_stops_the_intake() {
    for mib in [1, 2, 16, 64] {
        let disk = SimDisk::new(SEED);
        let settings = json!({ "capacity": format!("{mib}MiB"), "index": "none" });
        let channel = try_open(&disk, &settings).await.unwrap();
        let before = channel.status().capacity_bytes;
        let mut until_full = None;
        loop {
            let put = put(&*channel, Batch::of([large()]));
            if timeout(PATIENCE, put).await.is_err() {
                break;
            }
            tokio::time::sleep(PATIENCE).await;
            let status = channel.status();
            assert_eq!(status.capacity_bytes, before, "{mib} MiB: it wanders");
            until_full = status.until_full.or(until_full);
        }
        let status = channel.status();
        assert!(status.intake_stopped);
        let left = status.capacity_bytes.saturating_sub(status.bytes);
        assert!(left < 50_000, "{mib} MiB: it stopped {left} bytes before it was full");
        assert!(until_full.is_some(), "{mib} MiB: how long it would last was never said");
    }
}

#[tokio::test(start_paused = true)]
async fn commits_one_by_one_have_room_however_full_the_only_segment_is() {
    let disk = SimDisk::new(SEED);
    // A quota refuses it, while the disk reports free room.
    disk.set_quota((256 << 10) + (24 << 10));
    let channel = try_open(&disk, &settings()).await.unwrap();
    let mut stored = 0;
    while matches!(timeout(PATIENCE, put(&*channel, Batch::of(["small"]))).await, Ok(Ok(()))) {
        stored += 1;
    }
    assert!(stored > 20 && channel.status().intake_stopped, "{stored}");
    let mut take = channel.begin_take("sink");
    for _ in 0..stored {
        let taken = next(&mut *take).await.unwrap();
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
        settle().await;
    }
    drop(take);
    drain(&*channel).await;
    settle().await;
    settle().await;
    let status = channel.status();
    assert!(!status.intake_stopped, "{status:?}");
    put(&*channel, Batch::of(["small"])).await.unwrap();
}

/// A foreign file also takes the room that the channel's own files free, and puts wait for room.
async fn restart_on_a_full_disk(disk: &SimDisk, body: &str) -> (Box<dyn Channel>, usize) {
    disk.crash();
    let channel = try_open(disk, &settings()).await;
    let channel = channel.expect("a full disk does not keep a channel from opening");
    settle().await;
    let stored = fill_with(&*channel, body).await;
    fill_with_something_else(disk);
    (channel, stored)
}

#[tokio::test(start_paused = true)]
async fn starts_on_a_full_disk_use_up_no_room_that_commits_need() {
    let of_each =
        [1, 3, 10, 40].into_iter().flat_map(|starts| [(starts, large()), (starts, "small".into())]);
    for (seed, (restarts, body)) in of_each.enumerate() {
        let disk = SimDisk::new(seed as u64);
        let mut channel = Some(try_open(&disk, &settings()).await.unwrap());
        let mut stored = 8;
        for _ in 0..stored {
            put(&**channel.as_ref().unwrap(), Batch::of([large()])).await.unwrap();
        }
        fill_with_something_else(&disk);
        for _ in 0..restarts {
            drop(channel.take());
            settle().await;
            let (opened, more) = restart_on_a_full_disk(&disk, &body).await;
            (channel, stored) = (Some(opened), stored + more);
            let names = disk.files().into_iter().map(|(path, _)| path.display().to_string());
            assert!(names.filter(|name| name.contains("/reserve-")).count() > 0, "it is used up");
        }
        let channel = channel.unwrap();
        let found = drain(&*channel).await.len();
        assert!(found >= stored, "{restarts} starts: {found} of {stored} came");
        settle().await;
        settle().await;
        let status = channel.status();
        assert!(!status.intake_stopped, "{restarts} starts: stopped while it is empty: {status:?}");
        put(&*channel, Batch::of([large()])).await.unwrap();
        settle().await;
        drop(channel);
        disk.crash();
        let channel = try_open(&disk, &settings()).await.unwrap();
        assert!(drain(&*channel).await.len() <= 2, "what was committed came again");
    }
}

/// As ext4 keeps a twentieth of its blocks for root: none are free, and an agent of root gets some.
#[tokio::test(start_paused = true)]
async fn room_that_the_file_system_does_not_show_is_used() {
    let disk = SimDisk::new(SEED);
    disk.hide_space(64 << 20);
    let (mut lives, mut stored) = (0, 0);
    // Each life leaves a file that is too short for a next segment.
    let channel = loop {
        let channel = try_open(&disk, &settings()).await.unwrap();
        for _ in 0..2 {
            let put = put(&*channel, Batch::of([large()]));
            stored += usize::from(matches!(timeout(PATIENCE, put).await, Ok(Ok(()))));
        }
        fill_with_something_else(&disk);
        lives += 1;
        if lives == 4 {
            break channel;
        }
        drop(channel);
        settle().await;
        disk.crash();
    };
    assert!(drain(&*channel).await.len() >= stored && stored > 2);
    settle().await;
    settle().await;
    let status = channel.status();
    assert!(!status.intake_stopped, "stopped while it is empty: {status:?}");
    put(&*channel, Batch::of([large()])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_channel_reports_missing_inodes_and_opens_later() {
    // Three directories.
    for inodes in 0..3 {
        let disk = SimDisk::new(SEED);
        disk.set_names_max(disk.names() + inodes);
        let settings = settings();
        let refused = try_open(&disk, &settings).await.err();
        let says_so = matches!(&refused, Some(ChannelError::NoRoom { reason, .. })
            if reason.contains("inodes"));
        assert!(says_so, "{inodes} are enough: {refused:?}");
        disk.set_names_max(u64::MAX);
        let channel = try_open(&disk, &settings).await.unwrap();
        put(&*channel, Batch::of(["first"])).await.unwrap();
        assert_eq!(drain(&*channel).await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_with_too_few_inodes_accepts_when_there_are_more() {
    let disk = SimDisk::new(SEED);
    disk.set_names_max(disk.names() + 3);
    let channel = try_open(&disk, &settings()).await.unwrap();
    assert!(channel.status().intake_stopped);
    assert_eq!(fill(&*channel).await, 0);
    disk.set_names_max(u64::MAX);
    settle().await;
    settle().await;
    put(&*channel, Batch::of([large()])).await.unwrap();
}
