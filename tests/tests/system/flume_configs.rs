//! Goal: Flume configurations written by others run.
//!
//! Method: `aqueduct agent` starts each agent of the corpus of `crates/flume`. Events go through
//! its sources and appear on the page of counters and in files. The agents in the list below are
//! rejected with their line and exit code 78.
//!
//! ```text
//!   NAME.conf, followed by a file with ports and directories of this test
//!      lines, requests, files, an agent that sends ─► aqueduct agent ─► files, the next tier
//! ```
//!
//! Lane: flume
//! Needs: java mvn tail vmstat
//! Weight: 1
//! Limit: 15m
//! Paths: crates/flume crates/components crates/components-files crates/formats crates/kit

mod feed;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::program;
use aqueduct_tests::http::{self, free_address};
use aqueduct_tests::process::{Process, tail};
use flume::{agents, properties};

use overlay::{Local, Peer};

/// Timeout of one agent, from the start to the last event.
const PATIENCE: Duration = Duration::from_secs(60);

/// Number of parallel agents.
const AT_A_TIME: usize = 6;

/// Rejected configurations, and why: each needs a decision of its owner.
const REFUSED: &[(&str, &str)] = &[
    ("guide_custom", "Java classes of its own"),
    ("guide_encryption", "an encrypted file channel"),
    ("guide_http", "a handler of its own"),
    ("guide_http_sink", "rules for each answer"),
    ("guide_irc", "IRC"),
    ("guide_jms_topic", "a directory of JNDI, a converter in Java"),
    ("guide_legacy", "agents of Flume 0.9, Scribe, keys of Twitter"),
    ("guide_other_sinks", "Hive, HBase, Solr"),
    ("guide_serializers", "lines without an end, records of a schema"),
    ("own_custom_selector", "a Java class of its own"),
    ("own_default_processor", "a group without a processor"),
    ("own_gone_sinks", "sinks that Flume has given up, Kudu"),
    ("own_group_of_channels", "a group over two channels"),
    ("own_hdfs_codecs", "lzop, Parquet, a class of its own for values"),
    ("own_hdfs_half_kerberos", "a principal without its key"),
    ("own_hdfs_names", "escapes and Kerberos for one sink"),
    ("own_http_blob", "parameters that must be there"),
    ("own_interceptors_more", "an interceptor without a type"),
    ("own_kafka", "TLS of brokers, an escape in a topic"),
    ("own_kafka_channel", "SASL of brokers"),
    ("own_kafka_tokens", "tokens that a class of Java makes"),
    ("own_lookahead", "a Java class of its own"),
    ("own_missing_channel", "no channel"),
    ("own_references", "a number that is not set"),
    ("own_selector_class", "a Java class of its own"),
    ("own_sink_in_two_places", "a sink of two groups"),
    ("own_thrift_kerberos", "Kerberos"),
    ("own_typos", "a channel of an unknown type"),
    ("own_wrong_numbers", "numbers that are none"),
    ("shape_bad_source_beside_good", "a source without a port"),
    ("shape_custom_interceptor", "a Java class of its own"),
    ("shape_elasticsearch", "a sink that Flume has removed"),
    ("shape_encrypted", "an encrypted file channel"),
    ("shape_hbase_old", "no address of ZooKeeper"),
    ("shape_hdfs_lzop", "lzop"),
    ("shape_hive_sink", "Hive's streaming"),
    ("shape_morphline_sink", "Solr"),
    ("shape_sources_only_agent", "a channel without a sink"),
    ("shape_twitter", "a Java class of its own"),
];

/// The counters of each component.
type Page = BTreeMap<String, BTreeMap<String, String>>;

