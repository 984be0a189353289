//! Reports about a stopped channel are correct, and inspecting it changes nothing.
//!
//! Method: a channel on a simulated disk is filled, partly drained and closed; then it is inspected
//! sound and with a flipped bit, and every file is compared before and after.

use std::path::{Path, PathBuf};

use crate::common::*;
use aqueduct_channel::durable::inspect::{Inspection, repair};
use aqueduct_channel::durable::{Config, IndexKind};
use aqueduct_channel::testkit::{SimDisk, world};
use pipeline::env::{Disk, OpenMode};
use pipeline::units::ByteSize;
use pipeline::{BuildContext, Epoch, IntervalSet};

const MAIN: &str = "/data/main";

fn text(n: u64) -> String {
    format!("{n} {}", "i".repeat(30_000))
}

/// Nine batches in several segments; two of them are committed.
async fn written() -> SimDisk {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    for n in 0..9 {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    let mut take = channel.begin_take("sink");
    for _ in 0..2 {
        let taken = next(&mut *take).await.unwrap();
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    drop(take);
    channel.close().await.unwrap();
    disk
}

fn inspect(disk: &SimDisk) -> Inspection {
    Inspection::open(&world(disk, 1), Path::new(MAIN), None).expect("there is a channel")
}

fn contents(disk: &SimDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |(path, len): (PathBuf, u64)| {
        let mut bytes = vec![0; len as usize];
        disk.open(&path, OpenMode::default()).unwrap().read_at(&mut bytes, 0).unwrap();
        (path, bytes)
    };
    disk.files().into_iter().map(read).collect()
}

/// Damages the body of a batch that is still wanted.
fn damage(disk: &SimDisk) {
    let segments = disk.files().into_iter().map(|(path, _)| path);
    let path = segments.filter(|path| path.extension().is_some_and(|e| e == "seg")).nth(1).unwrap();
    disk.flip(&path, 20_000, 1);
}

fn exported(inspection: &Inspection) -> Vec<u64> {
    let mut numbers = Vec::new();
    let each = |_, batch: pipeline::Batch| {
        numbers.extend(batch.envelope.identity.map(|identity| identity.sequence.0));
        true
    };
    inspection.export(each).unwrap();
    numbers
}

#[tokio::test(start_paused = true)]
async fn a_sound_channel_is_described_and_left_as_it_is() {
    let disk = written().await;
    let before = contents(&disk);
    let inspection = inspect(&disk);
    let stats = inspection.stats();
    assert_eq!((stats.events, stats.batches, stats.identities, stats.starts), (7, 7, 9, 1));
    assert_eq!(stats.consumers, [("sink".to_owned(), 7)].into());
    let report = inspection.check().unwrap();
    assert!(report.is_sound() && report.sound_frames >= 10, "{report:?}");
    assert_eq!(exported(&inspection), (2..9).collect::<Vec<_>>());
    assert!(contents(&disk) == before, "looking changed a file");
}

#[tokio::test(start_paused = true)]
async fn damage_is_reported_and_mended() {
    let disk = written().await;
    damage(&disk);
    let inspection = inspect(&disk);
    let report = inspection.check().unwrap();
    assert_eq!((report.damaged.len(), report.lost.len()), (1, 1), "{report:?}");
    let (first, end) = report.lost[0];
    assert_eq!(end - first, 1);
    assert_eq!(exported(&inspection).len(), 6);
    drop(inspection);
    let cx = BuildContext::alone("main", Path::new(MAIN), world(&disk, 7));
    let capacity = ByteSize::mib(1);
    let config = Config { capacity, index: IndexKind::None, ..Config::default() };
    assert_eq!(repair(config, &cx).unwrap(), 1);
    let inspection = inspect(&disk);
    let report = inspection.check().unwrap();
    assert!(report.is_sound() && report.done_with.len() == 1, "it is mended: {report:?}");
    assert_eq!(inspection.stats().events, 6);
    assert_eq!(inspection.stats().identities, 8, "the damaged one may be stored again");
    drop(inspection);
    let channel = open(&disk).await;
    assert_eq!(drain(&*channel).await.len(), 6);
    assert!(!channel.stored(FOREIGN, Epoch(1)).contains(first));
}

/// The last segment is read at every start, so its damage is found in another way.
#[tokio::test(start_paused = true)]
async fn damage_in_the_newest_segment_is_reported_and_mended_too() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    for n in 0..3 {
        put(&*channel, foreign(n, &format!("{n} {}", "n".repeat(9_000)))).await.unwrap();
    }
    channel.close().await.unwrap();
    drop(channel);
    let segments = disk.files().into_iter().map(|(path, _)| path);
    let segments = segments.filter(|path| path.extension().is_some_and(|e| e == "seg"));
    disk.flip(&segments.min().unwrap(), 4 * 4096 + 5_000, 1);
    let report = inspect(&disk).check().unwrap();
    assert_eq!((report.damaged.len(), &report.lost[..]), (1, &[(0, 1)][..]), "{report:?}");
    let cx = BuildContext::alone("main", Path::new(MAIN), world(&disk, 7));
    let capacity = ByteSize::mib(1);
    let config = Config { capacity, index: IndexKind::None, ..Config::default() };
    repair(config, &cx).unwrap();
    let report = inspect(&disk).check().unwrap();
    assert!(report.is_sound() && report.done_with.len() == 1, "it is mended: {report:?}");
    let channel = open(&disk).await;
    assert_eq!((channel.status().events, drain(&*channel).await.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_channel_in_use_can_be_looked_at_without_a_change() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    for n in 0..9 {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    let before = contents(&disk);
    let look = || Inspection::inspect(&world(&disk, 1), Path::new(MAIN), None).unwrap();
    let (inspection, status) = (look(), channel.status());
    let stats = inspection.stats();
    assert_eq!((stats.events, stats.used_bytes), (9, status.bytes));
    assert!(stats.oldest_at_ms.is_some());
    assert_eq!(exported(&inspection), (0..9).collect::<Vec<_>>());
    assert!(contents(&disk) == before, "looking changed a file");
    drain(&*channel).await;
    channel.close().await.unwrap();
    assert_eq!(look().stats().oldest_at_ms, None);
}

#[tokio::test(start_paused = true)]
async fn a_channel_in_use_is_not_touched() {
    let disk = SimDisk::new(SEED);
    let _channel = open(&disk).await;
    let env = world(&disk, 1);
    let refused = Inspection::open(&env, Path::new(MAIN), None).err().expect("it is in use");
    assert!(refused.to_string().contains("process 1 uses it"), "{refused}");
    let looked = Inspection::inspect(&env, Path::new(MAIN), None).expect("looking is allowed");
    assert_eq!(looked.stats().events, 0);
    let nothing = Inspection::open(&env, Path::new("/data/other"), None);
    let nothing = nothing.err().expect("it is not there");
    assert!(nothing.to_string().contains("no durable channel"), "{nothing}");
}
