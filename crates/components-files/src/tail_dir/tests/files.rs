//! Selection of files. Goal: the source reads exactly the files that the patterns name today, and
//! reports those that it does not read. Method: real files, restarts with other settings, and a
//! disk with few open files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::PositionIntake as _;
use pipeline::env::over::{DiskOver, FileOver};
use pipeline::env::{Disk, DiskFile, OpenMode};
use pipeline::testkit::position_context;

use super::super::tailer::Room;
use super::captured_log::CapturedLog;
use super::*;

impl Rig {
    pub(super) fn paths(&mut self, paths: &[&str]) {
        let path = |name: &&str| self.path(name).to_str().unwrap().to_owned();
        self.settings["paths"] = paths.iter().map(path).collect();
    }

    /// Reads everything, and stops.
    async fn read_all(&self, lines: &[&str]) {
        let running = self.start();
        self.expect(lines).await;
        running.stop().await;
    }

    /// Creates a tailer for manual turns, without notifications.
    pub(super) fn tailer(&self) -> Tailer {
        let config: Config = pipeline::Settings::from_json(&self.settings).read().unwrap();
        let files = recover::recover("in", &self.channels.positions("in"), None, Instant::now());
        let options = config.options().unwrap();
        Tailer::new("in".into(), options, env::real(), self.metrics.clone(), files, None)
    }
}

/// Runs a survey after a delay.
pub(super) async fn survey(tailer: &mut Tailer, after: Duration) {
    tokio::time::advance(after).await;
    tailer.schedule.soon(Instant::now());
    tailer.turn(&[], &BTreeSet::new(), Room { reads: 0, bytes: 0 });
}

#[tokio::test]
async fn resumes_a_file_that_is_matched_again() {
    for by_exclusion in [false, true] {
        let mut rig = Rig::new(&json!({}));
        let all = ["a.log", "b.log"];
        rig.paths(&all);
        all.iter().for_each(|name| rig.append(name, format!("{name} 1\n")));
        rig.read_all(&["a.log 1", "b.log 1"]).await;
        if by_exclusion {
            rig.settings["exclude"] = json!(["b.*"]);
        } else {
            rig.paths(&all[..1]);
        }
        all.iter().for_each(|name| rig.append(name, format!("{name} 2\n")));
        rig.read_all(&["a.log 1", "a.log 2", "b.log 1"]).await;
        rig.paths(&all);
        rig.settings["exclude"] = json!([]);
        rig.read_all(&["a.log 1", "a.log 2", "b.log 1", "b.log 2"]).await;
        assert_eq!(rig.channels.keys(0), 2, "no position was taken anew");
    }
}

/// One large file, and many small ones that share batches.
#[tokio::test]
async fn batches_are_cut_to_what_the_next_agents_take_from_the_next_turn_on() {
    let rig = Rig::new(&json!({}));
    let running = rig.start();
    let lines: Vec<String> = (0..3_000).map(|n| format!("line {n:0>40}")).collect();
    let all: Vec<&str> = lines.iter().map(String::as_str).collect();
    rig.append("a.log", lines[..1_000].join("\n") + "\n");
    rig.expect(&all[..1_000]).await;
    assert!(rig.channels.agree(8 << 10) > 8 << 10);
    rig.append("a.log", lines[1_000..2_000].join("\n") + "\n");
    rig.expect(&all[..2_000]).await;
    for (n, some) in lines[2_000..].chunks(10).enumerate() {
        rig.append(&format!("small-{n}.log"), some.join("\n") + "\n");
    }
    rig.expect(&all).await;
    let largest = rig.channels.agree(0);
    assert!((2_000..=8 << 10).contains(&largest), "{largest}");
    running.stop().await;
}

#[tokio::test]
async fn ignores_a_renamed_file_that_is_no_longer_matched() {
    let mut rig = Rig::new(&json!({}));
    rig.paths(&["a.log", "b.log"]);
    rig.append("b.log", "1\n");
    rig.read_all(&["1"]).await;
    rig.paths(&["a.log"]);
    rig.append("b.log", "2\n");
    fs::rename(rig.path("b.log"), rig.path("b.log.1")).unwrap();
    rig.append("a.log", "a\n");
    rig.read_all(&["1", "a"]).await;
    // Its new name is looked up again.
    rig.paths(&["a.log", "b.log.*"]);
    rig.read_all(&["1", "2", "a"]).await;
}

