//! Each event of each file enters each channel once, whatever happens to the agent; a bad file is
//! set aside and stops nothing.
//!
//! Method: the source as an agent runs it, on real files, with an intake of two channels that keep
//! events and positions together. A kill drops the whole runtime of a source with all its tasks.

#![expect(clippy::disallowed_methods, reason = "the tests write real files")]

mod bad;
mod kills;
mod progress;
mod rig;
mod settle;
mod split;
mod transfers;

use std::fs;

use serde_json::{Value, json};

use super::*;
use rig::Rig;

fn names(rig: &Rig) -> Vec<String> {
    rig.names("")
}

#[test]
fn files_are_read_oldest_first_and_renamed_and_events_carry_their_file() {
    let rig = Rig::new(&json!({ "file_header": "file", "basename_header": "name" }));
    rig.put_aged("b.log", b"1\n2", 30);
    rig.put_aged("c.log", b"3\r\n\n4\n", 20);
    rig.put_aged("a.log", b"5", 20 - 1);
    rig.put_aged("empty", b"", 10);
    rig.run_until_renamed(4);
    assert_eq!(rig.bodies(0), ["1", "2", "3", "4", "5"]);
    assert_eq!(rig.bodies(1), rig.bodies(0));
    let first = rig.channels.events(0).swap_remove(0);
    assert_eq!(first.headers["name"], "b.log");
    assert_eq!(first.headers["file"], rig.path("b.log").display().to_string());
    let renamed = ["a.log", "b.log", "c.log", "empty"].map(|name| format!("{name}.COMPLETED"));
    assert_eq!(names(&rig), renamed);
    assert_eq!(rig.channels.keys(0), 0, "what is finished needs no position");
}

#[test]
fn the_order_of_files_is_as_set_and_ties_go_by_name() {
    for (order, expected) in
        [("oldest", vec!["b", "c", "d", "a"]), ("youngest", vec!["a", "c", "d", "b"])]
    {
        let rig = Rig::new(&json!({ "consume_order": order, "poll_delay": "1h" }));
        for (name, age) in [("d", 20), ("a", 10), ("c", 20), ("b", 30)] {
            rig.put_aged(name, name.as_bytes(), age);
        }
        rig.run_until_renamed(4);
        assert_eq!(rig.bodies(0), expected, "{order}");
    }
    let rig = Rig::new(&json!({ "consume_order": "random" }));
    let all: Vec<String> = (10..60).map(|n: u32| n.to_string()).collect();
    all.iter().for_each(|name| rig.put(name, name.as_bytes()));
    rig.run_until_renamed(50);
    assert_ne!(rig.bodies(0), all);
    assert_eq!(rig.channels.lines()[0], all);
}

#[test]
fn only_files_that_the_patterns_name_are_read_and_directories_on_request() {
    for (recursive, read) in [(false, vec!["1"]), (true, vec!["1", "2"])] {
        let rig = Rig::new(&json!({
            "recursive": recursive, "include_pattern": ".*\\.log", "ignore_pattern": "no.*",
        }));
        rig.put_aged("a.log", b"1", 30);
        rig.put_aged("sub/deep/b.log", b"2", 20);
        for name in ["a.txt", "no.log", ".a.log", ".hid/c.log", "x.log.COMPLETED", "x.log.FAILED"] {
            rig.put(name, b"never");
        }
        std::os::unix::fs::symlink("/etc/hostname", rig.path("link.log")).unwrap();
        rig.run_until_events(read.len());
        assert_eq!(rig.bodies(0), read);
    }
}

#[test]
fn a_name_with_a_line_feed_is_read_and_patterns_match_it() {
    for pattern in [".*", ".*\\.log", "a.b\\.log"] {
        let rig = Rig::new(&json!({ "include_pattern": pattern, "ignore_pattern": "x.y" }));
        rig.put("a\nb.log", b"1\n");
        rig.put("x\ny", b"never");
        rig.run_until_renamed(1);
        assert_eq!(rig.bodies(0), ["1"], "{pattern}");
        assert_eq!(names(&rig), ["a\nb.log.COMPLETED", "x\ny"]);
    }
}

#[test]
fn a_link_in_place_of_a_file_or_of_its_directory_is_not_opened() {
    let (rig, elsewhere) = (Rig::new(&json!({ "recursive": true })), tempfile::tempdir().unwrap());
    fs::write(elsewhere.path().join("b.log"), "secret").unwrap();
    rig.put("a.log", b"1");
    rig.put("sub/b.log", b"2");
    let open = |name: &str| {
        let opened = reading::open(&*env::real().disk, &rig.path(name), &rig.options());
        opened.map(|opened| opened.head).map_err(|error| error.to_string())
    };
    assert_eq!([open("a.log"), open("sub/b.log")], [Ok(b"1".to_vec()), Ok(b"2".to_vec())]);
    // Simulates a deletion by another process between listing and opening.
    fs::remove_file(rig.path("a.log")).unwrap();
    fs::remove_dir_all(rig.path("sub")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("b.log"), rig.path("a.log")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), rig.path("sub")).unwrap();
    for name in ["a.log", "sub/b.log"] {
        let error = open(name).unwrap_err();
        assert!(error.contains("symbolic link, which is not followed"), "{error}");
    }
}

#[test]
fn a_directory_that_is_named_by_a_link_is_read() {
    let rig = Rig::new(&json!({}));
    rig.put("a.log", b"1");
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("spool");
    std::os::unix::fs::symlink(rig.path(""), &link).unwrap();
    let rig = rig.with(&json!({ "directory": link }));
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["1"]);
}

