//! Whatever bit of a channel's files flips: never a panic, never a wrong event, and nothing is
//! missing but the one batch that it hit, whose identity may be stored again.
//!
//! Method: a small channel with a few batches in several segments is closed. Then, for each byte of
//! each file that says something, a copy of the disk gets one bit flipped there, is opened and drained.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use aqueduct_channel::testkit::SimDisk;
use common::*;
use std::path::Path;

use pipeline::Epoch;
use pipeline::env::{Disk, OpenMode};
use serde_json::json;

const BATCHES: u64 = 9;
/// A byte in the body of the first batch: behind the header block, two STATE groups and CONSUMERS.
const BODY: u64 = 4 * 4096 + 120;

fn text(n: u64) -> String {
    format!("{n} {}", "y".repeat(40))
}

/// A closed channel of three segments: one for each of its lives.
async fn written() -> SimDisk {
    let disk = SimDisk::new(SEED);
    for life in 0..3 {
        let channel = open(&disk).await;
        for n in life * 3..life * 3 + 3 {
            put(&*channel, foreign(n, &text(n))).await.unwrap();
        }
        channel.close().await.unwrap();
    }
    disk
}

/// The bytes of a file that say something: each block up to its last byte that is not 0.
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

async fn check_flip(disk: &SimDisk, path: &Path, byte: u64, bit: u8) -> bool {
    let copy = disk.copy();
    copy.flip(path, byte, bit);
    let place = format!("bit {bit} of byte {byte} of {}", path.display());
    let channel = match try_open(&copy, &small()).await {
        Ok(channel) => channel,
        // The one refusal: the flipped digit names a newer format.
        Err(error) => {
            assert!(error.to_string().contains("format"), "{place}: {error}");
            return false;
        }
    };
    let found = drain(&*channel).await;
    let mut expected: Vec<String> = (0..BATCHES).map(text).collect();
    let stored = channel.stored(FOREIGN, Epoch(1));
    // What is missing has left the window; the rest is there, in order.
    expected.retain(|text| {
        let n = text.split(' ').next().unwrap_or_default().parse().expect("a number");
        stored.contains(n)
    });
    assert!(expected.len() as u64 + 1 >= BATCHES, "{place}: {} batches left", expected.len());
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
    let disk = written().await;
    let mut hits = 0;
    for (path, len) in disk.files() {
        for byte in content(&disk, &path, len) {
            if check_flip(&disk, &path, byte, (byte % 8) as u8).await {
                hits += 1;
            }
        }
    }
    assert!(hits > 100, "only {hits} flips hit a batch");
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

#[tokio::test(start_paused = true)]
async fn a_missing_segment_is_noticed_and_its_identities_may_come_again() {
    let disk = written().await;
    let segments =
        disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
    let (path, _) = segments.into_iter().nth(1).expect("there are several segments");
    disk.remove_file(&path).unwrap();
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
    // All is drained and released, so no older segment says what was stored.
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
