//! Goal: an edge that a collector refuses is named on both sides, by `check --connect` before it
//! starts, and by log, status and metrics of both while they run.
//!
//! Method: real agents with certificates of `aqueduct pki`; `/status` and the logs are read as an
//! operator reads them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::loopback::free_address;

use crate::common::{aqueduct, command, text, write};

const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Site {
    dir: tempfile::TempDir,
    collector: SocketAddr,
    admin: SocketAddr,
}

impl Site {
    /// Two authorities, and certificates of both.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        for arguments in [
            format!("init {at}/ca"),
            format!("init {at}/other"),
            format!("collector 127.0.0.1 --ca {at}/ca --out {at}"),
            format!("edge web-1 --ca {at}/ca --out {at}"),
            format!("edge web-2 --ca {at}/other --out {at}"),
        ] {
            let words: Vec<&str> = ["pki"].into_iter().chain(arguments.split(' ')).collect();
            let output = aqueduct(&words);
            assert!(output.status.success(), "{arguments}: {}", text(&output));
        }
        Self { dir, collector: free_address(), admin: free_address() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn start(&self, role: &str, name: &str, config: &str) -> Process {
        let file = self.path().join(format!("{name}.toml"));
        write(&file, config);
        let log = fs::File::create(self.path().join(format!("{name}.log"))).unwrap();
        let mut command = command(&[role, "--config", &file.display().to_string()]);
        Process(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(format!("{name}.log"))).unwrap()
    }

    fn start_collector(&self) -> Process {
        let (at, admin, listen) = (self.path().display(), self.admin, self.collector);
        let config = format!(
            "[agent]\ndata_dir = \"{at}/collector\"\nadmin = \"{admin}\"\n\
             [sources.edges]\ntype = \"grpc\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
             [sources.edges.tls]\ncertificate = \"{at}/127.0.0.1.pem\"\n\
             key = \"{at}/127.0.0.1.key\"\nclient_ca = \"{at}/ca/ca.pem\"\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.log]\ntype = \"logger\"\nchannel = \"main\"\n"
        );
        let collector = self.start("collector", "collector", &config);
        until("the collector listens", || TcpStream::connect(self.collector).is_ok());
        collector
    }

    /// An edge with these lines of its table `tls`.
    fn edge(&self, name: &str, tls: Option<&str>) -> String {
        let (at, address) = (self.path().display(), self.collector);
        let tls = tls.map(|tls| format!("[sinks.next.tls]\nca = \"{at}/ca/ca.pem\"\n{tls}"));
        format!(
            "[agent]\ndata_dir = \"{at}/{name}\"\n\
             [sources.in]\ntype = \"tail_dir\"\npaths = [\"{at}/*.in\"]\nchannels = [\"main\"]\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.next]\ntype = \"grpc\"\naddress = \"{address}\"\nchannel = \"main\"\n{}",
            tls.unwrap_or_default()
        )
    }

    fn certificate(&self, name: &str) -> String {
        let at = self.path().display();
        format!("certificate = \"{at}/{name}.pem\"\nkey = \"{at}/{name}.key\"\n")
    }

    /// The body of an admin page of the collector.
    fn page(&self, page: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let request =
            format!("GET {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The findings of the collector, as texts.
    fn findings(&self) -> Vec<String> {
        let status: Value = serde_json::from_str(&self.page("/status")).unwrap();
        let troubles = status["troubles"].as_array().unwrap().iter();
        troubles.map(|it| it["text"].as_str().unwrap().to_owned()).collect()
    }
}

fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "it takes too long: {what}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_refused_edge_is_named_by_check_and_by_both_agents() {
    let site = Site::new();
    let _collector = site.start_collector();
    let foreign = site.certificate("web-2");
    for (name, tls, wanted) in [
        ("good", Some(site.certificate("web-1")), Ok("is reached by TLS")),
        ("foreign", Some(foreign.clone()), Err("the other side refuses our certificate (")),
        ("none", Some(String::new()), Err("set `tls.certificate` and `tls.key`")),
        ("plain", None, Err("the server speaks TLS, and this client does not")),
    ] {
        let file = site.path().join(format!("{name}.toml"));
        write(&file, &site.edge(name, tls.as_deref()));
        let output = aqueduct(&["check", "--connect", &file.display().to_string()]);
        let said = text(&output) + &String::from_utf8_lossy(&output.stderr);
        let (code, words) = match wanted {
            Ok(words) => (0, words),
            Err(words) => (1, words),
        };
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }

    let edge = site.start("edge", "web-2", &site.edge("web-2", Some(&foreign)));
    let count = |log: &str, words: &str| log.lines().filter(|it| it.contains(words)).count();
    until("the edge names its certificate", || {
        let log = site.log("web-2");
        log.contains("the other side refuses our certificate (")
            && log.contains("/web-2.pem (web-2)")
    });
    let attempts = "aqueduct_source_anomalies_total{source=\"edges\",reason=\"tls_failed\"} ";
    until("the edge tries again", || {
        let metrics = site.page("/metrics");
        let found = metrics.lines().find_map(|line| line.strip_prefix(attempts)?.parse().ok());
        found.is_some_and(|attempts: u64| attempts >= 6)
    });
    let log = site.log("collector");
    let of_edge: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("refused a peer") && line.contains("unknown authority"))
        .collect();
    assert_eq!(of_edge.len(), 1, "one line for one peer and cause: {log}");
    for wanted in
        ["WARN", "127.0.0.1:", "web-2", "source edges", "not signed by one that is trusted"]
    {
        assert!(of_edge[0].contains(wanted), "{wanted}: {}", of_edge[0]);
    }
    assert_eq!(count(&log, "refused a peer"), 3, "foreign, none, plain: {log}");
    let findings = site.findings();
    let wanted = "source edges: 1 agent refused: certificate of an unknown authority (";
    let found = findings.iter().find(|it| it.starts_with(wanted));
    assert!(
        found.is_some_and(|it| it.ends_with("the last by web-2 at 127.0.0.1)")),
        "{findings:?}"
    );
    let path = site.path().join("127.0.0.1.pem");
    let gauge = format!(
        "aqueduct_certificate_expires_timestamp_seconds{{component=\"source edges\",path=\"{}\"}} ",
        path.display()
    );
    let metrics = site.page("/metrics");
    let expires = metrics.lines().find_map(|line| line.strip_prefix(&*gauge)?.parse::<f64>().ok());
    assert!(expires.is_some_and(|at| at > 1.8e9), "{gauge}: {metrics}");

    // The authority of the edge is accepted from now on.
    let ca = site.path().join("ca/ca.pem");
    let both = [fs::read(&ca).unwrap(), fs::read(site.path().join("other/ca.pem")).unwrap()];
    fs::write(site.path().join("new.pem"), both.concat()).unwrap();
    fs::rename(site.path().join("new.pem"), &ca).unwrap();
    until("the finding ends", || site.findings().iter().all(|it| !it.contains("refused")));
    drop(edge);
}
