//! A crash loses no acknowledged batch, and repeats only uncommitted ones.
//!
//! Method: the channel runs on a simulated disk that forgets every unsynced write. Each test cuts
//! the power right after an answer, reopens the channel, and checks its output. The clock is
//! paused: no test waits, and a take that would wait forever reaches its timeout immediately.

use std::io::IoSlice;
use std::path::Path;
use std::time::Duration;

use crate::common::*;
use aqueduct_channel::testkit::SimDisk;
use bytes::Bytes;
use pipeline::env::{Disk, OpenMode};
use pipeline::{Batch, BatchSize, ChannelError, Epoch, IntervalSet, Sequence, SourcePosition};
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn an_acknowledged_put_survives() {
    let disk = SimDisk::new(SEED);
    put_body(&*open(&disk).await, "kept").await.unwrap();
    disk.crash();
    assert_eq!(drain(&*open(&disk).await).await, ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_take_without_commit_comes_back_in_order() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    put_body(&*channel, "first").await.unwrap();
    put_body(&*channel, "second").await.unwrap();
    let mut held = channel.begin_take("sink");
    assert_eq!(body(&next(&mut *held).await.unwrap()), "first");
    disk.crash();
    assert_eq!(drain(&*open(&disk).await).await, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_written_never_comes_back() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    put_body(&*channel, "delivered").await.unwrap();
    put_body(&*channel, "kept").await.unwrap();
    let mut take = channel.begin_take("sink");
    let taken = next(&mut *take).await.unwrap();
    take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    settle().await;
    disk.crash();
    let channel = open(&disk).await;
    assert_eq!(channel.status().events, 1);
    assert_eq!(drain(&*channel).await, ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_was_never_committed_is_not_there() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    let mut put = channel.begin_put(BatchSize { events: 1, bytes: 100 }).await.unwrap();
    put.put(Batch::of(["half"]));
    disk.crash();
    assert_eq!(drain(&*open(&disk).await).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn each_start_is_a_new_epoch_of_the_same_origin() {
    let disk = SimDisk::new(SEED);
    let mut identities = Vec::new();
    for life in 0..3 {
        let channel = open(&disk).await;
        put_body(&*channel, "x").await.unwrap();
        let mut take = channel.begin_take("sink");
        while let Some(taken) = next(&mut *take).await {
            identities.extend(taken.batch.envelope.identity);
            take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
        }
        drop(take);
        if life == 0 {
            channel.close().await.unwrap();
        } else {
            settle().await;
            disk.crash();
        }
    }
    let origin = identities[0].origin;
    assert!(identities.iter().all(|identity| identity.origin == origin));
    let numbers: Vec<_> = identities.iter().map(|i| (i.epoch.starts(), i.sequence)).collect();
    assert_eq!(numbers, [1, 2, 3].map(|starts| (starts, Sequence(0))));
}

#[tokio::test(start_paused = true)]
async fn old_identities_are_refused_after_everything_was_drained_and_released() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    let large = "x".repeat(60_000);
    for sequence in 0..40 {
        put(&*channel, foreign(sequence, &large)).await.unwrap();
        drain(&*channel).await;
    }
    assert!(disk.used() < 1 << 20, "{} bytes are left of 2.4 MB drained", disk.used());
    disk.crash();
    let channel = open(&disk).await;
    for sequence in 0..40 {
        put(&*channel, foreign(sequence, &large)).await.unwrap();
    }
    assert_eq!(channel.stored(FOREIGN, Epoch(1)), IntervalSet::from(0..40));
    assert!(drain(&*channel).await.len() <= 1, "only the last commit may be forgotten");
}

#[tokio::test(start_paused = true)]
async fn every_crash_point_of_a_short_life_leaves_a_sound_channel() {
    // A life with puts, commits, rolls and a clean end, cut at each of its changes in turn.
    let large = "x".repeat(40_000);
    for cut in 1.. {
        let disk = SimDisk::new(SEED + cut);
        disk.fail_power_at(cut);
        let mut acknowledged = Vec::new();
        if let Ok(channel) = try_open(&disk, &small()).await {
            for n in 0..12 {
                let body = format!("{n} {large}");
                // A put whose write meets the power cut is never answered.
                if let Ok(Ok(())) = timeout(PATIENCE, put_body(&*channel, &body)).await {
                    acknowledged.push(body);
                }
                settle().await;
            }
            let _ = channel.close().await;
        }
        let whole = acknowledged.len() == 12 && disk.changes() < cut;
        disk.crash();
        let found = drain(&*open(&disk).await).await;
        assert!(found.starts_with(&acknowledged), "cut at change {cut}: something is missing");
        assert!(found.len() <= acknowledged.len() + 1, "cut at change {cut}: something is new");
        if whole {
            assert!(cut > 20, "the whole life has only {cut} changes");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_fails_its_put_and_the_next_one_works() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    put_body(&*channel, "before").await.unwrap();
    disk.fail_writes(1);
    let failed = put_body(&*channel, "failed").await;
    assert!(matches!(failed, Err(ChannelError::Disk { .. })), "{failed:?}");
    put_body(&*channel, "after").await.unwrap();
    assert_eq!(drain(&*channel).await, ["before", "after"]);
    disk.crash();
    let channel = open(&disk).await;
    assert!(!drain(&*channel).await.contains(&"failed".to_owned()), "a failed put came back");
}

/// Ten concurrent puts, each with the one before it as its predecessor; some write fails. The first
/// ones are stored, without a gap, however they were grouped.
#[tokio::test(start_paused = true)]
async fn nothing_is_stored_behind_a_put_that_failed() {
    let value = |n: u64| Bytes::from(n.to_string());
    let mut cut_short = 0;
    for seed in 0..200 {
        let disk = SimDisk::new(SEED + seed);
        let channel = open(&disk).await;
        for n in 0..seed % 5 {
            put_body(&*channel, &format!("other {n}")).await.unwrap();
        }
        let puts = (0..10).map(|n| {
            let (disk, channel) = (&disk, &*channel);
            let mut batch = Batch::of([n.to_string()]);
            let (source, key) = ("in".into(), Bytes::from_static(b"k"));
            let after = (n > 0).then(|| value(n - 1));
            batch.envelope.positions.push(SourcePosition {
                source,
                key,
                value: Some(value(n)),
                after,
            });
            async move {
                let mut put = channel.begin_put(batch.size()).await.unwrap();
                put.put(batch);
                put.concurrent();
                // So that they are not all in one group.
                tokio::time::sleep(Duration::from_micros(n * (seed % 7))).await;
                if n == seed % 10 {
                    disk.fail_writes(1);
                }
                put.commit().await.is_ok()
            }
        });
        let stored = futures::future::join_all(puts).await;
        let count = stored.iter().take_while(|is_stored| **is_stored).count() as u64;
        cut_short += u64::from(count < 10);
        assert!(stored[count as usize..].iter().all(|is_stored| !is_stored), "{seed}: {stored:?}");
        let expected = count.checked_sub(1).map(|last| (Bytes::from_static(b"k"), value(last)));
        assert_eq!(channel.positions("in"), Vec::from_iter(expected.clone()), "seed {seed}");
        disk.crash();
        let channel = open(&disk).await;
        assert_eq!(channel.positions("in"), Vec::from_iter(expected), "seed {seed}, after a crash");
    }
    assert!(cut_short > 100, "of 200 rounds a write failed in {cut_short}");
}

/// The write of the put fails, and so does the start of a next segment: data of the first write may
/// still be at the end of the log.
#[tokio::test(start_paused = true)]
async fn a_failed_put_is_told_so_only_once_it_cannot_come_back() {
    for failures in 1..6 {
        for seed in 0..20 {
            let disk = SimDisk::new(SEED + seed);
            let channel = open(&disk).await;
            put_body(&*channel, "before").await.unwrap();
            disk.fail_writes(failures);
            let failed = put_body(&*channel, "failed").await;
            assert!(matches!(failed, Err(ChannelError::Disk { .. })), "{failed:?}");
            disk.crash();
            let channel = open(&disk).await;
            assert_eq!(drain(&*channel).await, ["before"], "{failures} failures, seed {seed}");
        }
    }
}

/// The start of a segment fails, but its STATE is on the disk: it does not cover later data in the
/// segment before it.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_behind_a_segment_whose_successor_may_have_begun() {
    let large = |name: &str| format!("{name} {}", "l".repeat(60_000));
    for seed in 0..20 {
        let disk = SimDisk::new(SEED + seed);
        let channel = open(&disk).await;
        put_body(&*channel, &large("first")).await.unwrap();
        disk.fail_writes(1);
        // It needs the next segment.
        assert!(put_body(&*channel, &large("refused")).await.is_err());
        put_body(&*channel, "after").await.unwrap();
        disk.crash();
        let found = drain(&*open(&disk).await).await;
        assert!(found == [large("first"), "after".to_owned()], "seed {seed}: {}", found.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_put_waits_while_nobody_can_know_whether_it_is_stored() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    disk.fail_writes(u32::MAX);
    let waiting = put_body(&*channel, "perhaps");
    tokio::pin!(waiting);
    assert!(timeout(PATIENCE * 9, &mut waiting).await.is_err(), "it was answered");
    disk.fail_writes(0);
    assert!(waiting.await.is_err());
    put_body(&*channel, "after").await.unwrap();
    assert_eq!(drain(&*channel).await, ["after"]);
    // A channel that is closed then answers as a crash would: not at all.
    disk.fail_writes(u32::MAX);
    let last = put_body(&*channel, "last");
    tokio::pin!(last);
    assert!(timeout(PATIENCE, &mut last).await.is_err());
    assert!(channel.close().await.is_err());
    assert!(matches!(last.await, Err(ChannelError::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_directory_has_one_owner_and_a_newer_format_is_refused() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    let second = try_open(&disk, &small()).await.err().expect("it is in use").to_string();
    assert!(second.contains("process 1 uses it"), "{second}");
    channel.close().await.unwrap();
    drop(channel);
    let text = "aqueduct channel\nformat 3\nuuid of another kind\n";
    let text = format!("{text}check {:08x}\n", crc32c::crc32c(text.as_bytes()));
    let mode = OpenMode { write: true, ..OpenMode::default() };
    let file = disk.open(Path::new("/data/main/channel"), mode).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(text.as_bytes())], 0, true).unwrap();
    let newer = try_open(&disk, &small()).await.err().expect("it is newer").to_string();
    assert!(newer.contains("the format 3") && newer.contains("up to 2"), "{newer}");
}
