//! The cluster of all tests, and the agents of one.

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, tiers_to};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::load::Load;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::{http, is_long, wait};
use tempfile::TempDir;

/// Longest time for anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(25);
const DATANODES: u32 = 3;

/// One HDFS for all tests; it ends with the process.
pub(crate) fn hdfs() -> &'static Hdfs {
    static CLUSTER: LazyLock<(TempDir, Hdfs)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = ["--permissions", "--stale"];
        let hdfs = Hdfs::configured_with(&folder.path().join("hdfs"), &options);
        let mut hdfs = hdfs.with_datanodes(DATANODES, 2);
        hdfs.start();
        // Other users than the superuser make their directories by themselves.
        hdfs.fs(&["-chmod", "777", "/"]);
        (folder, hdfs)
    });
    &CLUSTER.1
}

/// How a site differs from the usual one.
#[derive(Default)]
pub(crate) struct Differences {
    /// The NameNode's URL, as the collector knows it.
    pub(crate) url: Option<String>,
    /// The user that the collector is.
    pub(crate) user: Option<&'static str>,
    /// Lines in the table of the sink, in place of short rolls.
    pub(crate) sink: Option<&'static str>,
    /// Bytes of a line besides its number.
    pub(crate) width: usize,
}

/// A collector under load, which stores below a directory of its own.
pub(crate) struct Site {
    /// The name of its directory, and of its fault in what is printed.
    name: &'static str,
    pub(crate) hdfs: &'static Hdfs,
    pub(crate) collector: Agent,
    edge: Agent,
    store: String,
    load: Load,
    figures: Mutex<Vec<String>>,
    folder: TempDir,
}

impl Site {
    /// Starts it, and waits until a file has become visible.
    pub(crate) fn begin(name: &'static str, differences: Differences) -> Self {
        let Differences { url, user, sink, width } = differences;
        let hdfs = hdfs();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = url.unwrap_or_else(|| hdfs.url().to_owned());
        let store = format!("{url}/{name}/%Y-%m-%d");
        let sink = sink.unwrap_or("replication = 2\nroll = { age_max = \"1s\" }");
        let (mut collector, mut edge) = tiers_to(hdfs, &store, sink, folder.path());
        if let Some(user) = user {
            collector = collector.with_variable("HADOOP_USER_NAME", user);
        }
        collector.start();
        edge.start();
        let load = Load::begin(folder.path(), width);
        let figures = Mutex::default();
        let site = Self { name, hdfs, collector, edge, store, load, figures, folder };
        wait::until("the first file", PATIENCE, || (site.files() >= 1.0).then_some(()));
        site
    }

    /// Its directory in HDFS.
    pub(crate) fn directory(&self) -> String {
        format!("/{}", self.name)
    }

