//! Import of Flume's positions. Goal: each file continues at Flume's byte in every channel,
//! whatever happened to the files since and whenever the agent is killed; an unreadable position
//! file never causes a silent repetition. Method: position files in Flume's format, next to real
//! files.

use std::os::unix::fs::MetadataExt;

use super::captured_log::CapturedLog;
use super::*;

const POSITIONS: &str = "taildir_position.json";

impl Rig {
    /// Creates a rig with a position file of Flume, which `enter` writes.
    fn after_flume(more: &serde_json::Value) -> Self {
        let mut rig = Self::new(more);
        rig.settings["flume_positions"] = json!(rig.path(POSITIONS));
        rig
    }

    /// Returns Flume's entry for this file after `pos` bytes.
    fn entry(&self, name: &str, pos: u64) -> serde_json::Value {
        let path = self.path(name);
        json!({ "inode": fs::metadata(&path).unwrap().ino(), "pos": pos, "file": path })
    }

    fn enter(&self, entries: &[serde_json::Value]) {
        fs::write(self.path(POSITIONS), serde_json::to_vec(entries).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn continues_from_flumes_position_and_reads_new_files_from_the_start() {
    let rig = Rig::after_flume(&json!({}));
    rig.append("a.log", "read\nnot read\n");
    rig.append("whole.log", "read\n");
    rig.append("middle.log", "read half of a line\n");
    rig.append("none.log", "nothing read\n");
    rig.append("new.log", "new\n");
    fs::create_dir(rig.path("of-another-source")).unwrap();
    rig.append("of-another-source/b.txt", "read\nof another source\n");
    rig.enter(&[
        rig.entry("a.log", 5),
        rig.entry("whole.log", 5),
        rig.entry("middle.log", 10),
        rig.entry("none.log", 0),
        rig.entry("of-another-source/b.txt", 5),
    ]);
    let mut expected = vec!["not read", "half of a line", "nothing read", "new"];
    expected[1] = &"read half of a line"[10..];
    let running = rig.start();
    rig.expect(&expected).await;
    running.stop().await;
    // The channels have the positions now; the content of Flume's file no longer matters.
    fs::write(rig.path(POSITIONS), "[{").unwrap();
    rig.append("whole.log", "more\n");
    expected.push("more");
    let running = rig.start();
    rig.expect(&expected).await;
    running.stop().await;
}

#[tokio::test]
async fn keeps_flumes_position_after_a_kill_between_two_channels() {
    for refusing in 0..2 {
        let rig = Rig::after_flume(&json!({}));
        rig.append("a.log", "read\nnot read\n");
        rig.append("b.log", "read too\n");
        rig.append("new.log", "new\n");
        rig.enter(&[rig.entry("a.log", 5), rig.entry("b.log", 9)]);
        rig.channels.refuse(refusing, 1_000_000);
        let running = rig.start();
        rig.channels.wait_for_refusal().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        running.kill().await;
        // New lines in a channel without the notes would suggest that this is not the first start.
        assert!(rig.channels.lines().iter().all(Vec::is_empty), "{:?}", rig.channels.lines());
        assert_eq!(rig.channels.keys(0), if refusing == 0 { 0 } else { 2 });
        // The lagging channel gets a separate note and dies after it.
        rig.channels.refuse(refusing, 0);
        rig.channels.refuse(1 - refusing, 1_000_000);
        let running = rig.start();
        tokio::time::sleep(Duration::from_millis(30)).await;
        running.kill().await;
        rig.channels.refuse(1 - refusing, 0);
        let running = rig.start();
        rig.expect(&["not read", "new"]).await;
        running.stop().await;
    }
}

/// The first start is killed after one channel stored Flume's positions and the source read on;
/// only the second start stores the other channel's position.
#[tokio::test]
async fn a_channel_that_was_added_goes_on_where_flume_stood() {
    let rig = Rig::after_flume(&json!({}));
    rig.append("a.log", "read\n1\n");
    rig.append("b.log", "read too\n2\n");
    rig.enter(&[rig.entry("a.log", 5), rig.entry("b.log", 9)]);
    let running = rig.start();
    rig.expect(&["1", "2"]).await;
    running.stop().await;
    rig.channels.clear(1);
    // It lags behind the other channel, in one file more than in the other.
    rig.append("a.log", "3\n");
    let running = rig.start();
    rig.channels.wait_for_line("3").await;
    rig.expect(&["1", "2", "3"]).await;
    running.stop().await;
}

#[tokio::test]
async fn continues_a_file_renamed_since_flume_stopped() {
    for pattern in ["*.log", "*.log*"] {
        let mut rig = Rig::after_flume(&json!({ "start_at": "end" }));
        rig.settings["paths"] = json!([rig.path(pattern)]);
        rig.append("a.log", "read\nnot read\n");
        rig.append("b.log", "read by nothing\n");
        rig.enter(&[rig.entry("a.log", 5)]);
        fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.append("a.log", "read from its beginning\n");
        let running = rig.start();
        rig.expect(&["not read", "read from its beginning"]).await;
        running.stop().await;
        rig.append("a.log.1", "late\n");
        let running = rig.start();
        rig.expect(&["not read", "read from its beginning", "late"]).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn ignores_the_inode_of_another_file() {
    let rig = Rig::after_flume(&json!({}));
    rig.append("other.log", "short lines\nof another\n");
    rig.append("a.log.1", "the name of a rotated one, and no line ends there\n");
    let inode = |name: &str| fs::metadata(rig.path(name)).unwrap().ino();
    rig.enter(&[
        json!({ "inode": inode("other.log"), "pos": 12, "file": rig.path("deleted.log") }),
        json!({ "inode": inode("a.log.1"), "pos": 12, "file": rig.path("a.log") }),
    ]);
    let running = rig.start();
    rig.expect(&["short lines", "of another"]).await;
    assert_eq!(rig.anomalies("vanished_unread"), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_file_with_fewer_bytes_than_flume_read_is_read_from_its_beginning() {
    let rig = Rig::after_flume(&json!({ "start_at": "end" }));
    rig.append("a.log", "new\n");
    rig.enter(&[rig.entry("a.log", 1_000)]);
    let running = rig.start();
    rig.expect(&["new"]).await;
    assert_eq!(rig.anomalies("truncated"), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_broken_position_file_stops_the_source_and_a_missing_one_warns() {
    let rig = Rig::after_flume(&json!({}));
    rig.append("a.log", "1\n");
    for (text, problem) in [
        ("", "is empty"),
        ("[{\"inode\":1,\"pos\":2,\"file\":\"/a", "not a Flume position file"),
        ("[{\"inode\":1,\"file\":\"/a\"}]", "not a Flume position file"),
        ("[{\"inode\":1,\"pos\":-2,\"file\":\"/a\"}]", "not a Flume position file"),
    ] {
        fs::write(rig.path(POSITIONS), text).unwrap();
        let error = rig.start().task.await.unwrap().unwrap_err();
        let said = error.to_string();
        assert!(said.contains("`flume_positions`") && said.contains(problem), "{said}");
        assert!(said.contains("remove the setting"), "{said}");
    }
    assert!(rig.channels.lines().iter().all(Vec::is_empty));
    fs::remove_file(rig.path(POSITIONS)).unwrap();
    let log = CapturedLog::new();
    FlumePositions::read("in", &*env::real().disk, &rig.path(POSITIONS)).unwrap();
    let said = log.with(&["WARN", "`flume_positions` does not exist"]);
    assert_eq!(said.len(), 1, "{said:?}");
    let running = rig.start();
    rig.expect(&["1"]).await;
    running.stop().await;
}

#[tokio::test]
async fn takes_over_positions_of_many_files_in_one_batch() {
    let rig = Rig::after_flume(&json!({}));
    let names: Vec<String> = (0..500).map(|number| format!("{number}.log")).collect();
    names.iter().for_each(|name| rig.append(name, "read\n"));
    let entries: Vec<_> = names.iter().map(|name| rig.entry(name, 5)).collect();
    rig.enter(&entries);
    let running = rig.start();
    rig.expect_keys(500).await;
    rig.append("0.log", "new\n");
    rig.expect(&["new"]).await;
    running.stop().await;
    assert_eq!(rig.channels.puts(0), 2);
}
