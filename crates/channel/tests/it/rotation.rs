//! The program changes keys: after any interruption, every segment can be read.
//!
//! Method: a key file and a channel on a simulated disk. The power fails at each change of a
//! rotation, one after the other; between them the channel runs, reads its keys again if possible,
//! and accepts more batches. At the end all accepted batches are read, and the unneeded keys are
//! removed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::*;
use aqueduct_channel::durable::Encryption;
use aqueduct_channel::durable::inspect::Inspection;
use aqueduct_channel::durable::rotation::{Added, Finished, KeyFile, RotationError};
use aqueduct_channel::testkit::{SimDisk, world};
use pipeline::env::{Disk, OpenMode};
use serde_json::json;

const DATA: &str = "/data";

fn own(_: &Path) -> io::Result<()> {
    Ok(())
}

fn add(disk: &SimDisk) -> Result<Added, RotationError> {
    // Another seed each time, so that keys are never equal because of the seed.
    let env = world(disk, disk.changes() + 77);
    KeyFile::hold(&env, Path::new(KEYS), &own)?.add()
}

fn finish(disk: &SimDisk) -> Result<Finished, RotationError> {
    let env = world(disk, disk.changes() + 78);
    KeyFile::hold(&env, Path::new(KEYS), &own)?.finish(&[PathBuf::from(DATA)])
}

fn lines(disk: &SimDisk) -> String {
    let file = disk.open(Path::new(KEYS), OpenMode::default()).unwrap();
    let mut text = vec![0; 4096];
    let len = file.read_at(&mut text, 0).unwrap();
    String::from_utf8(text[..len].to_vec()).unwrap()
}

fn numbers(disk: &SimDisk) -> Vec<u32> {
    lines(disk).lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_first_key_makes_the_file_and_each_one_after_it_has_the_next_number() {
    let disk = SimDisk::new(SEED);
    disk.create_dir_all(Path::new(KEYS).parent().unwrap()).unwrap();
    assert_eq!(add(&disk).unwrap(), Added { added: 1, keys: vec![1] });
    let first = lines(&disk);
    assert_eq!(add(&disk).unwrap(), Added { added: 2, keys: vec![1, 2] });
    let both = lines(&disk);
    assert!(both.starts_with(&first) && both.lines().count() == 2, "what was there stays");
    let keys: Vec<&str> = both.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 64));
}

#[test]
fn a_file_that_is_no_list_of_keys_or_full_stays_as_it_is() {
    let disk = SimDisk::new(SEED);
    for bad in ["1 short\n".to_owned(), key_line(u32::MAX, 1)] {
        put_keys(&disk, &bad);
        let refused = add(&disk).unwrap_err().to_string();
        assert!(refused.contains(KEYS) && !refused.contains("short"), "{refused}");
        assert_eq!(lines(&disk), bad);
    }
}

#[test]
fn a_second_rotation_waits_for_the_first() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let env = world(&disk, 1);
    let held = KeyFile::hold(&env, Path::new(KEYS), &own).unwrap();
    assert!(matches!(add(&disk), Err(RotationError::Busy { .. })));
    drop(held);
    assert!(add(&disk).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_taken_away_when_the_last_segment_that_it_sealed_is_gone() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let channel = try_open(&disk, &sealed()).await.unwrap();
    let body = |n: u32| format!("{n} {}", "r".repeat(40_000));
    put_body(&*channel, &body(0)).await.unwrap();
    assert_eq!(add(&disk).unwrap().keys, [1, 2]);
    // It has not read the new key, and may begin a segment with the old one at any time.
    assert_eq!(finish(&disk).unwrap().removed, [0; 0]);
    tokio::time::sleep(Duration::from_secs(70)).await;
    for n in 1..8 {
        put_body(&*channel, &body(n)).await.unwrap();
    }
    let found = finish(&disk).unwrap();
    assert_eq!(found.channels["/data/main"], [1, 2], "old segments wait for their sinks");
    assert_eq!((found.removed, found.keys), (vec![], vec![1, 2]));
    assert_eq!(drain(&*channel).await.len(), 8);
    // Segments are removed when one begins after them.
    for n in 8..16 {
        put_body(&*channel, &body(n)).await.unwrap();
    }
    let found = finish(&disk).unwrap();
    assert_eq!((found.removed, found.keys), (vec![1], vec![2]));
    assert_eq!(numbers(&disk), [2]);
    // The running channel continues, and so does the next one.
    tokio::time::sleep(Duration::from_secs(70)).await;
    put_body(&*channel, "last").await.unwrap();
    channel.close().await.unwrap();
    drop(channel);
    let channel = try_open(&disk, &sealed()).await.unwrap();
    assert_eq!(drain(&*channel).await.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_channel_with_another_key_or_none_at_all_stops_the_taking_away() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 9));
    disk.create_dir_all(Path::new(DATA)).unwrap();
    assert!(matches!(finish(&disk), Err(RotationError::NoChannel { .. })));
    try_open(&disk, &sealed()).await.unwrap().close().await.unwrap();
    let others = key_line(1, 1) + &key_line(2, 2);
    put_keys(&disk, &others);
    let refused = finish(&disk).unwrap_err().to_string();
    assert!(refused.contains("no key was removed") && refused.contains("main"), "{refused}");
    assert_eq!(lines(&disk), others);
}

/// Rounds of operations during which the power fails.
const ROUNDS: u64 = 40;

#[tokio::test(start_paused = true)]
async fn whatever_is_cut_off_everything_that_was_taken_can_be_read() {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 1));
    let mut taken = Vec::new();
    let mut removed = 0;
    let mut added_in_part = 0;
    for round in 0..ROUNDS {
        // The channel reads its current keys, even if the last step was interrupted.
        let channel = try_open(&disk, &sealed()).await.unwrap();
        let body = format!("{round} {}", "k".repeat(20_000));
        put_body(&*channel, &body).await.unwrap();
        taken.push(body);
        if round % 8 == 7 {
            assert_eq!(drain(&*channel).await, taken, "round {round}");
            taken.clear();
        }
        channel.close().await.unwrap();
        drop(channel);
        let before = numbers(&disk).len();
        disk.fail_power_at(round % 10 + 1);
        if round % 3 == 2 {
            removed += finish(&disk).map_or(0, |finished| finished.removed.len());
        } else {
            let failed = add(&disk).is_err();
            disk.fail_power_at(u64::MAX);
            added_in_part += u32::from(failed && numbers(&disk).len() > before);
        }
        // So far only the program was killed. A channel may read the file that it left, and seal
        // with its keys, before the power fails too.
        disk.fail_power_at(u64::MAX);
        if round % 4 == 1 {
            let channel = try_open(&disk, &sealed()).await.unwrap();
            let body = format!("{round} at once");
            put_body(&*channel, &body).await.unwrap();
            taken.push(body);
            channel.close().await.unwrap();
        }
        disk.crash();
    }
    let last = *numbers(&disk).last().unwrap();
    assert!(removed > 0 && added_in_part > 0 && last > 5, "{removed} {added_in_part} {last}");
    let encryption: Encryption = serde_json::from_value(json!({ "key_file": KEYS })).unwrap();
    let main = Path::new("/data/main");
    let found = Inspection::open(&world(&disk, 1), main, Some(&encryption)).unwrap();
    assert!(found.check().unwrap().is_sound());
    drop(found);
    let channel = try_open(&disk, &sealed()).await.unwrap();
    assert_eq!(drain(&*channel).await, taken);
}