    /// Where the collector keeps what it holds.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("collector")
    }

    /// Files that this start of the collector has made visible.
    fn files(&self) -> f64 {
        let metrics = self.collector.metrics();
        metrics.and_then(|all| all.sum("aqueduct_sink_visible_files_total")).unwrap_or(0.0)
    }

    /// What the collector has logged by now, to be looked at from here on.
    pub(crate) fn logged(&self) -> usize {
        self.collector.output().len()
    }

    /// Waits until the collector has logged all of these in one line, behind `from`; that line.
    pub(crate) fn until_said(&self, from: usize, parts: &[&str]) -> String {
        wait::until(&format!("a line of the log with {parts:?}"), PATIENCE, || {
            let output = self.collector.output();
            let said = |line: &&str| parts.iter().all(|part| line.contains(part));
            output[from..].lines().find(said).map(str::to_owned)
        })
    }

    /// The collector lives, takes events, and says why it stores none, with each of `parts`.
    pub(crate) fn holds_out(&self, parts: &[&str]) {
        let admin = self.collector.admin();
        let held = || self.collector.metrics()?.sum("aqueduct_channel_events");
        let before = wait::until("the number of events held", PATIENCE, held);
        wait::until("the channel to take events", PATIENCE, || held().filter(|it| *it > before));
        assert_eq!(http::get(admin, "/livez").map(|it| it.0), Some(200));
        wait::until(&format!("`/readyz` to say {parts:?}"), PATIENCE, || {
            let (_, said) = http::get(admin, "/readyz")?;
            parts.iter().all(|part| said.contains(part)).then_some(())
        });
    }

    /// The fault is over: the time until a file more is visible is printed.
    pub(crate) fn recovers(&self, what: &str) {
        self.recovered(what, self.shows_one_more());
    }

    /// The same of a collector that was started at that time.
    pub(crate) fn recovers_since(&self, what: &str, started: Instant) {
        wait::until("a file of its own", PATIENCE, || (self.files() > 0.0).then_some(()));
        self.recovered(what, started.elapsed());
    }

    fn recovered(&self, what: &str, after: Duration) {
        self.figure(format!("{what}: a file visible after {:.1} s", after.as_secs_f64()));
    }

    /// Waits until a file more is visible; how long that took.
    pub(crate) fn shows_one_more(&self) -> Duration {
        let (began, seen) = (Instant::now(), self.files());
        wait::until("one more file", PATIENCE, || (self.files() > seen).then_some(()));
        began.elapsed()
    }

    /// The fault stays: for `least`, and until a file is visible, the longest time without a new
    /// one.
    pub(crate) fn bears(&self, what: &str, least: Duration) -> Duration {
        let (began, mut seen) = (Instant::now(), self.files());
        let (mut last, mut longest, mut files) = (began, Duration::ZERO, 0);
        wait::until("files under the fault", PATIENCE + least, || {
            let (now, count) = (Instant::now(), self.files());
            longest = longest.max(now - last);
            if count > seen {
                (seen, last, files) = (count, now, files + 1);
            }
            (files > 1 && began.elapsed() >= least).then_some(())
        });
        self.figure(format!("{what}: {:.1} s without a new file", longest.as_secs_f64()));
        longest
    }

    /// A fault that lasts is not logged again and again, nor by stack traces of Java.
    pub(crate) fn has_warned_little(&self, from: usize) {
        let output = self.collector.output();
        let said = &output[from..];
        let warned = said.lines().filter(|line| line.contains("WARN")).count();
        let traces = said.lines().filter(|line| line.trim_start().starts_with("at ")).count();
        assert!(
            warned <= 20 && traces == 0,
            "{warned} warnings, {traces} lines of traces:\n{said}"
        );
    }

    /// Something to be printed at the end.
    pub(crate) fn figure(&self, text: String) {
        self.figures.lock().expect("no test has failed").push(text);
    }

    /// Ends the load, and has every line found once, by Hadoop's shell and by `aqueduct verify`.
    pub(crate) fn end(self) {
        let Self { name, hdfs, mut collector, mut edge, store, load, figures, folder } = self;
        let written = load.end();
        let lines = written.iter().filter(|byte| **byte == b'\n').count() as f64;
        wait::until("the edge to hear that all is committed", PATIENCE, || {
            let metrics = edge.metrics()?;
            let committed = metrics.sum("aqueduct_sink_committed_events_total")?;
            (committed >= lines && metrics.sum("aqueduct_channel_events")? == 0.0).then_some(())
        });
        edge.stop(STOP);
        collector.stop(STOP);
        prove(&store, Some(&hdfs.conf_dir()), &[folder.path().join("edge/channels/main")]);
        let found = compare(&written, &hdfs.fs(&["-cat", &format!("/{name}/20*/*.log")]));
        let figures = figures.into_inner().expect("no test has failed").join("\n  ");
        eprintln!("{name}: {found}\n  {figures}");
        assert!(found.is_none(), "{name}: {found}");
    }
}

/// A pause that a fault lasts, shorter in each change's tests.
pub(crate) fn last(short: u64, long: u64) {
    thread::sleep(Duration::from_secs(if is_long() { long } else { short }));
}
