//! An agent in this process, its folder and its admin address.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::status::{PartsStatus, ReloadStatus, Snapshot};
use catalogue::FULL;
use support::loopback::free_address;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Time limit of any condition.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the body of the answer to one request; `None`: there is no agent.
fn ask(admin: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", admin)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let action = request.split(['/', '?']).nth(1)?;
    let request =
        format!("{request} HTTP/1.1\r\nconnection: close\r\nx-aqueduct: {action}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Returns the state of the agent; `None`: there is no agent.
pub(super) fn status(admin: u16) -> Option<Snapshot> {
    serde_json::from_str(&ask(admin, "GET /status")?).ok()
}

pub(super) struct Place {
    pub(super) dir: tempfile::TempDir,
    pub(super) admin: u16,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), admin: free_address().port() }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    /// Body of the answer to one request.
    pub(super) fn ask(&self, request: &str) -> String {
        ask(self.admin, request).unwrap()
    }

    pub(super) fn reload(&self) -> ReloadStatus {
        serde_json::from_str(&self.ask("POST /reload")).unwrap()
    }

    /// Stops, starts or drains: `stop?group=wild`.
    pub(super) fn change(&self, what: &str) -> PartsStatus {
        let answer = self.ask(&format!("POST /{what}"));
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{what}: {answer}"))
    }

    pub(super) fn status(&self) -> Snapshot {
        status(self.admin).unwrap()
    }

    /// Waits until the agent answers and every source is open.
    pub(super) fn until_ready(&self) {
        self.until("the start", || status(self.admin).is_some_and(|status| status.ready));
    }

    /// Returns how often each number is visible in a dataset.
    pub(super) fn stored(&self, dataset: &str) -> BTreeMap<u64, usize> {
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

    pub(super) fn until(&self, what: &str, so: impl Fn() -> bool) {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed() < PATIENCE, "{what} takes too long");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub(super) struct Agent {
    runtime: Runtime,
    signals: mpsc::UnboundedSender<&'static str>,
    ended: tokio::task::JoinHandle<()>,
}

impl Agent {
    pub(super) fn start(place: &Place) -> Self {
        let path = place.file();
        let draft = move |env: &pipeline::Env| -> Result<agent::Draft, config::ConfigErrors> {
            let settings = config::read_file(&path, env)?;
            Ok(config::examine(&path.display().to_string(), settings, "host"))
        };
        let (plan, errors) = draft(&env::real()).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        let builder =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = builder.unwrap();
        let reread: control::configuration::Reread = Arc::new(move |env, _| draft(env));
        let (signals, mut received) = mpsc::unbounded_channel();
        let signals_in = futures::stream::poll_fn(move |cx| received.poll_recv(cx));
        let ended = runtime.spawn(async move {
            let run = program::run_until(plan, FULL, env::real(), Some(reread), signals_in);
            run.await.unwrap();
        });
        Self { runtime, signals, ended }
    }

    pub(super) fn stop(self) {
        self.signals.send("SIGTERM").unwrap();
        self.end();
    }

    /// Waits until it has ended.
    pub(super) fn end(self) {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.ended).await })
            .unwrap()
            .unwrap();
    }
}
