//! Goal: clients that people use deliver their events to an agent, which forwards them.
//!
//! Method: `curl` posts to the `http` source, `logger` and a real rsyslog send to the `syslog`
//! source, over TCP with both framings and over UDP. One agent sends all of it with the `http` sink
//! to the `http` source of a second one, which stores it in files with `file_roll`. The test checks
//! those files.
//!
//! Lane: connector
//! Needs: curl gzip logger rsyslogd
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components crates/formats crates/kit crates/wire

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::Process;
use aqueduct_tests::wait;
use tempfile::TempDir;

/// Two agents in a row.
struct Chain {
    dir: TempDir,
    http: SocketAddr,
    syslog: SocketAddr,
    first: Agent,
    second: Agent,
}

impl Chain {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (http, syslog, between) = (free_address(), free_address(), free_address());
        let first = format!(
            r#"
[agent]
data_dir = "{dir}/first"
[sources.posts]
type = "http"
listen = "{http}"
channels = ["main"]
[sources.plain]
type = "syslog"
listen = ["tcp://{syslog}", "udp://{syslog}"]
channels = ["main"]
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.next]
type = "http"
url = "http://{between}/"
channel = "main"
"#,
            dir = dir.path().display()
        );
        let second = format!(
            r#"
[agent]
data_dir = "{dir}/second"
[sources.posts]
type = "http"
listen = "{between}"
channels = ["main"]
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.files]
type = "file_roll"
directory = "{dir}/files"
encoder = "json"
channel = "main"
"#,
            dir = dir.path().display()
        );
        let agent = |name: &str, text: String| {
            let mut agent = Agent::configured("aqueduct-edge", dir.path(), name, &text);
            agent.start();
            agent
        };
        let (second, first) = (agent("second", second), agent("first", first));
        wait::until("the ports to be open", Duration::from_secs(60), || {
            std::net::TcpStream::connect(http).and(std::net::TcpStream::connect(syslog)).ok()
        });
        Self { dir, http, syslog, first, second }
    }

    /// Returns every event in the files, as one line of JSON each.
    fn events(&self) -> Vec<serde_json::Value> {
        let Ok(files) = fs::read_dir(self.dir.path().join("files")) else { return Vec::new() };
        let text: String = files
            .map(|entry| fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default())
            .collect();
        let whole = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        whole.collect()
    }

    /// Waits until this many events are in the files.
    fn wait_for(&self, events: usize) -> Vec<serde_json::Value> {
        wait::until(&format!("{events} events in the files"), Duration::from_secs(60), || {
            let all = self.events();
            (all.len() >= events).then_some(all)
        })
    }

    fn stop(mut self) {
        self.first.stop(Duration::from_secs(25));
        self.second.stop(Duration::from_secs(25));
    }
}

/// Runs a client to its end; returns its output.
fn run(program: &str, arguments: &[&str], input: &[u8], dir: &Path) -> String {
    let file = dir.join("input");
    fs::write(&file, input).expect("the input is written");
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(fs::File::open(&file).expect("the input is there")))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn bodies(events: &[serde_json::Value]) -> Vec<String> {
    let mut bodies: Vec<String> =
        events.iter().map(|event| event["body"].as_str().unwrap_or_default().to_owned()).collect();
    bodies.sort();
    bodies
}

#[test]
#[ignore = "needs the programs and curl: tests/run"]
fn events_that_curl_posts_are_stored_once_each_and_bad_ones_are_refused() {
    let chain = Chain::start();
    let (url, dir) = (format!("http://{}/", chain.http), chain.dir.path());
    let status = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "@-", &url];
    let posts = 20;
    for n in 0..posts {
        let body = format!(r#"[{{"headers":{{"n":"{n}"}},"body":"a{n}"}},{{"body":"b{n}"}}]"#);
        assert_eq!(run("curl", &status, body.as_bytes(), dir), "200");
    }
    assert_eq!(run("curl", &status, b"nonsense", dir), "400");
    let gzipped = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::from(
            fs::File::open(write(dir, r#"[{"body":"zipped"}]"#)).expect("it is there"),
        ))
        .output()
        .expect("gzip runs")
        .stdout;
    let mut gzip = vec!["-H", "Content-Encoding: gzip"];
    gzip.extend(status);
    assert_eq!(run("curl", &gzip, &gzipped, dir), "200");
    let events = chain.wait_for(2 * posts + 1);
    let mut expected: Vec<String> =
        (0..posts).flat_map(|n| [format!("a{n}"), format!("b{n}")]).collect();
    expected.push("zipped".into());
    expected.sort();
    assert_eq!(bodies(&events), expected);
    chain.stop();
}

fn write(dir: &Path, text: &str) -> std::path::PathBuf {
    let file = dir.join("plain");
    fs::write(&file, text).expect("the input is written");
    file
}

#[test]
#[ignore = "needs the programs, logger and rsyslog: tests/run"]
fn messages_of_logger_and_rsyslog_arrive_with_their_parts() {
    let chain = Chain::start();
    let dir = chain.dir.path();
    let (host, port) = (chain.syslog.ip().to_string(), chain.syslog.port().to_string());
    let to = ["-n", &host, "-P", &port, "-p", "local3.warning", "-t", "app"];
    for (way, text) in [
        (&["--tcp", "--rfc5424"][..], "by tcp"),
        (&["--tcp", "--octet-count", "--rfc3164"], "counted"),
        (&["--udp", "--rfc3164"], "by udp"),
    ] {
        let arguments = [&to[..], way, &[text]].concat();
        run("logger", &arguments, b"", dir);
    }
    let socket = dir.join("log.sock");
    let configuration = format!(
        r#"
global(workDirectory="{dir}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" CreatePath="on" Unlink="on")
action(type="omfwd" target="{host}" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
       template="RSYSLOG_SyslogProtocol23Format")
"#,
        dir = dir.display(),
        socket = socket.display()
    );
    let file = dir.join("rsyslog.conf");
    fs::write(&file, configuration).expect("the configuration is written");
    let mut command = Command::new("rsyslogd");
    command.arg("-n").arg("-f").arg(&file).arg("-i").arg(dir.join("rsyslog.pid"));
    let rsyslog = Process::start("rsyslogd", command, &dir.join("rsyslog.out"));
    wait::until("rsyslog to listen", Duration::from_secs(60), || socket.exists().then_some(()));
    let socket = socket.display().to_string();
    for n in 0..100 {
        run("logger", &["-u", &socket, "-t", "app", &format!("relayed {n}")], b"", dir);
    }
    let events = chain.wait_for(103);
    assert_eq!(events.len(), 103, "each once");
    let find = |text: &str| {
        let has = |event: &&serde_json::Value| {
            event["body"].as_str().is_some_and(|body| body.ends_with(text))
        };
        events.iter().find(has).unwrap_or_else(|| panic!("{text} is there"))
    };
    for text in ["by tcp", "counted", "by udp"] {
        let headers = &find(text)["headers"];
        assert_eq!((&headers["Facility"], &headers["Severity"]), (&"19".into(), &"4".into()));
        assert!(headers["host"].is_string() && headers["timestamp"].is_string(), "{headers}");
    }
    assert_eq!(find("by tcp")["headers"]["Version"], "1");
    assert_eq!(find("relayed 99")["headers"]["Version"], "1");
    drop(rsyslog);
    chain.stop();
}
