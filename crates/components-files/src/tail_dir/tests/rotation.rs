//! Rotation of files in different ways.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use pipeline::env::over::{DiskOver, FileOver};
use pipeline::env::{Disk, DiskFile, OpenMode};

use super::*;

/// A disk that reports when the system frees a deleted file, and is slow to do so.
struct SlowToFree {
    below: Arc<dyn Disk>,
    freeing: Sender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

struct SlowFile {
    below: Arc<dyn DiskFile>,
    freeing: Sender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl DiskOver for SlowToFree {
    fn below(&self) -> &dyn Disk {
        &*self.below
    }

    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let below = self.below.open(path, mode)?;
        let (freeing, go_on) = (self.freeing.clone(), self.go_on.clone());
        Ok(Arc::new(SlowFile { below, freeing, go_on }))
    }
}

impl FileOver for SlowFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.below
    }

    fn write_over(&self, buffers: &[IoSlice<'_>], at: u64, durable: bool) -> io::Result<()> {
        self.below.write_at(buffers, at, durable)
    }
}

impl Drop for SlowFile {
    fn drop(&mut self) {
        if self.below.stat().is_ok_and(|stat| stat.links == 0) {
            // The test may be over.
            let _ = self.freeing.send(());
            let _ = self.go_on.lock().unwrap().recv();
        }
    }
}

#[tokio::test]
async fn while_the_system_frees_a_deleted_file_other_files_are_read() {
    let (freeing, freed) = channel();
    let (go_on, told) = channel();
    let mut env = env::real();
    let go_on_told = Arc::new(Mutex::new(told));
    env.disk = Arc::new(SlowToFree { below: env.disk, freeing, go_on: go_on_told });
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\n");
    let running = rig.start_in(env);
    rig.expect(&["1"]).await;
    fs::remove_file(rig.path("a.log")).unwrap();
    while freed.try_recv().is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.append("b.log", "2\n");
    rig.expect(&["1", "2"]).await;
    drop(go_on);
    running.stop().await;
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_whether_its_name_matches_or_not() {
    for rotated in ["a.log.1", "z.log"] {
        let rig = Rig::new(&json!({}));
        rig.append("a.log", "1\n");
        let running = rig.start();
        rig.expect(&["1"]).await;
        rig.append("a.log", "2\n");
        fs::rename(rig.path("a.log"), rig.path(rotated)).unwrap();
        rig.append("a.log", "new\n");
        rig.append(rotated, "3\n");
        rig.expect(&["1", "2", "3", "new"]).await;
        running.stop().await;
        assert_eq!(rig.anomalies("truncated"), 0);
    }
}

/// The source shares the test's thread, so that no survey runs between the changes.
#[tokio::test]
async fn a_file_that_came_and_was_renamed_before_anybody_looked_is_read() {
    let rig = Rig::new(&json!({ "poll_max": "60s" }));
    rig.append("a.log", "1\n");
    let running = rig.start();
    rig.expect(&["1"]).await;
    // Every change is notified now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (line, further) in [("2\n", "a.log.2"), ("3\n", "a.log.3"), ("4\n", "a.log.4")] {
        fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.append("a.log", line);
        fs::rename(rig.path("a.log.1"), rig.path(further)).unwrap();
    }
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    // A file that never had a matching name is not read.
    rig.append("candidate", "not asked for\n");
    fs::rename(rig.path("candidate"), rig.path("candidate.1")).unwrap();
    rig.append("a.log", "5\n");
    rig.append("a.log.1", "4, by a writer that still had it open\n");
    rig.expect(&["1", "2", "3", "4", "4, by a writer that still had it open", "5"]).await;
    running.stop().await;
}

#[tokio::test]
async fn ignores_a_file_renamed_from_a_path_that_is_too_long() {
    let mut rig = Rig::new(&json!({ "poll_max": "60s" }));
    let mut deep = rig.path("d");
    while deep.as_os_str().len() < 3_800 {
        deep.push("d".repeat(200));
    }
    // The system still accepts a path of this length.
    deep.push("d".repeat(4_060 - deep.as_os_str().len()));
    fs::create_dir_all(&deep).unwrap();
    rig.settings["paths"] = json!([rig.path("*.log"), deep.join("*.log")]);
    rig.append("a.log", "1\n");
    let running = rig.start();
    rig.expect(&["1"]).await;
    // Every change is notified now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::write(deep.join("b.log"), "it cannot be noted where this stands\n").unwrap();
    fs::rename(deep.join("b.log"), rig.path("b")).unwrap();
    rig.append("c.log", "2\n");
    rig.expect(&["1", "2"]).await;
    running.stop().await;
    assert_eq!(rig.anomalies("unreadable"), 1);
}

