//! Goal: the first command that a newcomer runs works, and so does `--stay`.
//!
//! Method: the program `aqueduct-demo` in a child process, on files of this test.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct-demo"));
    command.args(arguments).current_dir(folder).env("TMPDIR", folder);
    command
}

#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn numbered(lines: u32) -> String {
    let mut text = String::new();
    for number in 0..lines {
        // Most lines are identical: their number counts.
        writeln!(text, "{}", if number % 3 == 0 { number } else { 7 }).unwrap();
    }
    text
}

#[test]
fn finds_every_line_once_although_a_collector_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("a [1].log"), &numbered(50_000));
    put(&dir.path().join("b.log"), "one\r\n\ntwo\nnot ended");
    let output = demo(dir.path(), &["a [1].log", "b.log"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let folder = dir.path().join("aqueduct-demo-").display().to_string();
    for expected in [
        "input  50,003 lines, ",
        "ports  five, on 127.0.0.1 only\n",
        "live page: http://127.0.0.1:",
        "kill -9 ",
        "\nread            50,003 lines\n",
        "\nstored          50,003 lines\n",
        "\nmissing              0\nrepeated             0\n",
        "\nwaiting              9 bytes",
        "\nevery line arrived exactly once\n",
        &format!("\nremove them with: rm -r {folder}"),
    ] {
        assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
    }
}

#[test]
fn stays_with_its_pages_until_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("a.log"), &numbered(5_000));
    let mut command = demo(dir.path(), &["--stay", "a.log"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut shown: Vec<String> =
        lines.by_ref().take_while(|line| !line.starts_with("press Ctrl-C")).collect();
    let pages: Vec<String> = shown
        .iter()
        .filter_map(|line| line.strip_prefix("  ")?.split_once("http://"))
        .map(|(_, address)| address.trim_end_matches('/').to_owned())
        .collect();
    assert_eq!(pages.len(), 3, "{shown:#?}");
    for address in &pages {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{address}: {answer}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    shown.extend(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown:#?}");
    assert!(shown.iter().any(|line| line == "every line arrived exactly once"), "{shown:#?}");
    assert!(shown.iter().any(|line| line == "stopped the agents"), "{shown:#?}");
    assert!(TcpStream::connect(&pages[0]).is_err(), "the edge still runs");
}

#[test]
fn removes_its_folder_when_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = demo(dir.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("live page")), "it starts");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the folder is removed");
}
