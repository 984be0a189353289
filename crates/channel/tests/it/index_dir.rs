//! The directory of the index may be older or newer than the log, damaged at any byte, or missing:
//! no batch is lost, repeated or accepted twice because of it.
//!
//! Method: channels in real directories, with sled. Directories are copied at chosen moments and
//! combined: the index of one moment with the log of another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{FOREIGN, foreign, put};
use aqueduct_channel::durable;
use bytes::Bytes;
use pipeline::testkit::build;
use pipeline::{BuildContext, Channel, Epoch, IntervalSet, SourcePosition};
use serde_json::json;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
/// Flips in each file of the index.
const FLIPS: usize = 12;

async fn open(directory: &Path) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", directory, env::real());
    let settings = json!({ "capacity": "64MiB", "segment_bytes": "256KiB", "tail_memory": "0B" });
    let channel = build::<durable::Config>(&settings, &cx).unwrap();
    channel.open().await.unwrap();
    channel.register(&[Arc::from("sink")]).await.unwrap();
    channel
}

async fn put_numbers(channel: &dyn Channel, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let mut batch = foreign(n, &format!("{n} {}", "i".repeat(20_000)));
        let (key, value) = (Bytes::from_static(b"file"), Some(Bytes::from(n.to_string())));
        batch.envelope.positions.push(SourcePosition {
            source: "in".into(),
            key,
            value,
            after: None,
        });
        put(channel, batch).await.unwrap();
    }
}

/// Takes and commits up to `most` batches; their numbers.
async fn drain(channel: &dyn Channel, most: usize) -> Vec<u64> {
    let mut take = channel.begin_take("sink");
    let mut numbers = Vec::new();
    while numbers.len() < most && channel.status().events > 0 {
        let taken = timeout(PATIENCE, take.take()).await.expect("what is there can be taken");
        let taken = taken.unwrap();
        numbers.push(taken.batch.envelope.identity.unwrap().sequence.0);
        take.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    numbers
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        match from.is_dir() {
            true => copy(&from, &to),
            false => assert!(fs::copy(&from, &to).is_ok(), "{}", to.display()),
        }
    }
}

fn swap_index(channel: &Path, index_of: &Path) {
    fs::remove_dir_all(channel.join("meta")).unwrap();
    copy(&index_of.join("meta"), &channel.join("meta"));
}

/// Two moments of one channel: 0..60 stored and 10 delivered, then 0..120 stored and 70 delivered.
async fn two_moments(directory: &Path) -> (PathBuf, PathBuf) {
    let (live, early, late) =
        (directory.join("live"), directory.join("early"), directory.join("late"));
    let channel = open(&live).await;
    put_numbers(&*channel, 0..60).await;
    assert_eq!(drain(&*channel, 10).await.len(), 10);
    channel.close().await.unwrap();
    drop(channel);
    copy(&live, &early);
    let channel = open(&live).await;
    put_numbers(&*channel, 60..120).await;
    assert_eq!(drain(&*channel, 60).await.len(), 60);
    channel.close().await.unwrap();
    drop(channel);
    copy(&live, &late);
    (early, late)
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[tokio::test]
async fn an_index_that_is_older_or_newer_than_the_log_changes_nothing() {
    let dir = directory();
    let (early, late) = two_moments(dir.path()).await;
    let spare = dir.path().join("spare");
    copy(&early, &spare);
    swap_index(&early, &late);
    swap_index(&late, &spare);
    for (path, stored, left) in [(&early, 0..60, 10..60), (&late, 0..120, 70..120)] {
        let channel = open(path).await;
        assert_eq!(channel.stored(FOREIGN, Epoch(1)), IntervalSet::from(stored.clone()));
        put_numbers(&*channel, stored).await;
        let found = drain(&*channel, usize::MAX).await;
        assert_eq!(found, left.collect::<Vec<u64>>(), "{}", path.display());
        channel.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_drained_channel_without_index_still_rejects_old_identities() {
    let dir = directory();
    let path = dir.path().join("main");
    let channel = open(&path).await;
    put_numbers(&*channel, 0..60).await;
    assert_eq!(drain(&*channel, usize::MAX).await.len(), 60);
    channel.close().await.unwrap();
    drop(channel);
    fs::remove_dir_all(path.join("meta")).unwrap();
    let channel = open(&path).await;
    assert_eq!(channel.positions("in"), [(Bytes::from("file"), Bytes::from("59"))]);
    assert_eq!(channel.stored(FOREIGN, Epoch(1)), IntervalSet::from(0..60));
    put_numbers(&*channel, 0..60).await;
    assert_eq!(channel.status().events, 0);
    assert_eq!(drain(&*channel, usize::MAX).await, [0; 0]);
    channel.close().await.unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_the_index_changes_nothing() {
    let dir = directory();
    let (_, late) = two_moments(dir.path()).await;
    let files = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path.join("meta")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        files
    };
    for (nth, file) in files(&late).iter().enumerate() {
        let len = fs::metadata(file).unwrap().len() as usize;
        for flip in 0..FLIPS.min(len) {
            let copied = dir.path().join("flipped");
            let _ = fs::remove_dir_all(&copied);
            copy(&late, &copied);
            let target = &files(&copied)[nth];
            let mut bytes = fs::read(target).unwrap();
            // Most of the file is unwritten: its used bytes are at the beginning.
            let at = if flip % 2 == 0 { flip * 37 % len } else { flip * len / FLIPS };
            bytes[at] ^= 1 << (flip % 8);
            fs::write(target, bytes).unwrap();
            let channel = open(&copied).await;
            let found = drain(&*channel, usize::MAX).await;
            assert_eq!(found, (70..120).collect::<Vec<u64>>(), "byte {at} of {}", file.display());
            channel.close().await.unwrap();
        }
    }
}
