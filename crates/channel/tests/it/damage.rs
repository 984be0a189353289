//! Flipping any bit of a channel's files never causes a panic or a wrong event. Only the batch that
//! it hits is missing, and its identity may be stored again.
//!
//! Method: a small channel with a few batches in several segments is closed. Then, for each used
//! byte of each file, a copy of the disk gets one bit flipped there, is opened and drained.

use std::path::Path;

use crate::common::*;
use aqueduct_channel::durable::Encryption;
use aqueduct_channel::durable::inspect::Inspection;
use aqueduct_channel::testkit::{SimDisk, world};
use pipeline::env::{Disk, OpenMode};
use pipeline::{Epoch, IntervalSet};
use serde_json::{Value, json};

const BATCHES: u64 = 9;
/// A byte in the body of the first batch: after the header block, two STATE groups and CONSUMERS.
const BODY: u64 = 4 * 4096 + 120;

fn text(n: u64) -> String {
    format!("{n} {}", "y".repeat(40))
}

/// A closed channel of three segments: one for each of its lives.
async fn written() -> SimDisk {
    written_with(&small()).await
}

async fn written_with(settings: &Value) -> SimDisk {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 7));
    for life in 0..3 {
        let channel = try_open(&disk, settings).await.unwrap();
        for n in life * 3..life * 3 + 3 {
            put(&*channel, foreign(n, &text(n))).await.unwrap();
        }
        channel.close().await.unwrap();
    }
    disk
}

