//! The source as an agent runs it, on real files. Goal: each line enters each channel once,
//! whatever happens to files, channels and the agent. Method: an intake of two channels that keep
//! lines and positions like real ones, and fail or stall on request.

#![expect(clippy::disallowed_methods, reason = "the tests write real files")]

mod captured_log;
mod carriage;
mod files;
mod flume;
mod model;
mod multiline;
mod progress;
mod rig;
mod rotation;
mod shown;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::testkit::channels::Event;
use metrics::Metrics;
use pipeline::BuildContext;
use pipeline::testkit::build;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use rig::Rig;

/// Surveys are a minute apart: an earlier read results from a notification.
#[tokio::test]
async fn a_change_is_read_when_it_happens() {
    let rig = Rig::new(&json!({ "poll_min": "2ms", "poll_max": "60s" }));
    rig.append("a.log", "one\n");
    let running = rig.start();
    rig.expect(&["one"]).await;
    // The first surveys, which follow each other closely, are over now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (name, line) in [("a.log", "two"), ("new.log", "three"), ("a.log", "four")] {
        rig.append(name, format!("{line}\n"));
        tokio::time::timeout(Duration::from_secs(20), rig.channels_hold(line)).await.unwrap();
    }
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    rig.append("a.log", "five\n");
    tokio::time::timeout(Duration::from_secs(20), rig.channels_hold("five")).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn lines_come_as_the_bytes_they_are_with_their_file() {
    let rig = Rig::new(&json!({ "offset_header": true }));
    rig.append("a.log", b"one\r\n\n\0two\xff\nheld");
    let running = rig.start();
    rig.expect(&["one\r", "", "\0two\u{fffd}"]).await;
    rig.append("a.log", " back\n");
    rig.expect(&["one\r", "", "\0two\u{fffd}", "held back"]).await;
    running.stop().await;
    let events = rig.channels.events(0);
    let file = rig.path("a.log").display().to_string();
    let offsets: Vec<&str> = events.iter().map(|event| event.headers["offset"].as_str()).collect();
    assert_eq!(offsets, ["0", "5", "6", "12"]);
    assert!(events.iter().all(|event| event.headers["file"] == file));
}

#[tokio::test]
async fn a_line_too_long_is_cut_and_marked_and_the_next_one_is_whole() {
    let rig = Rig::new(&json!({ "line_max": "8B", "batch_bytes": "16B" }));
    rig.append("a.log", format!("before\n12345678{}\nafter\n12345678\n", "x".repeat(100_000)));
    let running = rig.start();
    rig.expect(&["before", "12345678", "after", "12345678"]).await;
    running.stop().await;
    let marked = |event: &&Event| event.headers.contains_key("truncated");
    assert_eq!(rig.channels.events(0).iter().filter(marked).count(), 1);
    assert_eq!(rig.anomalies("line_cut"), 1);
}

#[tokio::test]
async fn a_line_of_100_mb_is_cut_and_takes_no_memory() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "before\n");
    // A hole reads as NULs.
    let file = fs::File::options().write(true).open(rig.path("a.log")).unwrap();
    file.set_len(100_000_000).unwrap();
    rig.append("a.log", "\nafter\n");
    let running = rig.start();
    rig.channels.wait_for_line("after").await;
    running.stop().await;
    let lengths: Vec<usize> = rig.channels.events(0).iter().map(|event| event.body.len()).collect();
    assert_eq!(lengths, [6, 1 << 20, 5]);
}

#[tokio::test]
async fn a_file_deleted_while_the_channels_are_full_is_read_when_they_are_not() {
    let rig = Rig::new(&json!({ "metrics_per_file": true }));
    rig.channels.refuse(0, 1_000_000);
    let running = rig.start();
    // More than the source reads ahead of full channels.
    for name in ["1-a.log", "2-a.log", "3-a.log"] {
        rig.append(name, ("x".repeat(1023) + "\n").repeat(4096));
    }
    rig.channels.wait_for_refusal().await;
    rig.append("b.log", "here\n");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let behind = format!("file=\"{}\"}} 5\n", rig.path("b.log").display());
    assert!(rig.metrics.text().contains(&behind), "{}", rig.metrics.text());
    fs::remove_file(rig.path("b.log")).unwrap();
    rig.channels.refuse(0, 0);
    rig.channels.wait_for_line("here").await;
    running.stop().await;
}

