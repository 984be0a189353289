//! A configuration is changed again and again while events flow: nothing is lost, nothing comes
//! twice, and what has not changed is not touched.
//!
//! Method: one whole agent with real components. A flow `calm` stays as it is. A flow `wild` is
//! edited 100 times by a seed: settings of its sink, interceptors, a second group that comes and
//! goes, the name of its group, the settings of its durable channel, another flow through memory;
//! in between files that are wrong, and a source whose port is taken. Each number of each source
//! has to be in the store once.

#![expect(clippy::disallowed_methods, reason = "the test stands outside the world that `Env` is")]
#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::status::{ReloadResult, ReloadStatus, Snapshot};
use aqueduct_agent as agent;
use catalogue::FULL;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Changes of the file.
const EDITS: u64 = 100;

/// Longest time for which the flow that is not touched may store nothing. Generous: the machine
/// that runs the test does other things.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Numbers of the flow that is edited: more than it makes while that goes on.
const WILD: u64 = 60_000;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The next number of a SplitMix64 sequence.
fn dice(state: &mut u64, sides: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % sides
}

/// What the file says of what is edited.
#[derive(Clone, Default)]
struct Edited {
    age: u64,
    has_interceptor: bool,
    has_audit: bool,
    has_memory: bool,
    capacity: u64,
    name: u64,
    /// A source on this port.
    port: Option<u16>,
    /// What makes the file wrong.
    wrong: &'static str,
}

struct Place {
    dir: tempfile::TempDir,
    admin: u16,
}

impl Place {
    fn file(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    fn write(&self, edited: &Edited) {
        let at = self.dir.path().display();
        let sink = |name: &str, age: u64| {
            format!(
                "type = \"hdfs\"\nurl = \"file://{at}/{name}\"\n\
                 roll = {{ idle_max = \"40ms\", age_max = \"{}ms\" }}\n",
                80 + age
            )
        };
        let durable = |capacity: u64| format!("type = \"durable\"\ncapacity = \"{capacity}MiB\"\n");
        let source = |channel: &str, count: u64, rate: u64| {
            format!(
                "type = \"sequence\"\ncount = {count}\nrate = {rate}\nbatch_events = 10\n\
                 channels = [\"{channel}\"]\n"
            )
        };
        let mut text = format!(
            "{}\n[agent]\nname = \"a\"\ndata_dir = \"{at}/data\"\ngrace = \"10s\"\n\
             admin = \"127.0.0.1:{}\"\n\
             [sources.calm]\n{}[channels.calm]\n{}[sinks.calm]\nchannel = \"calm\"\n{}\
             [channels.wild]\n{}[sinks.wild]\n{}\
             [groups.wild-{}]\ntype = \"single\"\nchannel = \"wild\"\nsinks = [\"wild\"]\n\
             [sources.wild]\n{}",
            edited.wrong,
            self.admin,
            source("calm", 10_000_000, 1_000),
            durable(64),
            sink("calm", 0),
            durable(64 + edited.capacity),
            sink("wild", edited.age),
            edited.name,
            source("wild", WILD, 2_000),
        );
        if edited.has_interceptor {
            text += "[[sources.wild.interceptors]]\ntype = \"timestamp\"\n";
        }
        if edited.has_audit {
            text += "[sinks.audit]\ntype = \"discard\"\nchannel = \"wild\"\n";
        }
        if edited.has_memory {
            text += &format!(
                "[sources.memory]\n{}[channels.memory]\ntype = \"memory\"\ncapacity = \"4MiB\"\n\
                 [sinks.memory]\nchannel = \"memory\"\n{}",
                source("memory", 10_000_000, 500),
                sink("memory", 0)
            );
        }
        if let Some(port) = edited.port {
            text += &format!(
                "[sources.http]\ntype = \"http\"\nlisten = \"127.0.0.1:{port}\"\n\
                 channels = [\"wild\"]\n"
            );
        }
        fs::write(self.file(), text).unwrap();
    }

    /// Body of the answer to one request.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("{request} HTTP/1.1\r\nconnection: close\r\nx-aqueduct: reload\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn reload(&self) -> ReloadStatus {
        serde_json::from_str(&self.ask("POST /reload")).unwrap()
    }

    fn status(&self) -> Snapshot {
        serde_json::from_str(&self.ask("GET /status")).unwrap()
    }

    /// When the parts of the flow that is not touched were started.
    fn calm_since(&self) -> [f64; 3] {
        let status = self.status();
        let source = status.sources.iter().find(|it| it.name == "calm").unwrap();
        let channel = status.channels.iter().find(|it| it.name == "calm").unwrap();
        let group = status.groups.iter().find(|it| it.name == "calm").unwrap();
        let ago =
            [source.started_seconds_ago, channel.started_seconds_ago, group.started_seconds_ago];
        ago.map(|ago| status.taken_at_unix_seconds - ago)
    }

    /// How often each number is visible in a dataset.
    fn stored(&self, dataset: &str) -> BTreeMap<u64, usize> {
        let mut seen = BTreeMap::new();
        let Ok(entries) = fs::read_dir(self.dir.path().join(dataset)) else { return seen };
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        for file in files {
            for line in fs::read_to_string(file).unwrap().lines() {
                let number = line.split_whitespace().next().unwrap().parse().unwrap();
                *seen.entry(number).or_default() += 1;
            }
        }
        seen
    }