/// Returns the used bytes of a file: each block up to its last byte that is not 0.
fn content(disk: &SimDisk, path: &Path, len: u64) -> Vec<u64> {
    let file = disk.open(path, OpenMode::default()).unwrap();
    let mut bytes = vec![0; len as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let mut places = Vec::new();
    for (block, bytes) in (0u64..).zip(bytes.chunks(4096)) {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        places.extend((0..end as u64).map(|byte| block * 4096 + byte));
    }
    places
}

/// The tickets that are reported as lost.
fn told_lost(disk: &SimDisk, settings: &Value) -> IntervalSet {
    let encryption = settings.get("encryption");
    let encryption: Option<Encryption> =
        encryption.map(|it| serde_json::from_value(it.clone()).unwrap());
    let main = Path::new("/data/main");
    let report = Inspection::open(&world(disk, 1), main, encryption.as_ref()).unwrap().check();
    let report = report.unwrap();
    assert!(report.lost.is_empty() || !report.is_sound());
    report.lost.iter().flat_map(|(first, end)| *first..*end).collect()
}

async fn check_flip(disk: &SimDisk, settings: &Value, path: &Path, byte: u64, bit: u8) -> bool {
    let copy = disk.copy();
    copy.flip(path, byte, bit);
    let place = format!("bit {bit} of byte {byte} of {}", path.display());
    let told = told_lost(&copy, settings);
    let channel =
        try_open(&copy, settings).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    let found = drain(&*channel).await;
    let mut expected: Vec<String> = (0..BATCHES).map(text).collect();
    let stored = channel.stored(FOREIGN, Epoch(1));
    // Missing batches have left the window; the rest exists, in order.
    expected.retain(|text| {
        let n = text.split(' ').next().unwrap_or_default().parse().expect("a number");
        stored.contains(n)
    });
    assert!(expected.len() as u64 + 1 >= BATCHES, "{place}: {} batches left", expected.len());
    // Its n-th batch has ticket n.
    let lost: IntervalSet = (0..BATCHES).filter(|n| !stored.contains(*n)).collect();
    assert_eq!(told, lost, "{place}: what is lost is reported exactly");
    let numbers = |texts: &[String]| -> Vec<String> {
        texts.iter().map(|t| t.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(numbers(&found), numbers(&expected), "{place}");
    assert!(found == expected, "{place}: a batch is not as it was put");
    assert_eq!(channel.status().events, 0, "{place}");
    for n in 0..BATCHES {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    let again = drain(&*channel).await;
    assert_eq!(again.len() + found.len(), BATCHES as usize, "{place}: what was lost comes again");
    expected.len() as u64 != BATCHES
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_costs_at_most_the_batch_that_it_hits() {
    flip(&small(), 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_in_a_sealed_channel_costs_no_more() {
    flip(&sealed(), 7).await;
}

/// Flips a bit of every `step`-th byte.
async fn flip(settings: &Value, step: usize) {
    let disk = written_with(settings).await;
    let mut hits = 0;
    for (path, len) in disk.files() {
        if path == Path::new(KEYS) {
            continue;
        }
        for byte in content(&disk, &path, len).into_iter().step_by(step) {
            if check_flip(&disk, settings, &path, byte, (byte % 8) as u8).await {
                hits += 1;
            }
        }
    }
    assert!(hits > 100 / step, "only {hits} flips hit a batch");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_kept_aside() {
    let disk = written().await;
    let segment =
        disk.files().into_iter().find(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    let (path, _) = segment.expect("there is a segment");
    // The last byte of the first batch's body.
    disk.flip(&path, BODY, 3);
    let settings = json!({ "capacity": "1MiB", "index": "none", "tail_memory": "0B" });
    let channel = try_open(&disk, &settings).await.unwrap();
    assert_eq!(drain(&*channel).await.len() as u64, BATCHES - 1);
    let aside =
        disk.files().into_iter().filter(|(path, _)| path.starts_with("/data/main/quarantine"));
    assert_eq!(aside.count(), 1);
}

/// The newest segment is read at the start, so the damage is found then.
#[tokio::test(start_paused = true)]
async fn a_damaged_batch_of_the_newest_segment_is_kept_aside_too() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    for n in 0..3 {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    channel.close().await.unwrap();
    disk.flip(Path::new("/data/main/log/0000000000000000.seg"), BODY, 3);
    let channel = open(&disk).await;
    let aside = |(path, _): &(std::path::PathBuf, u64)| path.starts_with("/data/main/quarantine");
    assert_eq!(disk.files().iter().filter(|file| aside(file)).count(), 1);
    assert_eq!(drain(&*channel).await, [text(1), text(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_delivered_batch_is_neither_lost_nor_repeated_after_damage() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    for n in 0..3 {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    let mut take = channel.begin_take("sink");
    let first = next(&mut *take).await.unwrap();
    take.commit(&IntervalSet::from(first.ticket..first.ticket + 1));
    settle().await;
    disk.crash();
    disk.flip(Path::new("/data/main/log/0000000000000000.seg"), BODY, 3);
    let channel = open(&disk).await;
    assert_eq!(channel.status().events, 2);
    assert_eq!(channel.stored(FOREIGN, Epoch(1)), IntervalSet::from(0..3));
    assert_eq!(drain(&*channel).await, [text(1), text(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_segment_is_noticed_and_its_identities_may_come_again() {
    let disk = written().await;
    let segments =
        disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    let (path, _) = segments.into_iter().nth(1).expect("there are several segments");
    disk.remove_file(&path).unwrap();
    let told = told_lost(&disk, &small());
    assert_eq!(told, IntervalSet::from(3..6), "those of the second life");
    let channel = open(&disk).await;
    let found = drain(&*channel).await;
    let stored = channel.stored(FOREIGN, Epoch(1));
    assert!(found.len() < BATCHES as usize);
    assert_eq!(stored.count(), found.len() as u64, "what is missing has left the window");
    assert_eq!(channel.status().events, 0);
    for n in 0..BATCHES {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    assert_eq!(drain(&*channel).await.len() + found.len(), BATCHES as usize);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_state_is_read_from_its_second_copy() {
    // All is drained and released, so no older segment lists the stored batches.
    let disk = written().await;
    let channel = open(&disk).await;
    assert_eq!(drain(&*channel).await.len() as u64, BATCHES);
    channel.close().await.unwrap();
    drop(channel);
    let channel = open(&disk).await;
    channel.close().await.unwrap();
    drop(channel);
    let mut segments = disk.files();
    segments.retain(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    for (path, _) in &segments {
        disk.flip(path, 4096 + 40, 2);
    }
    let channel = open(&disk).await;
    for n in 0..BATCHES {
        put(&*channel, foreign(n, &text(n))).await.unwrap();
    }
    assert_eq!(drain(&*channel).await, [""; 0], "every old identity is refused");
}
