//! Goal: lines that `aqueduct send` reports as acknowledged are stored, even after a kill of the
//! agent. A second call that continues at the reported number stores the rest.
//!
//! Method: an agent in a child process with sources `avro`, `thrift` and `http`, a shared durable
//! channel, and files. Lines arrive slowly enough for `kill -9` in the middle.

#[allow(dead_code, reason = "a part of it is used here")]
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{Agent, command, stored, text, write};
use rustix::process::{Pid, Signal, kill_process};
use support::loopback::free_address;

struct Place {
    dir: tempfile::TempDir,
    ports: [u16; 3],
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = [(); 3].map(|()| free_address().port());
        let at = dir.path().display();
        let mut config = format!(
            "[agent]\nname = \"one\"\ndata_dir = \"{at}/data\"\ngrace = \"1s\"\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store\"\nchannel = \"main\"\n\
             encoder = \"header_and_text\"\nroll = {{ age_max = \"200ms\" }}\n"
        );
        for (kind, port) in ["avro", "thrift", "http"].iter().zip(ports) {
            config += &format!(
                "[sources.{kind}]\ntype = \"{kind}\"\nlisten = \"127.0.0.1:{port}\"\n\
                 channels = [\"main\"]\n"
            );
        }
        write(&dir.path().join("agent.toml"), &(config + "decoder = \"json\"\n"));
        Self { dir, ports }
    }

    /// Returns when its sources are open.
    fn start(&self) -> Agent {
        let config = self.dir.path().join("agent.toml").display().to_string();
        let agent = Agent::start(&["collector", "--config", &config]);
        agent.until(|| self.ports.iter().all(|it| TcpStream::connect(("127.0.0.1", *it)).is_ok()));
        agent
    }

    fn address(&self, scheme: &str, at: usize) -> String {
        format!("{scheme}://127.0.0.1:{}", self.ports[at])
    }
}