    fn until(&self, what: &str, so: impl Fn() -> bool) {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed() < PATIENCE, "{what} takes too long");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

struct Agent {
    runtime: Runtime,
    signals: mpsc::UnboundedSender<&'static str>,
    ended: tokio::task::JoinHandle<()>,
}

impl Agent {
    fn start(place: &Place) -> Self {
        let path = place.file();
        let draft = move |env: &pipeline::Env| -> Result<agent::cli::Draft, config::ConfigErrors> {
            let settings = config::read_file(&path, env)?;
            Ok(config::examine(&path.display().to_string(), settings, "host"))
        };
        let (plan, errors) = draft(&env::real()).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        let builder =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = builder.unwrap();
        let reread: agent::Reread = Arc::new(draft);
        let (signals, mut received) = mpsc::unbounded_channel();
        let signals_in = futures::stream::poll_fn(move |cx| received.poll_recv(cx));
        let ended = runtime.spawn(async move {
            let run = agent::run_until(plan, FULL, env::real(), Some(reread), signals_in);
            run.await.unwrap();
        });
        Self { runtime, signals, ended }
    }

    fn stop(self) {
        self.signals.send("SIGTERM").unwrap();
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.ended).await })
            .unwrap()
            .unwrap();
    }
}

/// The longest time for which the flow that is not touched stored nothing.
fn gaps(admin: u16, dir: &Path, stop: &Arc<AtomicBool>) -> JoinHandle<Duration> {
    let (stop, data) = (stop.clone(), dir.join("data/channels/calm"));
    std::thread::spawn(move || {
        let place = |request: &str| -> Option<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", admin)).ok()?;
            stream
                .write_all(
                    format!("GET {request} HTTP/1.1\r\nconnection: close\r\n\r\n").as_bytes(),
                )
                .ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer.split_once("\r\n\r\n")?.1.to_owned())
        };
        let (mut longest, mut since, mut last) = (Duration::ZERO, Instant::now(), 0);
        while !stop.load(Ordering::Relaxed) {
            let status =
                place("/status").and_then(|text| serde_json::from_str::<Snapshot>(&text).ok());
            let calm = status.and_then(|it| it.channels.into_iter().find(|it| it.name == "calm"));
            let stored = calm.map_or(last, |calm| calm.stored.events_total);
            longest = longest.max(since.elapsed());
            if stored > last {
                (last, since) = (stored, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(data.exists() && last > 0);
        longest
    })
}

/// The next change, and how it has to end.
fn edit(edited: &mut Edited, seed: &mut u64, taken: u16) -> ReloadResult {
    (edited.wrong, edited.port) = ("", None);
    match dice(seed, 9) {
        0 => edited.age = (edited.age + 7) % 50,
        1 => edited.has_interceptor = !edited.has_interceptor,
        2 => edited.has_audit = !edited.has_audit,
        3 => edited.has_memory = !edited.has_memory,
        4 => edited.capacity = (edited.capacity + 1) % 4,
        5 => edited.name = 1 - edited.name,
        6 => {
            edited.wrong =
                ["[sinks.x]\ntype = \"hdfz\"\nchannel = \"wild\"", "= ="][dice(seed, 2) as usize];
            return ReloadResult::Refused;
        }
        7 => {
            edited.port = Some(taken);
            return ReloadResult::RolledBack;
        }
        _ => return ReloadResult::Unchanged,
    }
    ReloadResult::Applied
}

#[test]
fn a_hundred_changes_lose_and_repeat_nothing_and_touch_nothing_else() {
    let place = Place { dir: tempfile::tempdir().unwrap(), admin: free_port() };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut edited = Edited::default();
    place.write(&edited);
    let agent = Agent::start(&place);
    place.until("the start", || TcpStream::connect(("127.0.0.1", place.admin)).is_ok());
    place.until("the start", || place.status().ready);
    let since = place.calm_since();
    let stop = Arc::new(AtomicBool::new(false));
    let gaps = gaps(place.admin, place.dir.path(), &stop);
    let (mut seed, mut counts, mut slowest) = (0x5eed, BTreeMap::new(), 0.0_f64);
    for number in 0..EDITS {
        // A wrong or unwanted file is not what runs: the next one is compared with what does.
        let mut next = edited.clone();
        let expected = edit(&mut next, &mut seed, taken.local_addr().unwrap().port());
        place.write(&next);
        let status = place.reload();
        assert_eq!(status.result, expected, "edit {number}: {status}");
        *counts.entry(format!("{expected:?}")).or_insert(0) += 1;
        slowest = slowest.max(status.took_seconds);
        match expected {
            ReloadResult::Applied => edited = next,
            ReloadResult::Unchanged => {}
            ReloadResult::Refused => {
                let error = status.error.unwrap();
                assert!(error.contains("agent.toml:"), "the place is named: {error}");
            }
            ReloadResult::RolledBack => {
                let error = status.error.unwrap();
                assert!(error.contains("source `http`"), "{error}");
            }
        }
        for (before, now) in since.iter().zip(place.calm_since()) {
            assert!((before - now).abs() < 0.5, "edit {number} has touched what did not change");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let longest = gaps.join().unwrap();
    println!("{counts:?}, slowest {slowest} s, longest gap of the other flow {longest:?}");
    assert!(longest < GAP_MAX, "the other flow stood still for {longest:?}");
    assert!(counts.len() == 4, "each way to end was met: {counts:?}");
    place.until("the last numbers", || place.stored("wild").len() as u64 >= WILD);
    agent.stop();
    for dataset in ["wild", "calm", "memory"] {
        let stored = place.stored(dataset);
        let repeated: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(repeated.is_empty(), "{dataset}: {repeated:?}");
        let (first, last) = (stored.keys().next().copied(), stored.keys().last().copied());
        let span = first.zip(last).map_or(0, |(first, last)| last - first + 1);
        assert_eq!(stored.len() as u64, span, "{dataset}: some are missing");
        assert!(!stored.is_empty(), "{dataset} is empty");
    }
}