/// A configuration of the corpus, and one agent of it.
struct Case {
    name: String,
    agent: String,
    file: PathBuf,
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn the_configurations_of_flume_run_or_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (_next, peer) = feed::next_tier(dir.path());
    let mut cases = corpus();
    // Their requirements are missing here: keystores (`tests/tls.rs` tests TLS with some), an S3
    // server (see `tests/objects.rs`), a broker (see `tests/kafka.rs`), HBase (see
    // `tests/hbase.rs`), a Kerberos server, files that end in `.csv`.
    let lacking = [
        "own_tls",
        "own_object_store",
        "guide_kafka_channel",
        "guide_kafka_source",
        "guide_jms",
        "own_spool_all",
        "own_hbase",
        "shape_hbase2_regex",
        "shape_hdfs_high_availability",
        "shape_kafka_old_sink",
        "shape_kafka_old_source",
        "shape_kafka_sink_mixed",
        "shape_kafka_sink_producer",
        "shape_kafka_to_hdfs_gzip",
        "shape_taildir_kafka_channel",
        // A logger takes some of the events.
        "shape_logger_and_hdfs_shared",
    ];
    cases.retain(|it| !lacking.contains(&&*it.name));
    let names: BTreeSet<&str> = cases.iter().map(|it| it.name.as_str()).collect();
    for (name, _) in REFUSED {
        assert!(names.contains(name), "{name} is not in the corpus");
    }
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let started = AtomicUsize::new(0);
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let is_refused = REFUSED.iter().any(|(name, _)| *name == case.name);
            let outcome = catch_unwind(AssertUnwindSafe(|| match is_refused {
                true => refused(case, dir.path(), peer),
                false => runs(case, dir.path(), peer),
            }));
            match outcome {
                Ok(()) if !is_refused => drop(started.fetch_add(1, Ordering::Relaxed)),
                Ok(()) => {}
                Err(_) => failures.lock().expect("no panic").push(case.name.clone()),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "these do not: {failures:?}");
    let started = started.into_inner();
    assert!(started >= 94, "only {started} agents ran, {} were refused", REFUSED.len());
}