#[test]
fn completes_a_padded_gzip_file_and_sets_aside_trailing_garbage() {
    for (rest, name) in [(&[0; 9_000][..], "COMPLETED"), (&[0, 0, 7], "FAILED")] {
        let rig = Rig::new(&json!({}));
        rig.put("a.log.gz", &[&rig::gzip("1\n2\n")[..], rest].concat());
        rig.run_until(|rig| rig.path(&format!("a.log.gz.{name}")).exists());
        assert_eq!(rig.bodies(0), ["1", "2"]);
    }
}

#[test]
fn completes_a_file_as_configured() {
    let rig = Rig::new(&json!({ "delete_policy": "immediate" }));
    rig.put("a.log", b"1");
    rig.run_until(|rig| names(rig).is_empty());
    assert_eq!(rig.bodies(0), ["1"]);

    let done = tempfile::tempdir().unwrap();
    let rig = Rig::new(&json!({ "recursive": true, "completed_dir": done.path() }));
    rig.put("a.log", b"1");
    rig.put("sub/a.log", b"2");
    rig.run_until(|rig| names(rig).is_empty() && rig.names("sub").is_empty());
    assert_eq!(fs::read(done.path().join("a.log")).unwrap(), b"1");
    assert_eq!(fs::read(done.path().join("sub/a.log")).unwrap(), b"2");
}

#[test]
fn a_directory_that_is_only_read_is_read_once_by_the_positions() {
    let settings = json!({ "tracking_policy": "position" });
    let rig = Rig::new(&settings);
    for n in 0..3 {
        rig.put(&format!("{n}.log"), format!("{n}\n").as_bytes());
    }
    rig.run_until_events(3);
    rig.put("3.log", b"3\n");
    rig.run_until_events(4);
    assert_eq!(rig.channels.lines()[0], ["0", "1", "2", "3"]);
    assert_eq!(names(&rig), ["0.log", "1.log", "2.log", "3.log"]);
    // The same files with a policy that renames: known files are finished and not read again.
    let rig = rig.with(&json!({}));
    rig.run_until_renamed(4);
    assert_eq!(rig.channels.lines()[0], ["0", "1", "2", "3"]);
}

#[test]
fn the_name_of_a_finished_file_that_is_taken_gets_a_number() {
    let rig = Rig::new(&json!({}));
    rig.put("a.log.COMPLETED", b"of yesterday");
    rig.put("a.log", b"1");
    rig.run_until_renamed(2);
    assert_eq!(names(&rig), ["a.log.2.COMPLETED", "a.log.COMPLETED"]);
    assert_eq!(fs::read(rig.path("a.log.COMPLETED")).unwrap(), b"of yesterday");
    assert_eq!((rig.counted("name_taken"), rig.counted("file_set_aside")), (1, 0));
}

#[test]
fn cuts_marks_and_counts_long_lines_within_batch_limits() {
    let rig = Rig::new(&json!({ "line_max": "4B", "batch_events": 2 }));
    let long = "x".repeat(1 << 20);
    rig.put("a.log", format!("1\nabcd\r\nabcde\n2\n3\n4\n{long}\n5\n{long}").as_bytes());
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["1", "abcd", "abcd", "2", "3", "4", "xxxx", "5", "xxxx"]);
    let marked = rig.channels.events(0);
    let marked = marked.iter().map(|event| event.headers.contains_key("truncated"));
    assert_eq!(marked.filter(|is_cut| *is_cut).count(), 3);
    assert_eq!(rig.counted("line_cut"), 3);
}

#[test]
fn batches_are_cut_to_what_the_next_agents_take() {
    // A euro sign of one byte becomes three bytes.
    let cases: [(&str, &[u8]); 2] = [("UTF-8", b"0123456789"), ("windows-1252", &[0x80; 30])];
    for (charset, line) in cases {
        let rig = Rig::new(&json!({ "charset": charset }));
        rig.put("a.log", &[line, b"\n"].concat().repeat(10_000));
        rig.channels.agree(8 << 10);
        rig.run_until_renamed(1);
        let largest = rig.channels.agree(8 << 10);
        assert!(largest <= 8 << 10, "{charset}: {largest}");
        assert_eq!(rig.bodies(0).len(), 10_000);
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error_of_opening() {
    let rig = Rig::new(&json!({}));
    fs::remove_dir(rig.path("")).unwrap();
    let error = rig.open().unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("cannot read the directory /"), "{error}");
}

#[test]
fn settings_that_can_never_work_are_named() {
    let with = |name: &str, value: Value| {
        let mut settings = json!({ "directory": "/spool" });
        settings[name] = value;
        settings
    };
    let both = json!({
        "directory": "/spool", "delete_policy": "immediate", "tracking_policy": "position",
    });
    let moved = json!({
        "directory": "/spool", "delete_policy": "immediate", "completed_dir": "/done",
    });
    let bytes = json!({ "directory": "/spool", "decoder": "avro", "charset": "GBK" });
    let narrow = json!({ "directory": "/spool", "line_max": "1B", "charset": "UTF-16" });
    for (settings, named) in [
        (with("include_pattern", json!("(")), "include_pattern"),
        (with("ignore_pattern", json!("[")), "ignore_pattern"),
        (with("completed_suffix", json!("")), "completed_suffix"),
        (with("failed_suffix", json!("/x")), "failed_suffix"),
        (with("file_header", json!("")), "file_header"),
        (with("line_max", json!("17MiB")), "line_max"),
        (with("file_max", json!("0B")), "file_max"),
        (with("batch_events", json!(0)), "batch_events"),
        (with("decoder", json!("line")), "decoder"),
        (with("charset", json!("utf-17")), "charset"),
        (bytes, "charset"),
        (narrow, "line_max"),
        (both, "tracking_policy"),
        (moved, "completed_dir"),
    ] {
        assert_eq!(rig::build_error(&settings), named, "{settings}");
    }
}
