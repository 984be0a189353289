//! A running source: its directory, its settings, and its channels.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kit::testkit::channels::Channels;
use metrics::Metrics;
use pipeline::testkit::{self, build, position_context};
use pipeline::{BuildContext, Env, SourceError};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::tail_dir::Config;

/// A directory, an agent's intake, and the source between them.
pub(super) struct Rig {
    pub(super) directory: TempDir,
    pub(super) channels: Arc<Channels>,
    pub(super) settings: Value,
    pub(super) metrics: Metrics,
}

pub(super) struct Running {
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<Result<(), SourceError>>,
}

impl Rig {
    pub(super) fn new(more: &Value) -> Self {
        testkit::log_side_by_side();
        let directory = tempfile::tempdir().unwrap();
        let mut settings = json!({
            "paths": [format!("{}/*.log", directory.path().display())],
            "poll_min": "1ms", "poll_max": "5ms", "late_line_after": "60ms",
        });
        for (key, value) in more.as_object().unwrap() {
            settings[key] = value.clone();
        }
        let channels = Arc::new(Channels::new(2));
        Self { directory, channels, settings, metrics: Metrics::default() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = fs::File::options().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    pub(super) fn start(&self) -> Running {
        self.start_in(env::real())
    }

    pub(super) fn start_in(&self, env: Env) -> Running {
        let mut cx = BuildContext::alone("in", &self.path("unused"), env);
        cx.metrics = self.metrics.clone();
        let mut source = build::<Config>(&self.settings, &cx).unwrap();
        let stop = CancellationToken::new();
        let cx = position_context(self.channels.clone(), stop.clone());
        Running {
            stop,
            task: tokio::spawn(async move {
                source.open(&cx).await?;
                source.run(cx).await
            }),
        }
    }

    /// Waits until both channels have these lines, in any order, and no more arrive.
    pub(super) async fn expect(&self, lines: &[&str]) {
        let mut expected: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        expected.sort();
        for _ in 0..6_000 {
            if self.channels.lines().iter().all(|lines| *lines == expected) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        for lines in self.channels.lines() {
            let surplus: Vec<_> = lines.iter().filter(|line| !expected.contains(line)).collect();
            let missing: Vec<_> = expected.iter().filter(|line| !lines.contains(line)).collect();
            let counts = (lines.len(), expected.len());
            assert!(lines == expected, "{counts:?}: surplus {surplus:.9?}, missing {missing:.9?}");
        }
    }

    /// Waits until both channels have this line.
    pub(super) async fn channels_hold(&self, line: &str) {
        let holds = |lines: &Vec<String>| lines.iter().any(|held| held == line);
        while !self.channels.lines().iter().all(holds) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until both channels have the positions of `keys` files.
    pub(super) async fn expect_keys(&self, keys: usize) {
        let known = || (self.channels.keys(0), self.channels.keys(1));
        for _ in 0..2_000 {
            if known() == (keys, keys) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(known(), (keys, keys));
    }

    pub(super) fn anomalies(&self, reason: &'static str) -> u64 {
        let label = metrics::SourceReason { source: "in".into(), reason };
        self.metrics.source_anomalies.get_or_create(&label).get()
    }
}

impl Running {
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Stops the source like a kill: waiting work is dropped.
    pub(super) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
