//! A damaged batch whose lines are still in their file is restored with the same identity and the
//! same bytes. Otherwise it is given up and named.
//!
//! Method: lines of a file are put with the position after them, as by a source. Then one bit of a
//! batch is flipped, in the newest segment, which is read at the start, or in one that a take
//! reads.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::common::*;
use aqueduct_channel::durable::inspect::{Inspection, Report, repair};
use aqueduct_channel::testkit::{SimDisk, world};
use bytes::Bytes;
use pipeline::env::{Disk, OpenMode};
use pipeline::file_position::{Fingerprint, HEAD_BYTES, Position, TAIL_BYTES};
use pipeline::{Batch, BuildContext, Channel, Existing, Identity, SourcePosition};
use serde_json::{Value, json};

const FILE: &str = "/in/a.log";

fn lines(n: usize) -> String {
    format!("line {n} of the file\nand its second one {}\n", "x".repeat(n))
}

fn write(disk: &SimDisk, path: &str, text: &str) {
    let path = Path::new(path);
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = disk.open(path, mode).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(text.as_bytes())], 0, true).unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

/// Returns the `n`-th batch of the file, with the position after it.
fn batch(disk: &SimDisk, n: usize) -> Batch {
    let before: String = (0..n).map(lines).collect();
    let new = lines(n);
    let all = before + &new;
    let ends: Vec<u32> = new.lines().map(|line| line.len() as u32).collect();
    let mut batch = Batch::of_lines(Bytes::from(new.into_bytes()), &ends);
    batch.set_header("file", FILE, Existing::Replace);
    batch.set_header("timestamp", &format!("{n}"), Existing::Replace);
    let stat = disk.stat(Path::new(FILE)).unwrap();
    let position = Position {
        device: stat.device,
        inode: stat.inode,
        offset: all.len() as u64,
        skipping: false,
        head: Fingerprint::new(&all.as_bytes()[..all.len().min(HEAD_BYTES)]),
        tail: Fingerprint::new(&all.as_bytes()[all.len().saturating_sub(TAIL_BYTES)..]),
        path: PathBuf::from(FILE),
    };
    let value = Some(position.encode(Path::new(FILE)));
    let (source, key) = ("tail".into(), Bytes::from_static(b"a"));
    batch.envelope.positions.push(SourcePosition { source, key, value, after: None });
    batch
}

const BATCHES: usize = 4;

/// A channel of two lives with the lines of a file: in the first segment, or in the newest one.
async fn written(settings: &Value, newest: bool) -> SimDisk {
    let disk = SimDisk::new(SEED);
    let all: String = (0..BATCHES).map(lines).collect();
    write(&disk, FILE, &all);
    let lives = if newest { 1 } else { 3 };
    for life in 0..lives {
        let channel = try_open(&disk, settings).await.unwrap();
        for n in 0..BATCHES * usize::from(life == 0) {
            put(&*channel, batch(&disk, n)).await.unwrap();
        }
        channel.close().await.unwrap();
    }
    disk
}

/// Returns the offset of this text in the first segment.
fn place_of(disk: &SimDisk, text: &str) -> (PathBuf, u64) {
    let segments = disk.files().into_iter();
    let (path, len) =
        segments.filter(|(path, _)| path.extension().is_some_and(|it| it == "seg")).min().unwrap();
    let bytes = disk.open(&path, OpenMode::default()).unwrap().read(0, len as usize).unwrap();
    let at = bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
    (path, at as u64)
}

fn settings() -> Value {
    json!({ "capacity": "1MiB", "index": "none", "tail_memory": "0B" })
}

fn check(disk: &SimDisk) -> Report {
    Inspection::open(&world(disk, 1), Path::new("/data/main"), None).unwrap().check().unwrap()
}

