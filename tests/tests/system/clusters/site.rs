//! The shared cluster, and the agents of one test.

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

/// Timeout of any step.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(25);
const DATANODES: u32 = 3;

/// Returns the HDFS of all tests, which ends with the process.
pub(crate) fn hdfs() -> &'static Hdfs {
    static CLUSTER: LazyLock<(TempDir, Hdfs)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = ["--permissions", "--stale"];
        let hdfs = Hdfs::configured_with(&folder.path().join("hdfs"), &options);
        let mut hdfs = hdfs.with_datanodes(DATANODES, 2);
        hdfs.start();
        // Users other than the superuser create their own directories.
        hdfs.fs(&["-chmod", "777", "/"]);
        (folder, hdfs)
    });
    &CLUSTER.1
}

/// Differences from the usual site.
#[derive(Default)]
pub(crate) struct Differences {
    /// The NameNode's URL for the collector.
    pub(crate) url: Option<String>,
    /// The user of the collector.
    pub(crate) user: Option<&'static str>,
    /// Lines in the table of the sink, instead of short rolls.
    pub(crate) sink: Option<&'static str>,
    /// Bytes of a line after its number.
    pub(crate) width: usize,
}

/// A collector under load that stores below its own directory.
pub(crate) struct Site {
    /// The name of its directory, and of its fault in the output.
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
    /// Starts it, and waits until a file is visible.
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

    /// Returns its directory in HDFS.
    pub(crate) fn directory(&self) -> String {
        format!("/{}", self.name)
    }

    /// Returns the data directory of the collector.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("collector")
    }

    /// Returns the number of files made visible since the start of the collector.
    fn files(&self) -> f64 {
        let metrics = self.collector.metrics();
        metrics.and_then(|all| all.sum("aqueduct_sink_visible_files_total")).unwrap_or(0.0)
    }

    /// Returns the current end of the collector's log, as a start for later searches.
    pub(crate) fn logged(&self) -> usize {
        self.collector.output().len()
    }

    /// Waits until the collector has logged all of these in one line after `from`. Returns that
    /// line.
    pub(crate) fn until_said(&self, from: usize, parts: &[&str]) -> String {
        wait::until(&format!("a line of the log with {parts:?}"), PATIENCE, || {
            let output = self.collector.output();
            let said = |line: &&str| parts.iter().all(|part| line.contains(part));
            output[from..].lines().find(said).map(str::to_owned)
        })
    }

    /// Asserts that the collector is alive, accepts events, and reports why it stores none, with
    /// `parts`.
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

    /// Prints the time from the end of the fault until another file is visible.
    pub(crate) fn recovers(&self, what: &str) {
        self.recovered(what, self.shows_one_more());
    }

    /// Same, since this start of the collector.
    pub(crate) fn recovers_since(&self, what: &str, started: Instant) {
        wait::until("a file of its own", PATIENCE, || (self.files() > 0.0).then_some(()));
        self.recovered(what, started.elapsed());
    }

    fn recovered(&self, what: &str, after: Duration) {
        self.figure(format!("{what}: a file visible after {:.1} s", after.as_secs_f64()));
    }

    /// Waits until another file is visible. Returns how long that took.
    pub(crate) fn shows_one_more(&self) -> Duration {
        let (began, seen) = (Instant::now(), self.files());
        wait::until("one more file", PATIENCE, || (self.files() > seen).then_some(()));
        began.elapsed()
    }

    /// Observes a permanent fault for `least`, and until a file is visible. Returns the longest
    /// time without a new file.
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

    /// Asserts that a permanent fault is not logged repeatedly or with Java stack traces.
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

    /// Adds a line to print at the end.
    pub(crate) fn figure(&self, text: String) {
        self.figures.lock().expect("no test has failed").push(text);
    }

    /// Ends the load, and checks with Hadoop's shell and `aqueduct verify` that every line is there
    /// once.
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

/// Sleeps for the duration of a fault, which is shorter outside of long tests.
pub(crate) fn last(short: u64, long: u64) {
    thread::sleep(Duration::from_secs(if is_long() { long } else { short }));
}
