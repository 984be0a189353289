//! Goal: events that a Flume agent has acknowledged but not delivered are in our channel, once.
//!
//! Method: a real Flume 1.11 with a file channel in two directories receives lines from netcat
//! clients, which note each `OK`. It is killed with -9, restarted with a sink that delivers a part,
//! killed again, and again while it is filled. `aqueduct channel import-flume`, which is killed
//! several times itself, imports the directory: from the checkpoint, from its backup, and from all
//! logs. The result must equal what a Flume started on a copy of the directory delivers.
//!
//! Lane: flume
//! Needs: java mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/flume-channel crates/channel crates/flume

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::program;
use aqueduct_tests::flume::Flume;
use aqueduct_tests::store::counted;
use aqueduct_tests::{http, wait};

/// Long enough for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How often each line occurs.
type Lines = BTreeMap<String, usize>;

/// Returns a netcat source and a file channel in `dir`, with a sink that writes files into `out`.
fn properties(port: u16, dir: &Path, out: Option<&Path>) -> String {
    let dir = dir.display();
    let sink = out.map_or(String::new(), |out| {
        format!(
            "a.sinks = k\na.sinks.k.type = file_roll\na.sinks.k.channel = c\n\
             a.sinks.k.sink.directory = {}\na.sinks.k.sink.rollInterval = 0\n\
             a.sinks.k.sink.batchSize = 3\n",
            out.display()
        )
    });
    format!(
        "a.sources = s\na.channels = c\n\
         a.sources.s.type = netcat\na.sources.s.bind = 127.0.0.1\na.sources.s.port = {port}\n\
         a.sources.s.channels = c\n\
         a.channels.c.type = file\na.channels.c.checkpointDir = {dir}/checkpoint\n\
         a.channels.c.dataDirs = {dir}/data1,{dir}/data2\na.channels.c.capacity = 50000\n\
         a.channels.c.useDualCheckpoints = true\na.channels.c.backupCheckpointDir = {dir}/backup\n\
         a.channels.c.compressBackupCheckpoint = true\na.channels.c.checkpointInterval = 1000\n\
         a.channels.c.minimumRequiredSpace = 1048576\n{sink}"
    )
}

/// Sends lines until the source is gone; returns the acknowledged ones.
fn send(source: SocketAddr, name: String) -> thread::JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut acknowledged = Vec::new();
        let stream = wait::until("the netcat source", LIMIT, || TcpStream::connect(source).ok());
        let mut answers = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
        for number in 0.. {
            let line = format!("{name} {number:06}");
            if (&stream).write_all(format!("{line}\n").as_bytes()).is_err() {
                break;
            }
            match answers.next() {
                Some(Ok(answer)) if answer == "OK" => acknowledged.push(line),
                _ => break,
            }
        }
        acknowledged
    })
}

