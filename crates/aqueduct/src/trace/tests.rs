//! `trace` finds a line on each hop, and reports what is no longer known.
//!
//! Method: a durable channel in a real directory, filled like a file source does. Its batches go
//! through a real ledger into files below `file://`.
#![expect(clippy::disallowed_methods, reason = "files of the test")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use channel::durable::Config as ChannelConfig;
use clap::Parser;
use pipeline::file_position::{Fingerprint, Position};
use pipeline::testkit::build;
use pipeline::{Batch, Channel, SourcePosition};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::verify::tests::deliver;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: TraceArgs,
}

async fn trace(dir: &TempDir, more: &[&str]) -> Report {
    let (data, store) = (dir.path().join("data"), format!("file://{}/logs", dir.path().display()));
    let known = ["trace", "--data-dir", data.to_str().unwrap(), "--store", &store];
    let args = Program::try_parse_from(known.iter().chain(more)).unwrap().args;
    traced(&args, &env::real()).await.unwrap()
}

/// Creates an agent whose source has read `read` lines `line N` of `access.log`, two per batch, and
/// whose sink has stored the first `stored` batches.
async fn agent(dir: &TempDir, lines: u64, read: u64, stored: u64) {
    let log = dir.path().join("access.log");
    let text: String = (0..lines).map(|n| format!("line {n}\n")).collect();
    fs::write(&log, &text).unwrap();
    let stat = fs::metadata(&log).unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("channels")).unwrap();
    fs::write(data.join("format"), "1").unwrap();
    let place = data.join("channels/main");
    let channel: Arc<dyn Channel> =
        build::<ChannelConfig>(&json!({}), &components::alone("main", &place, env::real()))
            .unwrap()
            .into();
    channel.open().await.unwrap();
    channel.register(&[Arc::from("all")]).await.unwrap();
    let mut offset = 0;
    for n in (0..read).step_by(2) {
        let bodies = [format!("line {n}"), format!("line {}", n + 1)];
        offset += bodies.iter().map(|body| body.len() as u64 + 1).sum::<u64>();
        let mut batch = Batch::of(&bodies);
        let (head, tail) = (Fingerprint::default(), Fingerprint::default());
        let (device, inode, path) = (stat.dev(), stat.ino(), log.clone());
        let position = Position { device, inode, offset, skipping: false, head, tail, path };
        batch.envelope.positions.push(SourcePosition {
            source: "access".into(),
            key: "key".into(),
            value: Some(position.encode(&log)),
            after: None,
        });
        let mut put = channel.begin_put(batch.size()).await.unwrap();
        put.put(batch);
        put.commit().await.unwrap();
    }
    deliver(&channel, dir, stored).await;
}

fn by_byte<'a>(log: &'a Path, offset: &'a str) -> [&'a str; 4] {
    ["--file", log.to_str().unwrap(), "--offset", offset]
}

#[tokio::test]
async fn line_is_found_in_its_file_its_channel_or_only_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    // Seven bytes per line: two batches are stored, one is waiting, two lines are unread.
    agent(&dir, 8, 6, 2).await;
    let log = dir.path().join("access.log");
    let delivered = trace(&dir, &by_byte(&log, "17")).await;
    let text = delivered.text();
    assert!(delivered.is_found() && text.contains("bytes 14 to 21"), "{text}");
    assert!(text.contains("source     access has read it"), "{text}");
    assert!(text.contains("delivered by"), "{text}");
    assert!(delivered.commits.iter().all(|it| it.is_committed), "{text}");
    assert_eq!((delivered.files.len(), &delivered.files[0].lines[..]), (1, &[1][..]), "{text}");
    assert!(fs::read_to_string(&delivered.files[0].path).unwrap().starts_with("line 2\n"));

    let held = trace(&dir, &by_byte(&log, "28")).await;
    let text = held.text();
    assert!(text.contains("to deliver: all") && text.contains("is not committed"), "{text}");
    assert!(held.is_found() && held.files.is_empty(), "{text}");

    // After a rename it is the same file.
    let renamed = dir.path().join("access.log.1");
    fs::rename(&log, &renamed).unwrap();
    let unread = trace(&dir, &by_byte(&renamed, "55")).await;
    let text = unread.text();
    assert!(unread.is_found() && text.contains("has NOT read it yet"), "{text}");
    assert!(unread.batches.is_empty() && unread.files.is_empty(), "{text}");

    // A different file with the same name.
    fs::write(&log, "line 2\n").unwrap();
    let other = trace(&dir, &by_byte(&log, "0")).await;
    let text = other.text();
    assert!(text.contains("no searched channel knows the file"), "{text}");
    assert!(other.batches.is_empty(), "{text}");
}

#[tokio::test]
async fn a_text_or_a_batch_leads_to_the_same_places() {
    let dir = tempfile::tempdir().unwrap();
    agent(&dir, 6, 6, 2).await;
    let by_text = trace(&dir, &["--text", "ine 5"]).await;
    assert_eq!((by_text.held.len(), by_text.files.len()), (1, 0), "{}", by_text.text());
    let batch = by_text.held[0].batch.clone();
    let by_batch = trace(&dir, &["--batch", &batch]).await;
    assert_eq!(by_batch.held, by_text.held);
    // Delivered lines are found in the store by their text.
    let stored = trace(&dir, &["--text", "line 0"]).await;
    assert_eq!((stored.held.len(), stored.files.len()), (0, 1), "{}", stored.text());
    let json: serde_json::Value = serde_json::from_str(&stored.json()).unwrap();
    assert_eq!(json["files"][0]["lines"], json!([1]));
    let nothing = trace(&dir, &["--text", "line 9"]).await;
    assert!(!nothing.is_found() && nothing.text().ends_with("NOT FOUND\n"), "{}", nothing.text());
}

#[test]
fn a_line_is_named_by_its_place_its_text_or_its_batch() {
    let parses = |more: &[&str]| Program::try_parse_from(["trace"].iter().chain(more)).is_ok();
    assert!(!parses(&[]) && !parses(&["--file", "a"]) && !parses(&["--offset", "1"]));
    assert!(!parses(&["--file", "a", "--offset", "1", "--text", "b"]));
    assert!(parses(&["--text", "b"]) && parses(&["--file", "a", "--offset", "1"]));
    assert!(!parses(&["--batch", "x"]));
}