/// All that is delivered: identities, headers and lines.
async fn delivered(channel: &dyn Channel) -> Vec<(Option<Identity>, String)> {
    let mut take = channel.begin_take("sink");
    let mut found = Vec::new();
    while let Some(taken) = next(&mut *take).await {
        let event = |event: pipeline::batch::EventRef<'_>| {
            let headers: Vec<_> = event.headers().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{headers:?} {}\n", String::from_utf8_lossy(event.body()))
        };
        found.push((taken.batch.envelope.identity, taken.batch.iter().map(event).collect()));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_damaged_batch_is_made_whole_from_its_file_whichever_line_was_hit() {
    for newest in [true, false] {
        let disk = written(&settings(), newest).await;
        let channel = try_open(&disk.copy(), &settings()).await.unwrap();
        let expected = delivered(&*channel).await;
        assert_eq!(expected.len(), BATCHES);
        let (path, at) = place_of(&disk, &lines(2));
        for byte in 0..lines(2).len() as u64 {
            let copy = disk.copy();
            copy.flip(&path, at + byte, (byte % 8) as u8);
            let found = check(&copy);
            let whole = format!("{FILE} bytes {} to {}", at_of(2), at_of(3));
            assert_eq!(found.mendable, [whole], "{byte}");
            assert!(found.lost.is_empty() && found.damaged.is_empty() && !found.is_sound());
            let channel = try_open(&copy, &settings()).await.unwrap();
            assert_eq!(delivered(&*channel).await, expected, "{newest} {byte}");
            drop(channel);
        }
        // It is complete on the disk, and its damaged form was kept aside.
        let copy = disk.copy();
        copy.flip(&path, at, 0);
        let cx = BuildContext::alone("main", Path::new("/data/main"), world(&copy, 1));
        let config = serde_json::from_value(settings()).unwrap();
        assert_eq!(repair(config, &cx).unwrap(), 0);
        assert!(check(&copy).is_sound());
        let aside = |(path, _): &(PathBuf, u64)| path.starts_with("/data/main/quarantine");
        assert_eq!(copy.files().iter().filter(|file| aside(file)).count(), 1);
    }
}

/// Returns the offset of the lines of the `n`-th batch.
fn at_of(n: usize) -> usize {
    (0..n).map(|n| lines(n).len()).sum()
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_renamed_is_found_by_its_number() {
    let disk = written(&settings(), true).await;
    let (path, at) = place_of(&disk, &lines(1));
    disk.flip(&path, at + 5, 1);
    disk.rename(Path::new(FILE), Path::new("/in/a.log.1")).unwrap();
    write(&disk, FILE, "the next one\n");
    let channel = try_open(&disk, &settings()).await.unwrap();
    assert_eq!(delivered(&*channel).await.len(), BATCHES);
}

#[tokio::test(start_paused = true)]
async fn lines_that_their_file_does_not_hold_any_more_are_given_up_and_named() {
    for newest in [true, false] {
        // The file was changed or deleted, or the damaged part is not in it.
        for (what, text) in
            [("changed", lines(1)), ("gone", lines(1)), ("header", "timestamp".into())]
        {
            let disk = written(&settings(), newest).await;
            let (path, at) = place_of(&disk, &text);
            disk.flip(&path, at + 1, 1);
            match what {
                "changed" => write(&disk, FILE, &"other\n".repeat(200)),
                "gone" => disk.remove_file(Path::new(FILE)).unwrap(),
                _ => {}
            }
            let n = usize::from(what != "header");
            let named = format!("{FILE} bytes {} to {}", at_of(n), at_of(n + 1));
            let found = check(&disk);
            assert_eq!((&found.given_up[..], found.mendable.len()), (&[named][..], 0), "{what}");
            assert_eq!(found.lost.len(), 1);
            let channel = try_open(&disk, &settings()).await.unwrap();
            let left: BTreeSet<_> = delivered(&*channel).await.into_iter().collect();
            assert_eq!(left.len(), BATCHES - 1, "{what} {newest}");
        }
    }
}

/// The envelope names the contents; without it, the neighbours show the possible contents.
#[tokio::test(start_paused = true)]
async fn of_a_batch_that_cannot_be_read_at_all_the_neighbours_are_named() {
    for newest in [true, false] {
        let disk = written(&settings(), newest).await;
        // The header of a frame is before its envelope, which names the file.
        let (path, at) = place_of(&disk, &lines(1));
        let bytes = disk.open(&path, OpenMode::default()).unwrap().read(0, at as usize).unwrap();
        let named = bytes.windows(FILE.len()).rposition(|part| part == FILE.as_bytes()).unwrap();
        // The last match is a header of the events; the one before it is in the envelope.
        let named = bytes[..named].windows(FILE.len()).rposition(|part| part == FILE.as_bytes());
        disk.flip(&path, named.unwrap() as u64, 0);
        let found = check(&disk);
        let some = format!("part of {FILE} bytes {} to {}", at_of(1), at_of(3));
        assert_eq!((found.given_up, found.lost), (vec![some], vec![(1, 2)]), "{newest}");
        let channel = try_open(&disk, &settings()).await.unwrap();
        assert_eq!(delivered(&*channel).await.len(), BATCHES - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_another_agent_is_not_looked_for_in_files() {
    let disk = SimDisk::new(SEED);
    let channel = open(&disk).await;
    put(&*channel, foreign(0, &"y".repeat(40))).await.unwrap();
    put(&*channel, foreign(1, "z")).await.unwrap();
    channel.close().await.unwrap();
    let (path, at) = place_of(&disk, &"y".repeat(40));
    disk.flip(&path, at, 1);
    let found = check(&disk);
    assert!(found.given_up.is_empty() && found.mendable.is_empty() && found.lost.len() == 1);
}