#[tokio::test]
async fn finishes_a_file_rotated_to_an_excluded_name_over_a_restart() {
    let rig = Rig::new(&json!({ "exclude": ["*.1", "*.2"] }));
    rig.append("a.log", "1\n");
    rig.read_all(&["1"]).await;
    rig.append("a.log", "2\n");
    fs::rename(rig.path("a.log"), rig.path("a.log.1")).unwrap();
    rig.read_all(&["1", "2"]).await;
    // Once more, with a file whose position already contains another path.
    rig.append("a.log.1", "3\n");
    fs::rename(rig.path("a.log.1"), rig.path("a.log.2")).unwrap();
    rig.read_all(&["1", "2", "3"]).await;
}

#[tokio::test]
async fn a_linked_file_that_was_cut_is_still_named_by_its_link_after_a_restart() {
    let rig = Rig::new(&json!({}));
    rig.append("target", "1 is long\n");
    symlink(rig.path("target"), rig.path("a.log")).unwrap();
    let running = rig.start();
    rig.expect(&["1 is long"]).await;
    fs::write(rig.path("target"), "2\n").unwrap();
    rig.expect(&["1 is long", "2"]).await;
    running.stop().await;
    rig.append("target", "3\n");
    rig.read_all(&["1 is long", "2", "3"]).await;
    let files: BTreeSet<_> =
        rig.channels.events(0).iter().map(|event| event.headers["file"].clone()).collect();
    assert_eq!(files, BTreeSet::from([rig.path("a.log").display().to_string()]));
}

#[tokio::test(start_paused = true)]
async fn the_position_of_an_unnamed_file_is_kept_as_long_as_it_lies_there() {
    let mut rig = Rig::new(&json!({}));
    rig.paths(&["a.log"]);
    rig.append("a.log", "1\n");
    let mut tailer = rig.tailer();
    tailer.schedule.soon(Instant::now());
    for chunk in tailer.turn(&[], &BTreeSet::new(), Room { reads: 9, bytes: 1 << 20 }) {
        (0..2).for_each(|channel| rig.channels.put(channel, &chunk.batch).unwrap());
    }
    rig.paths(&["other.log"]);
    let mut tailer = rig.tailer();
    let hour = Duration::from_secs(3601);
    for _ in 0..3 {
        survey(&mut tailer, hour).await;
        assert_eq!(tailer.files.iter().count(), 1);
    }
    fs::remove_file(rig.path("a.log")).unwrap();
    survey(&mut tailer, hour).await;
    survey(&mut tailer, hour).await;
    assert!(tailer.files.iter().all(|(_, file)| file.stage == file::Stage::Leaving));
    assert_eq!(rig.anomalies("vanished_unread"), 0, "it was not to be read");
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_read_and_shown_with_its_bytes() {
    let rig = Rig::new(&json!({}));
    let odd = |name: &[u8]| rig.directory.path().join(OsStr::from_bytes(name));
    fs::write(odd(b"\xff.log"), "1\n").unwrap();
    fs::create_dir(odd(b"d\xfe")).unwrap();
    let running = rig.start();
    rig.expect(&["1"]).await;
    // Notified by the system, then again after a rename and a restart.
    fs::rename(odd(b"\xff.log"), odd(b"\xff.log.1")).unwrap();
    fs::write(odd(b"\xff.log"), "2\n").unwrap();
    rig.expect(&["1", "2"]).await;
    running.kill().await;
    let mut file = fs::File::options().append(true).open(odd(b"\xff.log.1")).unwrap();
    file.write_all(b"3\n").unwrap();
    let running = rig.start();
    rig.expect(&["1", "2", "3"]).await;
    running.stop().await;
    let shown = format!("{}/\\xff.log", rig.directory.path().display());
    assert!(rig.channels.events(0).iter().all(|event| event.headers["file"] == shown));
    assert_eq!(rig.channels.keys(0), 2);
}

#[tokio::test]
async fn compressed_files_are_passed_over_unless_a_pattern_names_them() {
    let mut rig = Rig::new(&json!({}));
    rig.paths(&["a.log*"]);
    rig.append("a.log", "1\n");
    rig.append("a.log.2.gz", "packed\n");
    rig.append("a.log.3.zst", "packed too\n");
    rig.read_all(&["1"]).await;
    assert_eq!(rig.anomalies("compressed_passed_over"), 2);
    rig.paths(&["a.log*", "*.gz"]);
    rig.read_all(&["1", "packed"]).await;
}

#[tokio::test]
async fn links_are_followed_unless_they_are_not_to_be() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), "secret\n").unwrap();
    let rig = Rig::new(&json!({}));
    symlink(elsewhere.path().join("secret"), rig.path("s.log")).unwrap();
    fs::write(rig.path("real"), "inside\n").unwrap();
    symlink(rig.path("real"), rig.path("l.log")).unwrap();
    rig.append("a.log", "1\n");
    rig.read_all(&["1", "inside", "secret"]).await;
    assert_eq!(rig.anomalies("link_leads_out"), 1, "one link leads out of the directory");

    // A file that was followed before is not read either.
    let mut rig = rig;
    rig.settings["follow_symlinks"] = json!(false);
    for path in [elsewhere.path().join("secret"), rig.path("real"), rig.path("a.log")] {
        let mut file = fs::File::options().append(true).open(path).unwrap();
        file.write_all(b"more\n").unwrap();
    }
    rig.read_all(&["1", "inside", "more", "secret"]).await;
}