fn lines_below(out: &Path) -> Lines {
    let mut lines = Lines::new();
    for file in fs::read_dir(out).expect("the sink's folder").flatten() {
        let bytes = fs::read(file.path()).expect("a file of the sink");
        // The last line may be truncated by a kill: it was not committed.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    lines
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(done.expect("cp runs").success());
}

/// Returns the import command with these arguments.
fn import(dir: &Path, into: &Path, more: &[&str]) -> Command {
    let mut command = program("aqueduct");
    command.args(["channel", "import-flume"]).arg(dir).arg("--into").arg(into).args(more);
    for data in ["data1", "data2"] {
        command.arg("--data").arg(dir.join(data));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
        + String::from_utf8_lossy(&output.stderr).as_ref()
}

/// Imports, and returns the content of the channel.
fn imported(dir: &Path, into: &Path, more: &[&str], said: &str) -> Lines {
    // Killed at increasing delays after it started to store: before, within or after a batch.
    for wait_ms in [0, 2, 4, 8, 16, 32] {
        let mut child = import(dir, into, more).spawn().expect("the program starts");
        let is_storing = || into.join("channels/main/LOCK").exists().then_some(());
        wait::until("the channel to be opened", LIMIT, is_storing);
        thread::sleep(Duration::from_millis(wait_ms));
        // It may have exited by itself.
        let _ended = child.kill();
        child.wait().expect("it ends");
        let _none = fs::remove_file(into.join("channels/main/LOCK"));
    }
    let output = import(dir, into, more).output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(said), "{said} in: {}", text(&output));
    let export = program("aqueduct")
        .args(["channel", "export"])
        .arg(into.join("channels/main"))
        .output()
        .expect("the program starts");
    assert!(export.status.success(), "{}", text(&export));
    counted(String::from_utf8(export.stdout).expect("UTF-8").lines())
}

#[test]
#[ignore = "needs the programs and Flume: tests/run"]
fn events_of_a_killed_flume_agent_are_imported_once() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (channel, out) = (dir.path().join("channel"), dir.path().join("out"));
    fs::create_dir_all(&out).expect("a folder");
    let source = http::free_address();
    let clients = |run: &str| -> Vec<_> {
        (0..3).map(|client| send(source, format!("{run}-{client}"))).collect()
    };

    // Filled, and killed meanwhile.
    let flume = Flume::start("a", &properties(source.port(), &channel, None), dir.path());
    let sending = clients("first");
    let count = || flume.counter("CHANNEL.c", "ChannelSize").filter(|size| *size > 3000);
    wait::until("a filled channel", LIMIT, count);
    let refused = import(&channel, &dir.path().join("none"), &[]).output().expect("it starts");
    assert!(text(&refused).contains("stop the Flume agent first"), "{}", text(&refused));
    flume.kill();
    let mut acknowledged: Vec<String> = Vec::new();
    sending.into_iter().for_each(|it| acknowledged.extend(it.join().expect("a client")));

    // A part is delivered, more events arrive, and it is killed again.
    let flume = Flume::start("a", &properties(source.port(), &channel, Some(&out)), dir.path());
    let sending = clients("second");
    let delivered = || (lines_below(&out).len() > 500).then_some(());
    wait::until("a part of it to be delivered", LIMIT, delivered);
    flume.kill();
    sending.into_iter().for_each(|it| acknowledged.extend(it.join().expect("a client")));
    let delivered = lines_below(&out);

    // Everything may have been delivered, but some events must be left.
    let flume = Flume::start("a", &properties(source.port(), &channel, None), dir.path());
    let sending = clients("third");
    let count = || flume.counter("CHANNEL.c", "ChannelSize").filter(|size| *size > 2000);
    wait::until("a channel with something in it", LIMIT, count);
    flume.kill();
    sending.into_iter().for_each(|it| acknowledged.extend(it.join().expect("a client")));

    // Deliver with Flume itself, for comparison.
    let (twin, twin_out) = (dir.path().join("twin"), dir.path().join("twin-out"));
    fs::create_dir_all(&twin_out).expect("a folder");
    copy(&channel, &twin);
    let flume = Flume::start("a", &properties(source.port(), &twin, Some(&twin_out)), dir.path());
    let empty = || {
        let taken = flume.counter("CHANNEL.c", "EventTakeSuccessCount").filter(|taken| *taken > 0);
        flume.counter("CHANNEL.c", "ChannelSize").filter(|size| *size == 0 && taken.is_some())
    };
    wait::until("the twin to be empty", LIMIT, empty);
    flume.kill();
    let expected = lines_below(&twin_out);

    let backup = channel.join("backup").display().to_string();
    let backup = ["--backup-checkpoint", &backup];
    let lines = imported(&channel, &dir.path().join("into-1"), &backup, "events put");
    assert_eq!(lines, expected, "from the checkpoint, unless the agent ended while writing it");
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|line| !lines.contains_key(*line) && !delivered.contains_key(*line))
        .collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    assert!(lines.values().all(|count| *count == 1) && lines.len() > 1000, "{}", lines.len());

    fs::remove_file(channel.join("checkpoint/checkpoint.meta")).expect("it is there");
    let lines = imported(&channel, &dir.path().join("into-2"), &backup, "backup");
    assert_eq!(lines, expected, "from the backup checkpoint");
    let all = ["--no-checkpoint"];
    let lines = imported(&channel, &dir.path().join("into-3"), &all, "all logs are read");
    assert_eq!(lines, expected, "from all logs");
}
