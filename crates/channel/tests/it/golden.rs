//! The format on disk stays readable: directories of released versions open forever.
//!
//! Method: `golden/v<n>/` contains a directory as version n of the format wrote it, each file up to
//! its last byte that is not 0. One test writes the newest one again, in a world determined by its
//! seed, and compares every byte; the other opens each of them and checks its contents. `BLESS=1`
//! writes the newest one to the tree; use it only for a new version of the format, or of the layout
//! of a batch.

use crate::common;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::common::*;
use aqueduct_channel::testkit::SimDisk;
use bytes::Bytes;
use pipeline::env::{Disk, OpenMode};
use pipeline::{Batch, BatchSize, Epoch, Existing, IntervalSet, SourcePosition};
use serde_json::Value;

/// The formats that the newest version writes, plain and sealed.
const NEWEST: [&str; 2] = ["v2", "v2-sealed"];
const ALL: [&str; 3] = ["v1", "v2", "v2-sealed"];

/// Returns the settings of the channel of a golden directory.
fn settings(version: &str) -> Value {
    if version == "v2-sealed" { sealed() } else { small() }
}

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn position(key: &'static str, value: &'static str) -> SourcePosition {
    let (key, value) = (Bytes::from(key), Some(Bytes::from(value)));
    SourcePosition { source: "access".into(), key, value, after: None }
}

/// The seed for the epoch of the second life.
const SECOND_LIFE: u64 = 30;

/// A life with one of everything: headers, positions, several batches in one put, an empty one, a
/// foreign identity, a commit. Then another life, killed before it did anything.
async fn write_newest(version: &str) -> SimDisk {
    let disk = SimDisk::new(SEED);
    put_keys(&disk, &key_line(1, 0xa1));
    let channel = try_open(&disk, &settings(version)).await.unwrap();
    let mut lines = Batch::of_lines(Bytes::from_static(b"GET /a\nGET /b\n"), &[6, 6]);
    lines.set_header("host", "web-1", Existing::Keep);
    lines.set_column("offset", [Some("0"), None].into_iter());
    lines.envelope.positions.push(position("file-1", "14"));
    let mut put = channel.begin_put(BatchSize { events: 5, bytes: 500 }).await.unwrap();
    put.put(lines);
    put.put(Batch::of(["second"]));
    put.commit().await.unwrap();
    let mut empty = Batch::default();
    empty.envelope.positions.push(position("file-2", "7"));
    common::put(&*channel, empty).await.unwrap();
    common::put(&*channel, foreign(41, "from elsewhere")).await.unwrap();
    let mut take = channel.begin_take("sink");
    next(&mut *take).await.unwrap();
    let second = next(&mut *take).await.unwrap();
    take.commit(&IntervalSet::from(second.ticket..second.ticket + 1));
    drop(take);
    channel.close().await.unwrap();
    // The next segment has another key.
    put_keys(&disk, &(key_line(1, 0xa1) + &key_line(2, 0xb2)));
    open_with(&disk, &settings(version), SECOND_LIFE).await.unwrap();
    disk
}

fn content(disk: &SimDisk, path: &Path, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    disk.open(path, OpenMode::default()).unwrap().read_at(&mut bytes, 0).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

#[tokio::test(start_paused = true)]
async fn the_current_format_equals_the_newest_golden_directory() {
    for version in NEWEST {
        let disk = write_newest(version).await;
        let directory = golden(version);
        for (path, len) in disk.files() {
            let bytes = content(&disk, &path, len);
            if bytes.is_empty() || path == Path::new(KEYS) {
                continue;
            }
            let name = path.file_name().unwrap();
            if std::env::var_os("BLESS").is_some() {
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(directory.join(name), &bytes).unwrap();
            }
            let kept = std::fs::read(directory.join(name)).unwrap();
            assert!(kept == bytes, "{name:?} is not what version {version} of the format says");
        }
    }
}

/// A simulated disk with a golden directory on it.
fn disk_of(directory: &Path) -> SimDisk {
    let disk = SimDisk::new(SEED);
    let (main, log) = (Path::new("/data/main"), Path::new("/data/main/log"));
    disk.create_dir_all(log).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap().path();
        let name = entry.file_name().unwrap();
        let folder = if entry.extension().is_some() { log } else { main };
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let file = disk.open(&folder.join(name), mode).unwrap();
        let mut bytes = std::fs::read(&entry).unwrap();
        if folder == log {
            bytes.resize(128 << 10, 0);
        }
        file.write_at(&[IoSlice::new(&bytes)], 0, true).unwrap();
    }
    disk
}

#[tokio::test(start_paused = true)]
async fn every_golden_directory_opens_with_its_puts() {
    for version in ALL {
        let disk = disk_of(&golden(version));
        put_keys(&disk, &(key_line(1, 0xa1) + &key_line(2, 0xb2)));
        let channel = try_open(&disk, &settings(version)).await.unwrap();
        assert_eq!(channel.stored(FOREIGN, Epoch(1)), IntervalSet::from(41..42), "{version}");
        let expected = [("file-1", "14"), ("file-2", "7")];
        let expected = expected.map(|(key, value)| (Bytes::from(key), Bytes::from(value)));
        assert_eq!(channel.positions("access"), expected, "{version}");
        let mut take = channel.begin_take("sink");
        let first = next(&mut *take).await.unwrap().batch;
        let headers: Vec<Vec<_>> = first.iter().map(|event| event.headers().collect()).collect();
        assert_eq!(headers, [vec![("host", "web-1"), ("offset", "0")], vec![("host", "web-1")]]);
        assert_eq!(first.lines(), Some(&Bytes::from_static(b"GET /a\nGET /b\n")));
        assert_eq!(body(&next(&mut *take).await.unwrap()), "from elsewhere", "{version}");
        assert!(next(&mut *take).await.is_none(), "{version}: the second one was committed");
        drop(take);
        // A new life numbers its own batches from 0, in an epoch that was never used.
        put_body(&*channel, "new").await.unwrap();
        let mut take = channel.begin_take("sink");
        let mut epochs = Vec::new();
        while let Some(taken) = next(&mut *take).await {
            epochs.extend(taken.batch.envelope.identity.map(|identity| identity.epoch));
        }
        let [first, foreign, new] = epochs[..] else { panic!("{version}: {epochs:?}") };
        assert!(new > first && new.starts() > first.starts(), "{version}: {epochs:?}");
        assert_eq!(foreign, Epoch(1), "{version}");
    }
}