fn send(arguments: &[&str]) -> Child {
    let mut command = command(&[&["send"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs `send` with this input to its end.
fn sent(arguments: &[&str], input: &str) -> Output {
    let mut child = send(arguments);
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
    // The program may exit before it has read everything.
    let writes = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writes.join().unwrap();
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the number on standard output.
fn acknowledged(output: &Output) -> usize {
    text(output).trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

fn kill(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

fn lines(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} line {number}")).collect()
}

/// Returns the stored bodies.
fn bodies(dir: &Path) -> Vec<String> {
    let body = |line: &String| line.split_once("} ").map_or(line.clone(), |(_, it)| it.to_owned());
    let mut bodies: Vec<String> = stored(dir).iter().map(body).collect();
    bodies.sort();
    bodies
}

#[test]
fn each_protocol_brings_every_line_with_its_headers() {
    let place = Place::new();
    let agent = place.start();
    write(&place.dir.path().join("headers"), "unit = from the file\nsite = Z\\u00fcrich\n");
    let headers = place.dir.path().join("headers").display().to_string();
    let mut all = Vec::new();
    for (at, scheme) in ["avro", "thrift", "http"].iter().enumerate() {
        let address = place.address(scheme, at);
        let lines = lines(scheme, 1_234);
        let more = ["--header-file", &headers, "--header", "unit=nginx", "--batch", "50"];
        let output = sent(&[&[&*address], &more[..]].concat(), &(lines.join("\n") + "\n"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(acknowledged(&output), 1_234);
        assert!(said(&output).contains("1234 lines are acknowledged by "), "{output:?}");
        all.extend(lines);
    }
    all.sort();
    agent.until(|| stored(place.dir.path()).len() >= all.len());
    assert_eq!(bodies(place.dir.path()), all);
    let with = |line: &String| line.contains("unit=nginx") && line.contains("site=Zürich");
    assert!(stored(place.dir.path()).iter().all(with));
    agent.stop();
}

#[test]
fn lines_acknowledged_before_a_kill_are_stored_and_skip_resumes() {
    let place = Place::new();
    let address = place.address("avro", 0);
    let lines = lines("killed", 4_000);
    let mut agent = place.start();
    let mut child = send(&[&address, "--batch", "10"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut pieces = lines.chunks(100).map(|piece| piece.join("\n") + "\n");
    for piece in pieces.by_ref().take(20) {
        stdin.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    agent.until(|| stored(place.dir.path()).len() > 300);
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    // The program exits by itself; the pipe breaks.
    let _ = pieces.try_for_each(|piece| stdin.write_all(piece.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let (first, told) = (acknowledged(&output), said(&output));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!((300..4_000).contains(&first), "{told}");
    assert!(told.contains(&format!("resume with --skip {first}")), "{told}");

    let agent = place.start();
    let is_there = |wanted: &[String]| {
        let there: BTreeSet<String> = bodies(place.dir.path()).into_iter().collect();
        wanted.iter().all(|line| there.contains(line))
    };
    agent.until(|| is_there(&lines[..first]));
    let rest = sent(&[&address, "--skip", &first.to_string()], &lines.join("\n"));
    assert_eq!((rest.status.code(), acknowledged(&rest)), (Some(0), 4_000), "{rest:?}");
    agent.until(|| is_there(&lines));
    let repeated = bodies(place.dir.path()).len() - lines.len();
    assert!(repeated <= 10, "only the batch in doubt may be there twice: {repeated}");
    agent.stop();
}

#[test]
fn a_signal_ends_it_with_its_number_and_a_slow_line_waits_for_no_other() {
    let place = Place::new();
    let agent = place.start();
    let mut child = send(&[&place.address("avro", 0)]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"only one\nand half").unwrap();
    agent.until(|| bodies(place.dir.path()) == ["only one"]);
    kill(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), acknowledged(&output)), (Some(1), 1), "{output:?}");
    assert!(said(&output).starts_with("stopped by SIGTERM\n"), "{output:?}");
    drop(stdin);
    agent.stop();
}

#[test]
fn a_source_that_is_not_there_or_refuses_leaves_nothing_acknowledged() {
    let place = Place::new();
    let address = place.address("avro", 0);
    let output = sent(&[&address], "a\nb\n");
    assert_eq!((output.status.code(), acknowledged(&output)), (Some(1), 0), "{output:?}");
    for wanted in ["cannot connect to 127.0.0.1:", "refused", "0 lines are acknowledged"] {
        assert!(said(&output).contains(wanted), "{wanted}: {output:?}");
    }
    assert!(!said(&output).contains("may be stored"), "{output:?}");
    let agent = place.start();
    // The target is not an HTTP source.
    let output = sent(&[&place.address("avro", 2)], "a\n");
    assert_eq!((output.status.code(), acknowledged(&output)), (Some(1), 0), "{output:?}");
    let output = sent(&[&address, "--skip", "5"], "a\nb\n");
    assert!(said(&output).contains("standard input has only 2 lines"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    agent.stop();
}

#[test]
fn the_avro_client_of_flumes_script_sends_a_file() {
    let place = Place::new();
    let agent = place.start();
    let (dir, port) = (place.dir.path(), place.ports[0].to_string());
    write(&dir.join("a.log"), "one\ntwo\n");
    write(&dir.join("my.headers"), "unit = shim\n");
    write(&dir.join("rpc.properties"), &format!("hosts = h\nhosts.h = 127.0.0.1:{port}\n"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/flume-ng");
    for to in [&["-H", "127.0.0.1", "-p", &port][..], &["-P", "rpc.properties"]] {
        let mut client = Command::new(&script);
        client.arg("avro-client").args(to).args(["-F", "a.log", "-R", "my.headers"]);
        client.current_dir(dir).env("AQUEDUCT_PROGRAM", env!("CARGO_BIN_EXE_aqueduct"));
        let output = client.output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
    agent.until(|| bodies(dir) == ["one", "one", "two", "two"]);
    assert!(stored(dir).iter().all(|line| line.contains("unit=shim")));
    agent.stop();
}