/// Returns every agent of every configuration.
fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/flume/tests/corpus");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("the corpus") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|it| it != "conf") {
            continue;
        }
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("a file of the corpus");
        let keys = properties::read(&name.as_str().into(), &text).expect("its format");
        for agent in agents(&keys) {
            all.push(Case { name: name.clone(), agent, file: file.clone() });
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A running agent.
struct Running {
    process: Process,
    local: Local,
    root: PathBuf,
    admin: SocketAddr,
    monitoring: SocketAddr,
}

impl Running {
    fn start(case: &Case, dir: &Path, peer: Peer) -> Self {
        let root = dir.join(&case.name).join(&case.agent);
        fs::create_dir_all(&root).expect("the test's own folder");
        let text = fs::read_to_string(&case.file).expect("a file of the corpus");
        let keys = properties::read(&case.name.as_str().into(), &text).expect("its format");
        let local = Local::of(&case.agent, &keys, &root, peer);
        feed::files(&local, &root);
        let second = root.join("second.conf");
        fs::write(&second, &local.text).expect("the test's own folder");
        let (admin, monitoring) = (free_address(), free_address());
        let mut command = program("aqueduct");
        command.args(["agent", "-n", &case.agent, "-f"]).arg(&case.file).arg("-f").arg(second);
        command.arg("--data-dir").arg(root.join("agent")).args(["--admin", &admin.to_string()]);
        command.arg("-Dflume.monitoring.type=http");
        command.arg(format!("-Dflume.monitoring.port={}", monitoring.port()));
        command.env("NC_PORT", local.nc_port.to_string()).env("BIND", "127.0.0.1");
        let process = Process::start(&case.name, command, &root.join("agent.out"));
        Self { process, local, root, admin, monitoring }
    }

    /// Polls until there is a result; otherwise fails with the agent's log.
    fn until<T>(&mut self, what: &str, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = ready(self) {
                return value;
            }
            let log = || tail(&self.process.output());
            assert!(started.elapsed() < PATIENCE, "no {what}:\n{:?}\n{}", self.page(), log());
            assert!(self.process.is_alive(), "it ended:\n{}", tail(&self.process.output()));
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn page(&self) -> Option<Page> {
        let (status, body) = http::get(self.monitoring, "/metrics")?;
        (status == 200).then(|| serde_json::from_str(&body).expect("a page of texts"))
    }
}

/// Asserts that the agent does not start, and names the file and a line.
fn refused(case: &Case, dir: &Path, peer: Peer) {
    let mut agent = Running::start(case, dir, peer);
    let code = agent.process.wait(PATIENCE).code();
    let said = agent.process.output();
    assert_eq!(code, Some(78), "{}: {said}", case.name);
    let file = case.file.file_name().expect("a name").to_string_lossy();
    assert!(said.contains(&format!("{file}:")), "{}: {said}", case.name);
}

/// Asserts that the agent accepts events, delivers them to its sinks, and stops.
fn runs(case: &Case, dir: &Path, peer: Peer) {
    let mut agent = Running::start(case, dir, peer);
    agent.until("answer that it is ready", |it| {
        http::get(it.admin, "/readyz").filter(|(status, _)| *status == 200)
    });
    let _senders = feed::send(&agent.local, &agent.root);
    agent.until("events at the sinks", |it| it.page().filter(|page| moved(page, &it.local)));
    let Running { process, local, root, .. } = agent;
    process.stop(Duration::from_secs(25));
    stored(case, &local, &root);
}

/// Returns whether the sources have accepted events, and the channels have delivered all of them.
fn moved(page: &Page, local: &Local) -> bool {
    let number = |of: &str, counter: &str| -> u64 {
        let value = page.get(of).and_then(|it| it.get(counter));
        value.and_then(|it| it.parse().ok()).unwrap_or_default()
    };
    let finite = ends(local);
    let accepted = |of: &String| match finite {
        Some(events) => number(of, "EventAcceptedCount") == events,
        None => number(of, "EventAcceptedCount") > 0,
    };
    let mut sources = page.keys().filter(|of| of.starts_with("SOURCE."));
    let has_any = local
        .all("channels")
        .any(|(name, _)| number(&format!("CHANNEL.{name}"), "EventPutSuccessCount") > 0);
    // An `hdfs` sink commits events with its roll.
    let is_slow = |channel: &str| {
        local.all("sinks").any(|(sink, kind)| {
            kind == "hdfs" && local.get("sinks", sink, "channel") == Some(channel)
        })
    };
    let channels = local.all("channels").all(|(name, _)| {
        let of = format!("CHANNEL.{name}");
        let counter = if is_slow(name) { "EventTakeAttemptCount" } else { "EventTakeSuccessCount" };
        let (put, taken) = (number(&of, "EventPutSuccessCount"), number(&of, counter));
        match finite {
            Some(_) => taken >= put,
            None => put == 0 || taken > 0,
        }
    });
    has_any && channels && sources.all(accepted)
}

/// Returns the number of events of an agent whose only source counts to an end.
fn ends(local: &Local) -> Option<u64> {
    let sources: Vec<_> = local.all("sources").collect();
    let [(name, kind)] = &sources[..] else { return None };
    (kind == "seq").then(|| local.get("sources", name, "totalEvents")?.parse().ok()).flatten()
}

/// Checks the files of the agent's sinks: every event of a counting source, and some events of any
/// other.
fn stored(case: &Case, local: &Local, root: &Path) {
    let mut lines: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut counted, mut inexact) = (BTreeSet::new(), BTreeSet::new());
    for (sink, kind) in local.all("sinks") {
        let channel = local.get("sinks", sink, "channel").expect("a sink has a channel");
        let directory = match kind.as_str() {
            "file_roll" | "rollingfile" => local.get("sinks", sink, "sink.directory"),
            "hdfs" => {
                local.get("sinks", sink, "hdfs.path").and_then(|it| it.strip_prefix("file://"))
            }
            _ => continue,
        };
        let directory = directory.expect("its directory");
        // A directory of a store ends before its escapes.
        let directory = directory.split('%').next().unwrap_or_default();
        // Sinks that Flume runs in parallel write to the same directory.
        if !counted.insert((channel, directory)) {
            continue;
        }
        // The default of `hdfs` is a sequence file.
        let file_type = local.get("sinks", sink, "hdfs.fileType");
        let is_avro = local
            .get("sinks", sink, "serializer")
            .is_some_and(|it| it.to_lowercase().contains("avro"));
        let is_stream = file_type.is_some_and(|it| it.eq_ignore_ascii_case("DataStream"));
        let is_text = kind != "hdfs" || (is_stream && !is_avro);
        if !is_text {
            inexact.insert(channel);
        }
        let found = count(Path::new(directory), is_text);
        *lines.entry(channel).or_default() += found;
    }
    for (channel, found) in lines {
        let what = format!("{}, channel {channel}, below {}", case.name, root.display());
        match ends(local) {
            Some(events) if !inexact.contains(channel) => assert_eq!(found, events, "{what}"),
            _ => assert!(found > 0, "{what}: nothing"),
        }
    }
}

/// Counts lines of the files below a directory, or files if they are not text. Ignores staged
/// files.
fn count(directory: &Path, is_text: bool) -> u64 {
    let mut all = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name == "_aqueduct" || name.starts_with('.') {
            continue;
        }
        all += match (path.is_dir(), is_text) {
            (true, _) => count(&path, is_text),
            (false, true) => {
                fs::read_to_string(&path).expect("a file of text").lines().count() as u64
            }
            (false, false) => 1,
        };
    }
    all
}