#[tokio::test]
async fn one_text_is_a_list_of_one() {
    let mut rig = Rig::new(&json!({ "exclude": "b.log" }));
    rig.settings["paths"] = json!(rig.path("*.log"));
    rig.append("a.log", "1\n");
    rig.append("b.log", "2\n");
    rig.read_all(&["1"]).await;
}

/// A disk of a process with a low limit of open files.
struct Narrow {
    below: Arc<dyn Disk>,
    open: Arc<AtomicUsize>,
    most: usize,
    said: Option<u64>,
}

struct NarrowFile(Arc<dyn DiskFile>, Arc<AtomicUsize>);

impl DiskOver for Narrow {
    fn below(&self) -> &dyn Disk {
        &*self.below
    }

    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if self.open.load(Ordering::SeqCst) >= self.most {
            return Err(io::Error::from_raw_os_error(24));
        }
        let file = self.below.open(path, mode)?;
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(NarrowFile(file, self.open.clone())))
    }

    fn open_files_max_over(&self) -> Option<u64> {
        self.said
    }
}

impl FileOver for NarrowFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.0
    }

    fn write_over(&self, buffers: &[io::IoSlice<'_>], at: u64, durable: bool) -> io::Result<()> {
        self.0.write_at(buffers, at, durable)
    }
}

