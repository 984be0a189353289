//! Goal: failures are visible to an operator, and nothing outside stops an agent: unrelated
//! signals, an unread standard error, clients of its admin pages.
//!
//! Method: an agent in a child process tails a file into a store of files. The tests read what an
//! operator reads: `/readyz`, `/metrics`, the log, exit codes.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::loopback::free_address;

const PATIENCE: Duration = Duration::from_secs(60);

/// Capacity of a pipe.
const PIPE_BYTES: usize = 64 << 10;

struct Place {
    dir: tempfile::TempDir,
    admin: u16,
    listen: u16,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (admin, listen) = (free_address().port(), free_address().port());
        let place = Self { dir, admin, listen };
        let at = place.dir.path().display();
        let config = format!(
            "[agent]\ndata_dir = \"{at}/data\"\nadmin = \"127.0.0.1:{admin}\"\ngrace = \"5s\"\n\
             [sources.edges]\ntype = \"grpc\"\nlisten = \"127.0.0.1:{listen}\"\n\
             channels = [\"main\"]\n\
             [sources.files]\ntype = \"tail_dir\"\npaths = [\"{at}/in.log\"]\n\
             channels = [\"main\"]\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store\"\nchannel = \"main\"\n\
             roll = {{ age_max = \"200ms\" }}\n"
        );
        fs::write(place.path("agent.toml"), config).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
        command.args(["collector", "--config"]).arg(self.path("agent.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).env_remove("RUST_LOG");
        command
    }

    fn start(&self, stderr: impl Into<Stdio>) -> Agent {
        Agent { child: self.command().stderr(stderr).spawn().unwrap(), admin: self.admin }
    }

    /// Starts the agent with its log in a file.
    fn start_logged(&self) -> Agent {
        self.start(fs::File::create(self.path("log")).unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    fn append(&self, line: &str) {
        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(self.path("in.log")).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn is_stored(&self, line: &str) -> bool {
        let entries = fs::read_dir(self.path("store")).into_iter().flatten();
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        files.into_iter().any(|path| {
            fs::read_to_string(path).unwrap_or_default().lines().any(|stored| stored == line)
        })
    }
}

struct Agent {
    child: Child,
    admin: u16,
}

impl Agent {
    /// Returns status and body of a page, or `None` if it does not answer.
    fn get(&self, page: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request =
            format!("GET {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    fn readiness(&self) -> (u16, String) {
        self.get("/readyz").unwrap_or_default()
    }

    fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics")?.1;
        text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
    }

    /// Waits until a condition is true.
    fn until(&self, so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !so(self) {
            assert!(began.elapsed() < PATIENCE, "it takes too long: {:?}", self.readiness());
            sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    }

    fn end(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(20));
        }
    }

    fn stop(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.end().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The process has already exited, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn agent_is_not_ready_while_its_port_is_in_use() {
    let place = Place::new();
    let other = TcpListener::bind(("127.0.0.1", place.listen)).unwrap();
    let agent = place.start_logged();
    agent.until(|agent| agent.readiness().1.contains("in use"));
    let (status, body) = agent.readiness();
    assert_eq!(status, 503, "{body}");
    let address = format!("127.0.0.1:{}", place.listen);
    for wanted in ["source `edges` has been failing for ", &address, "; next try in "] {
        assert!(body.contains(wanted), "{wanted}: {body}");
    }
    assert_eq!(agent.metric("aqueduct_source_up{source=\"edges\"}"), Some(0.0));
    let since = agent.metric("aqueduct_source_failing_since_seconds{source=\"edges\"}").unwrap();
    assert!(since > 1e9, "{since}");
    agent.until(|agent| {
        agent.metric("aqueduct_source_restarts_total{source=\"edges\"}").unwrap() >= 3.0
    });
    drop(other);
    agent.until(|agent| agent.readiness() == (200, "ready\n".to_owned()));
    assert_eq!(agent.metric("aqueduct_source_up{source=\"edges\"}"), Some(1.0));
    assert_eq!(agent.stop(), Some(0));
    let log = place.log();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("source failed")).collect();
    assert_eq!(failed.len(), 1, "one line for one cause: {log}");
    for wanted in [address.as_str(), "in use", "retrying", "pause_ms="] {
        assert!(failed[0].contains(wanted), "{wanted}: {log}");
    }
    assert!(log.contains("source works again") && log.contains("stopped"), "{log}");
    assert!(!log.contains("lasts"), "it had not lasted when it was logged: {log}");
}

#[test]
fn a_store_that_fails_is_named_while_the_agent_stays_ready() {
    let place = Place::new();
    fs::write(place.path("store"), "in the way").unwrap();
    let agent = place.start_logged();
    agent.until(|agent| agent.readiness().1.contains("sink `store`"));
    agent.until(|agent| agent.readiness().0 == 200);
    let (_, body) = agent.readiness();
    assert!(body.starts_with("ready\nsink `store` has been failing for "), "{body}");
    assert_eq!(agent.metric("aqueduct_sink_up{sink=\"store\"}"), Some(0.0));
    let since = agent.metric("aqueduct_sink_failing_since_seconds{sink=\"store\"}").unwrap();
    assert!(since > 1e9, "{since}");
    fs::remove_file(place.path("store")).unwrap();
    place.append("one");
    agent.until(|_| place.is_stored("one"));
    agent.until(|agent| agent.readiness() == (200, "ready\n".to_owned()));
    assert_eq!(agent.metric("aqueduct_sink_up{sink=\"store\"}"), Some(1.0));
    assert_eq!(agent.stop(), Some(0));
    let log = place.log();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("sink failed")).collect();
    assert_eq!(failed.len(), 1, "one line for one cause: {log}");
    assert!(failed[0].contains("retrying") && !failed[0].contains("fatal"), "{log}");
}

impl Place {
    /// Returns the failure of the sink `out` as the agent reports it, and the log.
    fn failure(&self, sink: &str) -> String {
        let config = fs::read_to_string(self.path("agent.toml")).unwrap();
        let (head, _) = config.split_once("[sinks.store]").unwrap();
        let sink = format!("[sinks.out]\nchannel = \"main\"\n{sink}\n");
        fs::write(self.path("agent.toml"), head.to_owned() + &sink).unwrap();
        let agent = self.start_logged();
        agent.until(|agent| agent.readiness().1.contains("sink `out` has been failing for "));
        let said = agent.readiness().1 + &self.log();
        assert_eq!(agent.stop(), Some(0));
        for debug in ["Custom {", "Error(", " source:", "kind:", "class=fatal"] {
            assert!(!said.contains(debug), "{debug}: {said}");
        }
        said
    }
}

#[test]
fn unreachable_store_is_reported_with_address_and_cause() {
    let place = Place::new();
    let address = free_address().to_string();
    let said = place.failure(&format!("type = \"hdfs\"\nurl = \"hdfs://{address}/logs\""));
    assert!(said.contains(&format!("NameNode {address}: Connection refused")), "{said}");
    let place = Place::new();
    let said = place.failure("type = \"hdfs\"\nurl = \"file:///proc/none/logs\"");
    assert!(said.contains("cannot create the directory /proc/none/logs/_aqueduct"), "{said}");
    assert!(said.contains(": /proc/none: No such file or directory"), "{said}");
}

#[test]
fn port_of_another_service_is_explained() {
    let place = Place::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in other.incoming().flatten() {
            let _ = client.read(&mut [0; 1000]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let said = place.failure(&format!("type = \"grpc\"\naddress = \"{address}\""));
    assert!(said.contains(&format!("lost the connection to {address}: ")), "{said}");
    assert!(said.contains("check that a collector listens on this port"), "{said}");
}

#[test]
fn signals_that_are_not_for_it_do_not_end_an_agent() {
    let place = Place::new();
    let agent = place.start_logged();
    agent.until(|agent| agent.readiness().0 == 200);
    for (signal, name) in
        [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")]
    {
        agent.signal(signal);
        agent.until(|_| place.log().contains(name));
    }
    place.append("one");
    agent.until(|_| place.is_stored("one"));
    assert_eq!(agent.stop(), Some(0));
}

/// Creates a full pipe.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'.'; PIPE_BYTES]).unwrap();
    (reader, writer)
}

#[test]
fn a_standard_error_that_is_not_read_stops_nothing() {
    let place = Place::new();
    let (reader, writer) = full_pipe();
    let agent = place.start(writer);
    agent.until(|agent| agent.readiness().0 == 200);
    place.append("one");
    agent.until(|_| place.is_stored("one"));
    agent.signal(Signal::HUP);
    assert_eq!(agent.stop(), Some(0));
    drop(reader);
}

#[test]
fn closed_standard_error_stops_nothing_and_keeps_the_exit_code() {
    let place = Place::new();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let agent = place.start(writer.try_clone().unwrap());
    agent.until(|agent| agent.readiness().0 == 200);
    place.append("one");
    agent.until(|_| place.is_stored("one"));
    agent.until(|agent| agent.metric("aqueduct_log_lines_dropped_total").unwrap() > 0.0);
    fs::write(place.path("wrong.toml"), "[agent]\nname = 1\n").unwrap();
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    wrong.args(["collector", "--config"]).arg(place.path("wrong.toml"));
    assert_eq!(wrong.stderr(writer).status().unwrap().code(), Some(78));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn dropped_lines_are_counted_and_reported_when_a_reader_returns() {
    let place = Place::new();
    let (mut reader, writer) = full_pipe();
    // Log more lines than the queue of the log can hold.
    let config = fs::read_to_string(place.path("agent.toml")).unwrap();
    let talk = "[sources.numbers]\ntype = \"sequence\"\ncount = 20000\nsize = \"100B\"\n\
                channels = [\"talk\"]\n[channels.talk]\ntype = \"memory\"\n\
                [sinks.talk]\ntype = \"logger\"\nchannel = \"talk\"\n";
    fs::write(place.path("agent.toml"), config + talk).unwrap();
    let agent = place.start(writer);
    agent.until(|agent| {
        agent.metric("aqueduct_log_lines_dropped_total").is_some_and(|lines| lines > 0.0)
    });
    let read = std::thread::spawn(move || {
        let mut log = Vec::new();
        reader.read_to_end(&mut log).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    });
    sleep(Duration::from_millis(500));
    assert_eq!(agent.stop(), Some(0));
    let log = read.join().unwrap();
    assert!(log.contains("log lines were dropped"), "it is logged");
    assert!(log.lines().last().unwrap().contains("stopped"), "the last line is there");
}

#[test]
fn liveness_is_answered_while_other_clients_are_silent_or_do_not_read() {
    let place = Place::new();
    let agent = place.start_logged();
    agent.until(|agent| agent.readiness().0 == 200);
    let connect = || TcpStream::connect(("127.0.0.1", place.admin)).unwrap();
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = connect();
        client.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let requests = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
        while client.write_all(requests.as_bytes()).is_ok() {}
        clients.push(client);
    }
    let probe = |what: &str| {
        let began = Instant::now();
        assert_eq!(agent.get("/livez"), Some((200, "alive\n".to_owned())));
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
    };
    probe("64 that do not read");
    clients.extend((0..300).map(|_| connect()));
    probe("300 more that say nothing");
    drop(clients);
    assert_eq!(agent.stop(), Some(0));
}
