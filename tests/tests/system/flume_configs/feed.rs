//! The input: lines and requests on the ports of an agent, files in its directories, an agent that
//! sends by Avro or Thrift; and the next tier, which receives from its sinks.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::program;
use aqueduct_tests::flume::java;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::Process;

use super::overlay::{Local, Peer};

/// The line sent to every source.
const LINE: &str = "2026-01-02 03:04 1:2:3 hello";

/// Headers of every event with headers: they select each channel of the selectors.
const HEADERS: [(&str, &str); 2] = [("level", "ERROR"), ("State", "NY")];

/// File names that match some expression of the corpus.
const NAMES: [&str; 4] = ["access.log", "example.log", "events.json", "errors.txt"];

/// The morphline that a configuration refers to.
const MORPHLINE: &str = "morphlines : [{ id : morphline1, commands : [
  { readLine { charset : UTF-8 } }
  { grok { expressions { message : \"\"\"%{INT:nr}\"\"\" } } }
  { logDebug { format : \"{}\", args : [\"@{}\"] } }
] }]";

/// A sender to keep until the agent has stopped.
#[derive(Debug)]
pub(super) enum Sender {
    Connection { _it: TcpStream },
    Agent { _it: Process },
}

/// Starts the downstream agents, which accept everything.
pub(super) fn next_tier(dir: &Path) -> (Process, Peer) {
    let port = || free_address().port();
    let peer = Peer { avro: port(), deflate: port(), thrift: port(), http: port() };
    let Peer { avro, deflate, thrift, http } = peer;
    let text = format!(
        "n.sources = a d t h\nn.channels = c\nn.sinks = k\n\
         n.sources.a.type = avro\nn.sources.a.bind = 127.0.0.1\nn.sources.a.port = {avro}\n\
         n.sources.d.type = avro\nn.sources.d.bind = 127.0.0.1\nn.sources.d.port = {deflate}\n\
         n.sources.d.compression-type = deflate\nn.sources.d.channels = c\n\
         n.sources.t.type = thrift\nn.sources.t.bind = 127.0.0.1\nn.sources.t.port = {thrift}\n\
         n.sources.h.type = http\nn.sources.h.bind = 127.0.0.1\nn.sources.h.port = {http}\n\
         n.sources.h.handler = org.apache.flume.source.http.BLOBHandler\n\
         n.sources.a.channels = c\nn.sources.t.channels = c\nn.sources.h.channels = c\n\
         n.channels.c.type = memory\nn.channels.c.capacity = 10000\n\
         n.sinks.k.type = null\nn.sinks.k.channel = c\n"
    );
    (agent("n", &text, &dir.join("next")), peer)
}

/// Starts an agent of a Flume configuration.
fn agent(name: &str, text: &str, dir: &Path) -> Process {
    fs::create_dir_all(dir).expect("the test's own folder");
    let file = dir.join("flume.conf");
    fs::write(&file, text).expect("the test's own folder");
    let mut command = program("aqueduct");
    command.args(["agent", "-n", name, "-f"]).arg(file).arg("--data-dir").arg(dir.join("data"));
    Process::start(name, command, &dir.join("out"))
}

/// Creates directories and files before the agent starts.
pub(super) fn files(local: &Local, root: &Path) {
    let directory = |path: &str| {
        fs::create_dir_all(path).expect("the test's own folder");
        for name in NAMES {
            let file = Path::new(path).join(name);
            fs::write(file, format!("{LINE}\n")).expect("the test's own folder");
        }
    };
    for (key, value) in &local.keys {
        let parent = Path::new(value).parent().map(|it| it.display().to_string());
        if key.contains(".filegroups.") {
            directory(&parent.expect("a directory"));
        } else if key.ends_with(".spoolDir") {
            directory(value);
            // Deserializers other than `LINE` take the lines too, or set them aside.
            let golden = "../crates/formats/tests/golden/avro/null.avro";
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
            fs::copy(file, Path::new(value).join("records.avro")).expect("a file of the crate");
        } else if key.ends_with(".morphlineFile") {
            fs::create_dir_all(parent.expect("a directory")).expect("the test's own folder");
            fs::write(value, MORPHLINE).expect("the test's own folder");
        } else if key.ends_with(".credential.provider.path") {
            credentials(value, root);
        } else if key.ends_with(".command") && key.starts_with("configfilters") {
            fs::create_dir_all(parent.expect("a directory")).expect("the test's own folder");
            fs::write(value, "#!/bin/sh\necho secret-of-$1\n").expect("the test's own folder");
            fs::set_permissions(value, Permissions::from_mode(0o755)).expect("its own file");
        }
    }
    // Input of commands in the corpus.
    directory(&root.join("path").display().to_string());
    fs::create_dir_all(root.join("var/log")).expect("the test's own folder");
    fs::write(root.join("var/log/app"), format!("{LINE}\n")).expect("the test's own folder");
}

/// Creates a credential store with Hadoop, with the secret that the configuration refers to.
fn credentials(provider: &str, root: &Path) {
    let mut java = java(root);
    java.args(["org.apache.hadoop.security.alias.CredentialShell", "create", "ks_password"]);
    java.args(["-value", "secret", "-provider", provider]);
    let output = java.output().expect("java runs");
    assert!(output.status.success(), "{output:?}");
}

/// Appends to the files of every file group.
fn later_lines(local: &Local) {
    for (_, pattern) in local.keys.iter().filter(|(key, _)| key.contains(".filegroups.")) {
        let directory = Path::new(pattern).parent().expect("a directory");
        for name in NAMES {
            let file = OpenOptions::new().append(true).open(directory.join(name));
            writeln!(file.expect("a file of this test"), "{LINE}").expect("its own file");
        }
    }
}

/// Sends to each listening source.
pub(super) fn send(local: &Local, root: &Path) -> Vec<Sender> {
    let mut senders = Vec::new();
    for (name, kind) in local.all("sources") {
        let key = |key: &str| local.get("sources", name, key);
        if key("skipToEnd") == Some("true") {
            later_lines(local);
        }
        let port = match key("port") {
            Some(port) if port.contains("${") => None,
            port => port.or_else(|| key("ports")?.split_whitespace().last()),
        };
        let Some(port) = port.map(|it| it.parse::<u16>().expect("a port")) else { continue };
        let syslog = format!("<13>Jan  2 03:04:05 here app: {LINE}\n");
        match kind.as_str() {
            "netcat" => {
                let is_wide = key("encoding").is_some();
                let answers = key("ack-every-event") != Some("false");
                senders.push(by_netcat(port, is_wide, answers));
            }
            "syslogtcp" | "multiport_syslogtcp" => {
                let mut stream = connected(port);
                stream.write_all(syslog.as_bytes()).expect("a connection");
                senders.push(Sender::Connection { _it: stream });
            }
            "netcatudp" | "syslogudp" => {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                socket.send_to(syslog.as_bytes(), ("127.0.0.1", port)).expect("a datagram");
            }
            "http" => by_http(port),
            "avro" | "thrift" => {
                let compression = key("compression-type").unwrap_or("none");
                let dir = root.join(format!("sender-{name}"));
                senders.push(Sender::Agent { _it: by_agent(&kind, port, compression, &dir) });
            }
            other => panic!("nothing is sent to a source `{other}`"),
        }
    }
    senders
}

fn connected(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("localhost", port)).expect("the source listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time");
    stream
}

/// Sends a line, in UTF-16 if it `is_wide`, and reads the response if the source `answers`.
fn by_netcat(port: u16, is_wide: bool, answers: bool) -> Sender {
    let (mut stream, line) = (connected(port), format!("{LINE}\n"));
    let bytes = match is_wide {
        true => line.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        false => line.into_bytes(),
    };
    stream.write_all(&bytes).expect("a connection");
    if !answers {
        return Sender::Connection { _it: stream };
    }
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a connection"));
    reader.read_line(&mut answer).expect("an answer");
    assert_eq!(answer, "OK\n");
    Sender::Connection { _it: stream }
}

fn by_http(port: u16) {
    let headers: Vec<String> =
        HEADERS.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    let body = format!("[{{\"headers\":{{{}}},\"body\":\"{LINE}\"}}]", headers.join(","));
    let mut stream = connected(port);
    let head = "POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("a connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Starts an agent that counts, and sends with Flume's protocols.
fn by_agent(kind: &str, port: u16, compression: &str, dir: &Path) -> Process {
    let mut text = format!(
        "s.sources = r\ns.channels = c\ns.sinks = k\n\
         s.sources.r.type = seq\ns.sources.r.totalEvents = 10\ns.sources.r.channels = c\n\
         s.channels.c.type = memory\ns.channels.c.capacity = 1000\n\
         s.sinks.k.type = {kind}\ns.sinks.k.channel = c\n\
         s.sinks.k.hostname = 127.0.0.1\ns.sinks.k.port = {port}\n"
    );
    if compression != "none" {
        text.push_str(&format!("s.sinks.k.compression-type = {compression}\n"));
    }
    let names: Vec<String> = (0..HEADERS.len()).map(|at| format!("i{at}")).collect();
    text.push_str(&format!("s.sources.r.interceptors = {}\n", names.join(" ")));
    for (name, (key, value)) in names.iter().zip(HEADERS) {
        let prefix = format!("s.sources.r.interceptors.{name}");
        text.push_str(&format!(
            "{prefix}.type = static\n{prefix}.key = {key}\n{prefix}.value = {value}\n"
        ));
    }
    agent("s", &text, dir)
}