impl Drop for NarrowFile {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Covers a limit that is known at the start, and one that is hit unexpectedly.
#[tokio::test]
async fn with_few_open_files_every_file_is_read() {
    for said in [Some(64), None] {
        let rig = Rig::new(&json!({}));
        let mut expected = Vec::new();
        for round in 0..2 {
            for number in 0..300 {
                let line = format!("{number} {round}");
                rig.append(&format!("{number}.log"), format!("{line}\n"));
                expected.push(line);
            }
            let mut env = env::real();
            let (below, open) = (env.disk.clone(), Arc::default());
            env.disk = Arc::new(Narrow { below, open, most: 40, said });
            let running = rig.start_in(env);
            rig.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
            // Files that grow later are read as well.
            let line = format!("later {round}");
            rig.append("7.log", format!("{line}\n"));
            expected.push(line);
            rig.expect(&expected.iter().map(String::as_str).collect::<Vec<_>>()).await;
            running.stop().await;
        }
        assert_eq!(rig.anomalies("unreadable"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_vanished_while_the_agent_was_away_is_reported_once() {
    let rig = Rig::new(&json!({}));
    for name in ["a.log", "b.log", "c.log"] {
        rig.append(name, "1\n234");
    }
    rig.append("d.log", "1\n");
    let mut tailer = rig.tailer();
    tailer.schedule.soon(Instant::now());
    for chunk in tailer.turn(&[], &BTreeSet::new(), Room { reads: 9, bytes: 1 << 20 }) {
        (0..2).for_each(|channel| rig.channels.put(channel, &chunk.batch).unwrap());
    }
    drop(tailer);
    // Delete two, one of them after it was read to the end; compress one, rename one.
    fs::remove_file(rig.path("d.log")).unwrap();
    fs::remove_file(rig.path("a.log")).unwrap();
    fs::rename(rig.path("b.log"), rig.path("b.log.1.gz")).unwrap();
    fs::write(rig.path("b.log.1.gz"), "other bytes").unwrap();
    fs::rename(rig.path("c.log"), rig.path("c.log.1")).unwrap();
    let heard = CapturedLog::new();
    let mut tailer = rig.tailer();
    survey(&mut tailer, Duration::ZERO).await;
    assert_eq!(rig.anomalies("vanished_unread"), 0, "it may be on its way");
    for _ in 0..3 {
        survey(&mut tailer, Duration::from_secs(11)).await;
    }
    assert_eq!((rig.anomalies("vanished_unread"), rig.anomalies("vanished_read")), (2, 1));
    assert_eq!(heard.with(&["INFO", "deleted", "d.log", "offset=2", "completely"]).len(), 1);
    let mut lines = heard.with(&["WARN", "deleted", "offset=2", "unread_bytes=3"]);
    // The survey visits files in the order of their inodes.
    lines.sort();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("a.log") && lines[0].contains("compressed=-"), "{lines:?}");
    assert!(lines[1].contains("b.log.1.gz"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_that_matches_nothing_is_reported_ever_more_rarely() {
    let mut rig = Rig::new(&json!({}));
    rig.paths(&["*.log", "later/*.log", "no/such/*.log", "directory"]);
    rig.append("a.log", "1\n");
    fs::create_dir(rig.path("later")).unwrap();
    fs::create_dir(rig.path("directory")).unwrap();
    let heard = CapturedLog::new();
    let mut tailer = rig.tailer();
    survey(&mut tailer, Duration::ZERO).await;
    let hint = format!("{}/*.log", rig.path("directory").display());
    assert_eq!(heard.with(&["WARN", "matches a directory", &hint]).len(), 1);
    assert_eq!(heard.with(&["no file matches"]).len(), 0);
    for _ in 0..2 * 3600 / 5 {
        survey(&mut tailer, Duration::from_secs(5)).await;
    }
    // After 10 s, 70 s, 670 s, 4,270 s.
    assert_eq!(heard.with(&["no file matches", "no/such/*.log", "does not exist"]).len(), 4);
    assert_eq!(heard.with(&["no file matches", "later/*.log", "no file in"]).len(), 4);
    assert_eq!(heard.with(&["no file matches"]).len(), 12);
    rig.append("later/b.log", "1\n");
    for _ in 0..2 {
        survey(&mut tailer, Duration::from_secs(2 * 3600)).await;
    }
    assert_eq!(heard.with(&["no file matches", "later/*.log"]).len(), 4, "it matches");
}

#[tokio::test(start_paused = true)]
async fn each_file_that_is_followed_is_named_and_of_many_how_many() {
    let rig = Rig::new(&json!({}));
    rig.append("0.log", "1\n");
    let heard = CapturedLog::new();
    let mut tailer = rig.tailer();
    survey(&mut tailer, Duration::ZERO).await;
    let inode = env::real().disk.stat(&rig.path("0.log")).unwrap().inode;
    let inode = format!("inode={inode} offset=0 why=\"new\"");
    assert_eq!(heard.with(&["INFO", "following file", "0.log", &inode]).len(), 1);
    for number in 1..100 {
        rig.append(&format!("{number}.log"), "1\n");
    }
    survey(&mut tailer, Duration::from_secs(1)).await;
    assert_eq!(heard.with(&["following file", "inode="]).len(), 10);
    assert_eq!(heard.with(&["following more files", "files=90"]).len(), 1);
}

/// Lines written after the agent is ready must not count as old.
#[tokio::test]
async fn files_are_looked_for_at_opening_so_lines_behind_it_are_new() {
    let rig = Rig::new(&json!({ "start_at": "end" }));
    rig.append("a.log", "old\n");
    let cx = BuildContext::alone("in", &rig.path("unused"), env::real());
    let mut source = build::<Config>(&rig.settings, &cx).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let cx = position_context(rig.channels.clone(), stop.clone());
    source.open(&cx).await.unwrap();
    rig.append("a.log", "new\n");
    let task = tokio::spawn(async move { source.run(cx).await });
    rig.expect(&["new"]).await;
    stop.cancel();
    task.await.unwrap().unwrap();
}