#[tokio::test]
async fn a_file_renamed_while_the_agent_is_down_is_read_to_its_end() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\n");
    let running = rig.start();
    rig.expect(&["1"]).await;
    running.kill().await;
    rig.append("a.log", "2\n");
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    rig.append("a.log", "new\n");
    let running = rig.start();
    rig.expect(&["1", "2", "new"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_copy_and_its_cut_original_neither_lose_nor_repeat_a_line() {
    for (copy, down) in
        [("a.log.1", false), ("a-1.log", false), ("a.log.1", true), ("a-1.log", true)]
    {
        let rig = Rig::new(&json!({}));
        rig.append("a.log", "1 a line\n");
        let running = rig.start();
        rig.expect(&["1 a line"]).await;
        if down {
            running.kill().await;
            rig.append("a.log", "2\n");
            fs::copy(rig.path("a.log"), rig.path(copy)).unwrap();
            fs::write(rig.path("a.log"), "3 which is longer than what was there\n").unwrap();
            let running = rig.start();
            rig.expect(&["1 a line", "2", "3 which is longer than what was there"]).await;
            running.stop().await;
            continue;
        }
        rig.append("a.log", "2\n");
        fs::copy(rig.path("a.log"), rig.path(copy)).unwrap();
        rig.expect(&["1 a line", "2"]).await;
        fs::write(rig.path("a.log"), "3 which is longer than what was there\n").unwrap();
        rig.expect(&["1 a line", "2", "3 which is longer than what was there"]).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_truncated_file_is_read_from_its_beginning() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\n2\n");
    let running = rig.start();
    rig.expect(&["1", "2"]).await;
    fs::write(rig.path("a.log"), "3\n").unwrap();
    rig.expect(&["1", "2", "3"]).await;
    fs::write(rig.path("a.log"), "4 longer\n").unwrap();
    rig.expect(&["1", "2", "3", "4 longer"]).await;
    running.stop().await;
    assert_eq!(rig.anomalies("truncated"), 2);
}

#[tokio::test]
async fn shows_the_lag_of_a_truncated_file() {
    let rig = Rig::new(&json!({ "metrics_per_file": true }));
    rig.append("a.log", "1\n2\n");
    let running = rig.start();
    rig.expect(&["1", "2"]).await;
    fs::write(rig.path("a.log"), "3\n").unwrap();
    rig.expect(&["1", "2", "3"]).await;
    assert_eq!(rig.channels.keys(0), 2, "what it was is still looked for");
    rig.expect_keys(1).await;
    rig.append("a.log", "4\n");
    rig.expect(&["1", "2", "3", "4"]).await;
    running.stop().await;
    assert!(rig.metrics.text().contains("/a.log\"} 0\n"), "{}", rig.metrics.text());
}

#[tokio::test]
async fn detects_a_rewritten_file_by_its_head_and_its_last_bytes() {
    let alike = "the same line again\n".repeat(80);
    for (before, after) in [("first\n", "other\n"), ("", "")] {
        let rig = Rig::new(&json!({}));
        // Equal before the position; if that is empty, equal at the beginning.
        let old = format!("{before}{alike}{}", if before.is_empty() { "old\n" } else { "" });
        let new = format!("{after}{alike}the longer new end\n");
        rig.append("a.log", &old);
        let running = rig.start();
        let mut expected: Vec<&str> = old.lines().collect();
        rig.expect(&expected).await;
        fs::write(rig.path("a.log"), &new).unwrap();
        expected.extend(new.lines());
        rig.expect(&expected).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_deleted_file_is_read_to_its_end_and_then_forgotten() {
    let rig = Rig::new(&json!({ "late_line_after": "1s", "metrics_per_file": true }));
    rig.append("a.log", "1\n");
    let running = rig.start();
    rig.expect(&["1"]).await;
    assert!(rig.metrics.text().contains("tail_lag_bytes{"), "{}", rig.metrics.text());
    let mut writer = fs::File::options().append(true).open(rig.path("a.log")).unwrap();
    fs::remove_file(rig.path("a.log")).unwrap();
    writer.write_all(b"2\n").unwrap();
    rig.expect(&["1", "2"]).await;
    writer.write_all(b"late").unwrap();
    rig.expect(&["1", "2", "late"]).await;
    rig.expect_keys(0).await;
    assert!(!rig.metrics.text().contains("tail_lag_bytes{"), "{}", rig.metrics.text());
    running.stop().await;
}

#[tokio::test]
async fn a_name_given_to_another_file_is_another_file() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\n2\n");
    let running = rig.start();
    rig.expect(&["1", "2"]).await;
    running.stop().await;
    fs::remove_file(rig.path("a.log")).unwrap();
    // Most file systems reuse the inode immediately.
    rig.append("a.log", "another\nfile\n");
    let running = rig.start();
    rig.expect(&["1", "2", "another", "file"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_last_line_without_an_end_counts_once_its_file_was_rotated() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "1\nlast");
    let running = rig.start();
    rig.expect(&["1"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig.expect(&["1"]).await;
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    rig.expect(&["1", "last"]).await;
    running.stop().await;
    assert_eq!(rig.anomalies("late_line"), 1);
}

#[tokio::test]
async fn several_names_of_a_file_are_one_file() {
    let rig = Rig::new(&json!({}));
    rig.append("real.log", "1\n");
    symlink(rig.path("real.log"), rig.path("a.log")).unwrap();
    fs::hard_link(rig.path("real.log"), rig.path("z.log")).unwrap();
    let running = rig.start();
    rig.expect(&["1"]).await;
    fs::remove_file(rig.path("a.log")).unwrap();
    rig.append("z.log", "2\n");
    rig.expect(&["1", "2"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_link_that_is_turned_to_another_file_follows_both() {
    let rig = Rig::new(&json!({}));
    rig.append("one.data", "1\n");
    rig.append("two.data", "2\n");
    symlink(rig.path("one.data"), rig.path("a.log")).unwrap();
    let running = rig.start();
    rig.expect(&["1"]).await;
    fs::remove_file(rig.path("a.log")).unwrap();
    symlink(rig.path("two.data"), rig.path("a.log")).unwrap();
    rig.append("one.data", "1 late\n");
    rig.expect(&["1", "1 late", "2"]).await;
    running.stop().await;
}

#[tokio::test]
async fn a_link_turned_while_the_agent_is_down_does_not_hide_what_it_led_to() {
    let rig = Rig::new(&json!({}));
    fs::create_dir(rig.path("real")).unwrap();
    rig.append("real/0.data", "1\nhe");
    symlink(rig.path("real/0.data"), rig.path("a.log")).unwrap();
    let running = rig.start();
    rig.expect(&["1"]).await;
    // A link is not a rotation: the source waits for the rest of the line.
    tokio::time::sleep(Duration::from_millis(120)).await;
    rig.append("real/0.data", "re\n");
    rig.expect(&["1", "here"]).await;
    running.kill().await;
    rig.append("real/0.data", "2\n");
    fs::rename(rig.path("real/0.data"), rig.path("real/0.data.old")).unwrap();
    rig.append("real/0.data", "3\n");
    let running = rig.start();
    rig.expect(&["1", "here", "2", "3"]).await;
    running.stop().await;
    assert!(rig.channels.events(0).iter().all(|event| event.headers["file"].ends_with("a.log")));
}

#[tokio::test]
async fn two_files_that_begin_alike_are_both_read_in_full() {
    let rig = Rig::new(&json!({}));
    rig.append("a.log", "the same banner\n");
    rig.append("a.log.2.log", "the same banner\n");
    let running = rig.start();
    rig.channels.wait_for_line("the same banner").await;
    rig.append("a.log", "first\n");
    rig.append("a.log.2.log", "second\n");
    rig.expect(&["the same banner", "the same banner", "first", "second"]).await;
    running.stop().await;
}

/// An application that repeats the same line without a time.
#[tokio::test]
async fn reads_each_identical_line_despite_rotation() {
    const LINES: usize = 300; // more than what a file is recognised by
    for (rotated, down) in
        [("a.log.1", false), ("a_1.log", false), ("a.log.1", true), ("a_1.log", true)]
    {
        let rig = Rig::new(&json!({}));
        rig.append("a.log", "alike\n".repeat(LINES));
        let mut running = rig.start();
        rig.expect(&["alike"; LINES]).await;
        if down {
            running.kill().await;
            fs::rename(rig.path("a.log"), rig.path(rotated)).unwrap();
            rig.append("a.log", "alike\n".repeat(2 * LINES));
            running = rig.start();
        } else {
            fs::rename(rig.path("a.log"), rig.path(rotated)).unwrap();
            rig.append("a.log", "alike\n");
            rig.expect(&["alike"; LINES + 1]).await;
            rig.append("a.log", "alike\n".repeat(2 * LINES - 1));
        }
        rig.expect(&["alike"; 3 * LINES]).await;
        running.stop().await;
        assert_eq!(rig.anomalies("copy_held_back"), 0);
    }
}
