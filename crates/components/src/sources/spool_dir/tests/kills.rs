//! Kills at any moment, and channels that fail: nothing is lost or repeated in any of them.

use super::rig::{bzip2, gzip, zstd};
use super::*;
use crate::sources::narrow::Narrow;

/// The lines of a file, as text.
fn lines(file: usize, count: usize) -> String {
    (0..count).map(|line| format!("{file}-{line}\n")).collect()
}

/// Kills the source again and again, half of the times when one channel has a batch that the other
/// one lacks, and with batches of another size in each life; checks that both have `expected`.
fn survive(mut rig: Rig, mut settings: Value, expected: &[String]) {
    let is_done = |rig: &Rig| rig.names("").iter().all(|name| name.ends_with(".COMPLETED"));
    let mut lives = 0;
    while !is_done(&rig) {
        settings["batch_events"] = json!(3 + lives % 3);
        rig = rig.with(&settings);
        let before = rig.channels.events(0).len();
        if lives % 2 == 0 && before < expected.len() {
            rig.channels.refuse(1, u32::MAX);
            rig.run_until(|rig| rig.channels.events(0).len() > before);
            assert!(rig.channels.events(1).len() < rig.channels.events(0).len());
            rig.channels.refuse(1, 0);
        } else {
            // First of all the channel that lacks a batch gets it, and refuses once more.
            rig.channels.refuse(1, 1);
            let narrow = Arc::new(Narrow::new(rig.channels.clone(), 2));
            rig.run_with(narrow.clone(), |rig| narrow.asked() > 2 || is_done(rig));
        }
        lives += 1;
    }
    assert!(lives > 9, "{lives}");
    for channel in 0..2 {
        assert_eq!(rig.bodies(channel), expected, "channel {channel}");
    }
}

#[test]
fn lines_of_plain_and_compressed_files_are_read_once_over_kills_and_refusals() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for file in 0..8 {
        let text = lines(file, 20 + file);
        expected.extend(text.lines().map(str::to_owned));
        let name = format!("{file}.log");
        let bytes = match file % 4 {
            0 => text.into_bytes(),
            1 => zstd(&text),
            2 => bzip2(&text),
            _ => gzip(&text),
        };
        rig.put_aged(&name, &bytes, 100 - file as u64);
    }
    survive(rig, json!({}), &expected);
}

#[test]
fn events_of_a_file_that_is_read_in_whole_are_stored_once_over_kills_and_refusals() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for file in 0..3 {
        let bodies: Vec<String> = lines(file, 20).lines().map(str::to_owned).collect();
        let events: Vec<Value> = bodies.iter().map(|body| json!({ "body": body })).collect();
        rig.put_aged(
            &format!("{file}.json"),
            json!(events).to_string().as_bytes(),
            9 - file as u64,
        );
        expected.extend(bodies);
    }
    survive(rig, json!({ "decoder": "json" }), &expected);
}

#[test]
fn the_members_of_a_compressed_file_are_read_and_a_kind_can_be_named() {
    let rig = Rig::new(&json!({}));
    let both = [gzip("1\n2"), gzip("3\n")];
    rig.put("a.log.gz", &both.concat());
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["1", "23"]);
    let rig = rig.with(&json!({ "compression": "none", "decoder": "blob" }));
    rig.put("raw.gz", &both[0]);
    rig.run_until_renamed(2);
    let last = rig.bodies(0).pop().unwrap();
    assert_eq!(last, String::from_utf8_lossy(&both[0]));
}

#[test]
fn a_killed_source_takes_up_a_file_that_was_moved_within_the_directory() {
    let rig = Rig::new(&json!({ "batch_events": 5 }));
    rig.put("a.log", lines(0, 200).as_bytes());
    let narrow = Arc::new(Narrow::new(rig.channels.clone(), 2));
    rig.run_with(narrow.clone(), |_| narrow.asked() > 2);
    assert_eq!(rig.bodies(1).len(), 10);
    fs::rename(rig.path("a.log"), rig.path("b.log")).unwrap();
    rig.run_until_renamed(1);
    let expected: Vec<String> = lines(0, 200).lines().map(str::to_owned).collect();
    assert_eq!(rig.bodies(0), expected);
}