#[tokio::test]
async fn counts_an_unreadable_file_once_and_reads_it_later() {
    let rig = Rig::new(&json!({}));
    // A link that leads to itself: it cannot be opened, not even by the superuser.
    symlink(rig.path("a.log"), rig.path("a.log")).unwrap();
    let running = rig.start();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(rig.anomalies("unreadable"), 1);
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.append("a.log", "1\n");
    rig.expect(&["1"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_kill_in_the_rest_of_a_long_line_does_not_make_it_a_line() {
    let rig = Rig::new(&json!({ "line_max": "8B" }));
    rig.append("a.log", "12345678xxxx");
    let running = rig.start();
    rig.expect(&["12345678"]).await;
    running.kill().await;
    rig.append("a.log", "xxxx\nnext\n");
    let running = rig.start();
    rig.expect(&["12345678", "next"]).await;
    running.stop().await;
}

#[tokio::test]
async fn reading_goes_on_where_it_stopped_however_often() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for run in 0..4 {
        let line = format!("line {run}");
        rig.append("a.log", format!("{line}\n"));
        expected.push(line);
        let running = rig.start();
        rig.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
        if run % 2 == 0 { running.stop().await } else { running.kill().await }
    }
}

#[tokio::test]
async fn files_of_the_first_start_may_begin_at_their_end_and_later_ones_do_not() {
    let rig = Rig::new(&json!({ "start_at": "end" }));
    rig.append("a.log", "old\nhalf of a");
    let running = rig.start();
    rig.channels.wait_for_positions(1).await;
    running.kill().await;
    rig.append("a.log", " line\nnew\n");
    rig.append("b.log", "from its beginning\n");
    let running = rig.start();
    rig.expect(&["new", "from its beginning"]).await;
    running.stop().await;
}

#[tokio::test]
async fn puts_missing_lines_only_into_the_channel_that_lacks_them() {
    for lagging in 0..2 {
        let rig = Rig::new(&json!({ "batch_events": 2 }));
        rig.append("a.log", "1\n2\n3\n4\n5\n");
        rig.channels.refuse(lagging, 1_000_000);
        let running = rig.start();
        rig.channels.wait_for_refusal().await;
        running.kill().await;
        rig.channels.refuse(lagging, 0);
        let running = rig.start();
        rig.expect(&["1", "2", "3", "4", "5"]).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn both_channels_get_each_line_once_after_one_failed() {
    for failing in 0..2 {
        let rig = Rig::new(&json!({ "batch_events": 3 }));
        let lines: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        rig.append("a.log", lines.join("\n") + "\n");
        rig.channels.refuse(failing, 2);
        let running = rig.start();
        rig.expect(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let in_order = rig.channels.events(failing).into_iter().map(|event| event.body);
        assert_eq!(in_order.collect::<Vec<_>>(), lines);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_busy_file_does_not_starve_a_quiet_one() {
    let rig = Rig::new(&json!({ "batch_bytes": "64KiB" }));
    rig.append("a.log", "x".repeat(99) + "\n");
    rig.append("busy.log", ("y".repeat(99) + "\n").repeat(400_000));
    rig.append("quiet.log", "here\n");
    let running = rig.start();
    rig.channels.wait_for_line("here").await;
    let before = rig.channels.events(0).iter().position(|event| event.body == "here").unwrap();
    assert!(before < 4_000, "{before} lines of the busy file came first");
    running.stop().await;
}

#[tokio::test]
async fn little_of_many_files_is_put_together_and_each_line_is_of_its_file() {
    const FILES: usize = 60;
    for failing in 0..2 {
        let rig = Rig::new(&json!({}));
        let mut lines: Vec<String> = Vec::new();
        let mut before = 0;
        for round in 0..2 {
            for file in 0..FILES {
                let long = "x".repeat(file);
                // The first read of the second round begins in the middle of a line.
                let new = (0..=file % 3).map(|line| format!("{file}.log {round} {line} {long}"));
                let new: Vec<String> = new.collect();
                let text = new.join("\n") + "\n";
                rig.append(&format!("{file}.log"), if round == 0 { &text } else { &text[1..] });
                rig.append(&format!("{file}.log"), if round == 0 { &new[0][..1] } else { "" });
                lines.extend(new);
            }
            rig.channels.refuse(failing, 2);
            let running = rig.start();
            rig.expect(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
            running.kill().await;
            let puts = rig.channels.puts(failing) - before;
            assert!(puts <= FILES / 4, "{puts} puts for {FILES} files");
            before += puts;
        }
        for event in rig.channels.events(failing) {
            let file = event.headers["file"].rsplit_once('/').unwrap().1;
            assert!(event.body.starts_with(&format!("{file} ")), "{event:?}");
        }
    }
}

#[tokio::test]
async fn files_are_put_together_as_long_as_the_next_one_fits() {
    let rig = Rig::new(&json!({}));
    for file in 0..10 {
        let lines = ("x".repeat(99) + "\n").repeat(1_999);
        rig.append(&format!("{file}.log"), format!("{lines}the end of {file}\n"));
    }
    let running = rig.start();
    for file in 0..10 {
        rig.channels.wait_for_line(&format!("the end of {file}")).await;
    }
    running.stop().await;
    // Five of 200 KB fit into a mebibyte.
    assert_eq!(rig.channels.puts(0), 2);
}

#[tokio::test]
async fn a_directory_that_comes_later_is_found() {
    let rig = Rig::new(&json!({}));
    let mut rig = rig;
    rig.settings["paths"] = json!([format!("{}/later/**/*.log", rig.directory.path().display())]);
    let running = rig.start();
    tokio::time::sleep(Duration::from_millis(20)).await;
    fs::create_dir_all(rig.path("later/deep")).unwrap();
    rig.append("later/deep/a.log", "found\n");
    rig.append("later/b.txt", "not this\n");
    rig.expect(&["found"]).await;
    running.stop().await;
}

#[tokio::test]
async fn thousands_of_files_are_followed_with_few_of_them_open() {
    let rig = Rig::new(&json!({ "open_max": 16 }));
    let mut expected = Vec::new();
    for round in 0..2 {
        for number in 0..2_000 {
            let line = format!("{number} {round}");
            rig.append(&format!("{number}-x.log"), format!("{line}\n"));
            expected.push(line);
        }
        let running = rig.start();
        rig.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
        running.stop().await;
    }
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let ours = open.filter(|entry| {
        let target = entry.as_ref().ok().and_then(|entry| fs::read_link(entry.path()).ok());
        target.is_some_and(|target| target.starts_with(rig.directory.path()))
    });
    assert_eq!(ours.count(), 0, "a source that ended holds no file");
}

#[tokio::test]
async fn shows_one_lag_and_single_files_only_on_request() {
    let rig = Rig::new(&json!({}));
    let lag_is = async |lag: u64| {
        let line = format!("aqueduct_source_lag_bytes{{source=\"in\"}} {lag}\n");
        for _ in 0..2_000 {
            if rig.metrics.text().contains(&line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no {line} in {}", rig.metrics.text());
    };
    rig.append("a.log", "1\nabc");
    rig.append("b.log", "2\nde");
    let running = rig.start();
    rig.expect(&["1", "2"]).await;
    lag_is(5).await;
    rig.append("a.log", "\n");
    rig.expect(&["1", "2", "abc"]).await;
    lag_is(2).await;
    fs::remove_file(rig.path("b.log")).unwrap();
    rig.expect(&["1", "2", "abc", "de"]).await;
    rig.expect_keys(1).await;
    lag_is(0).await;
    assert!(!rig.metrics.text().contains("tail_lag_bytes{"), "{}", rig.metrics.text());
    running.stop().await;
}

#[test]
fn a_setting_that_cannot_be_is_refused_by_name() {
    let cx = BuildContext::alone("in", std::path::Path::new("unused"), env::real());
    for (key, value, path) in [
        ("paths", json!([]), "paths"),
        ("paths", json!(["/a/../b"]), "paths.0"),
        ("exclude", json!(["[z"]), "exclude.0"),
        ("line_max", json!("0"), "line_max"),
        ("batch_bytes", json!("1GiB"), "batch_bytes"),
        ("batch_events", json!(0), "batch_events"),
        ("poll_min", json!("1s"), "poll_min"),
        ("flume_positions", json!("~/.flume/taildir_position.json"), "flume_positions"),
        ("open_max", json!(1), "open_max"),
        ("paths", json!(["/a/*.log", "~/b.log"]), "paths.1"),
        ("paths", json!("/var/log/"), "paths.0"),
        ("paths", json!(7), "paths"),
        ("paths", json!([7]), "paths.0"),
    ] {
        let mut settings = json!({ "paths": ["/a/*.log"] });
        settings[key] = value;
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, path, "{error}");
    }
}
