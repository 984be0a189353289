//! A machine of a tier, on which Flume or our agent runs with the same file; and these files.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::flume::Flume;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::nginx::WebServer;
use aqueduct_tests::wait;
use serde_json::Value;

use super::{HELD_MIN, LIMIT};

/// The executed `aqueduct` commands.
static RUN: Mutex<Vec<Vec<String>>> = Mutex::new(Vec::new());

/// The page with the steps.
const PAGE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/migrate-from-flume.md"));

/// Returns the commands in the page's section that were not run with those options.
pub(crate) fn commands_not_run() -> Vec<&'static str> {
    let (_, section) = PAGE.split_once("\n## Replace a tier, step by step\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("a section after it");
    let commands = section.lines().filter(|line| line.trim_start().starts_with("aqueduct "));
    let run = RUN.lock().expect("no panic in between");
    let was_run = |line: &&str| {
        // Without site-specific parts: paths, file names, and addresses.
        let is_said = |word: &&str| word.starts_with('-') || !word.contains(['/', '.', ':']);
        let line = line.split(['>', '#']).next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().skip(1).filter(is_said).collect();
        run.iter().any(|it| words.iter().all(|word| it.iter().any(|other| other == word)))
    };
    let (done, not_run): (Vec<_>, Vec<_>) = commands.partition(was_run);
    assert!(!done.is_empty(), "the section has no command, or none was run");
    not_run
}

fn note(arguments: &[&str]) {
    let words = arguments.iter().map(|&word| word.to_owned()).collect();
    RUN.lock().expect("no panic in between").push(words);
}

/// A machine of a tier, with Flume or our agent on the same file.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    dir: PathBuf,
    properties: String,
    /// A setting with which its source accepts nothing.
    takes_nothing: String,
    flume: Option<Flume>,
    ours: Option<Agent>,
    /// Number of events imported from Flume's channel.
    pub(crate) imported: u64,
    asides: u32,
}

impl Host {
    pub(crate) fn new(
        name: &'static str,
        site: &Path,
        properties: &str,
        takes_nothing: &str,
    ) -> Self {
        let dir = site.join(name);
        fs::create_dir_all(&dir).expect("the test's own folder");
        let properties = properties.replace("@NAME@", name).replace("@DIR@", &shown(&dir));
        let takes_nothing = format!("{name}.sources.{takes_nothing}\n");
        let (flume, ours, imported, asides) = (None, None, 0, 0);
        Self { name, dir, properties, takes_nothing, flume, ours, imported, asides }
    }

    pub(crate) fn start_flume(&mut self) {
        self.flume = Some(Flume::start(self.name, &self.properties, &self.dir));
    }

    pub(crate) fn flume(&self) -> &Flume {
        self.flume.as_ref().expect("Flume runs here")
    }

    pub(crate) fn kill_flume(&mut self) {
        self.flume.take().expect("Flume runs here").kill();
    }

    pub(crate) fn stop_flume(&mut self) {
        self.flume.take().expect("Flume runs here").stop();
    }

    /// Starts `aqueduct agent` with Flume's file, after importing what Flume left.
    pub(crate) fn start_ours(&mut self) {
        self.import();
        self.run_file(&[]);
    }

    /// Starts `aqueduct agent` with Flume's file, and with others that replace some of its keys.
    fn run_file(&mut self, more: &[&str]) {
        let file = self.file("properties");
        let data = shown(&self.data_dir());
        let mut arguments = vec!["agent", "-n", self.name, "-f", &file, "--data-dir", &data];
        arguments.extend(more);
        self.run(&arguments);
    }

    fn file(&self, extension: &str) -> String {
        shown(&self.dir.join(format!("{}.{extension}", self.name)))
    }

    fn run(&mut self, arguments: &[&str]) {
        note(&[arguments, &["--admin"]].concat());
        let agent = Agent::new("aqueduct", arguments, &self.dir.join("ours.out"));
        let mut agent = agent.with_conf_dir(Hdfs::shared().conf_dir());
        agent.start();
        self.ours = Some(agent);
    }

    pub(crate) fn ours(&mut self) -> &mut Agent {
        self.ours.as_mut().expect("ours runs here")
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("aqueduct")
    }

    fn channel(&self) -> PathBuf {
        self.data_dir().join("channels/file")
    }

    /// Imports Flume's channel, and moves its files aside: otherwise a restarted Flume would
    /// deliver the same events.
    fn import(&mut self) {
        let (flume, data) = (shown(&self.dir.join("flume")), shown(&self.data_dir()));
        let found = said(&[
            "channel",
            "import-flume",
            &flume,
            "--into",
            &data,
            "--channel",
            "file",
            "--json",
        ]);
        let found: Value = serde_json::from_str(&found).expect("a report in JSON");
        self.imported += found["imported"].as_u64().expect("a number of events");
        self.asides += 1;
        let aside = self.dir.join(format!("flume.imported-{}", self.asides));
        fs::rename(self.dir.join("flume"), aside).expect("the test's own folder");
    }

    pub(crate) fn stop_ours(&mut self) {
        self.ours.take().expect("ours runs here").stop(LIMIT);
    }

    /// Empties our channel, with one key that makes the source accept nothing.
    pub(crate) fn drain(&mut self) {
        self.stop_ours();
        let file = self.file("drain.properties");
        fs::write(&file, &self.takes_nothing).expect("the test's own folder");
        self.run_file(&["-f", &file]);
        let events = |host: &mut Self| host.ours().metrics()?.sum("aqueduct_channel_events");
        wait::until(&format!("{} to be empty", self.name), LIMIT, || {
            events(self).filter(|events| *events == 0.0)
        });
        self.stop_ours();
        let stats = said(&["channel", "stats", &shown(&self.channel()), "--json"]);
        let stats: Value = serde_json::from_str(&stats).expect("numbers in JSON");
        assert_eq!(stats["events"], 0, "{}: {stats}", self.name);
    }

    /// Moves our files aside: a later start begins with an empty channel, at Flume's positions.
    pub(crate) fn put_aside(&mut self) {
        self.asides += 1;
        let aside = self.dir.join(format!("aqueduct.returned-{}", self.asides));
        fs::rename(self.data_dir(), aside).expect("the test's own folder");
    }

    /// Starts our agent again, from its own configuration: the translation, with a change.
    pub(crate) fn start_translated(&mut self, role: &str, change: impl Fn(&str) -> String) {
        self.stop_ours();
        let (file, data) = (self.file("properties"), shown(&self.data_dir()));
        let text = change(&said(&["convert", "-n", self.name, "--data-dir", &data, &file]));
        let file = self.file("toml");
        fs::write(&file, text).expect("the test's own folder");
        said(&["check", &file]);
        self.run(&[role, "--config", &file]);
    }

    /// Writes the positions of the log files to Flume's position file.
    pub(crate) fn export_positions(&self) {
        let positions = said(&["channel", "positions", &shown(&self.channel()), "--flume"]);
        fs::write(self.dir.join("positions.json"), positions).expect("the test's own folder");
    }

    /// Returns how many bytes of its logs Flume has read, according to its position file.
    pub(crate) fn position(&self) -> Option<u64> {
        let text = fs::read_to_string(self.dir.join("positions.json")).ok()?;
        let files: Vec<Value> = serde_json::from_str(&text).ok()?;
        files.iter().map(|file| file["pos"].as_u64()).sum()
    }

    /// Waits until events have arrived here since the start.
    pub(crate) fn wait_until_in_use(&self) {
        wait::until(&format!("events at {}", self.name), LIMIT, || {
            let count = match (&self.flume, &self.ours) {
                (Some(flume), _) => of_source(flume)? as f64,
                (_, Some(ours)) => ours.metrics()?.sum("aqueduct_source_events_total")?,
                (None, None) => unreachable!("something runs here"),
            };
            (count > 0.0).then_some(())
        });
    }

    /// Waits until Flume's channel contains events, so that a stop leaves some in it.
    pub(crate) fn wait_until_held(&self) {
        wait::until(&format!("a channel of {} with events", self.name), LIMIT, || {
            let held = self.flume().counter("CHANNEL.file", "ChannelSize");
            held.filter(|events| *events >= HELD_MIN)
        });
    }

    /// Waits until the sink of a Flume collector opens a file, so that a kill leaves it open.
    pub(crate) fn wait_until_writing(&self) {
        self.wait_until_opened(1 + self.opened().unwrap_or_default());
    }

    /// Waits until the sink of a Flume collector can use HDFS. If stopped earlier, it may hang for
    /// minutes: it keeps renaming its first file, with terminated threads.
    pub(crate) fn wait_until_connected(&self) {
        self.wait_until_opened(1);
    }

    fn wait_until_opened(&self, files: u64) {
        wait::until(&format!("file {files} of {}", self.name), LIMIT, || {
            self.opened().filter(|count| *count >= files)
        });
    }

    fn opened(&self) -> Option<u64> {
        self.flume().counter("SINK.store", "ConnectionCreatedCount")
    }
}

fn of_source(flume: &Flume) -> Option<u64> {
    ["SOURCE.edges", "SOURCE.logs"].iter().find_map(|it| flume.counter(it, "EventAcceptedCount"))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Returns the output of an `aqueduct` command.
fn said(arguments: &[&str]) -> String {
    note(arguments);
    let output = program("aqueduct").args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Returns the file of a collector.
pub(crate) fn collector(listen: SocketAddr, store: &str) -> String {
    format!(
        r"
@NAME@.sources = edges
@NAME@.channels = file
@NAME@.sinks = store
@NAME@.sources.edges.type = avro
@NAME@.sources.edges.bind = 127.0.0.1
@NAME@.sources.edges.port = {port}
@NAME@.sources.edges.channels = file
@NAME@.channels.file.type = file
@NAME@.channels.file.checkpointDir = @DIR@/flume/checkpoint
@NAME@.channels.file.dataDirs = @DIR@/flume/data
@NAME@.channels.file.minimumRequiredSpace = 1048576
@NAME@.sinks.store.type = hdfs
@NAME@.sinks.store.channel = file
@NAME@.sinks.store.hdfs.path = {store}/%{{web}}/%Y-%m-%d
@NAME@.sinks.store.hdfs.filePrefix = @NAME@
@NAME@.sinks.store.hdfs.fileType = DataStream
@NAME@.sinks.store.hdfs.batchSize = 1000
@NAME@.sinks.store.hdfs.rollInterval = 3
@NAME@.sinks.store.hdfs.rollSize = 0
@NAME@.sinks.store.hdfs.rollCount = 0
@NAME@.sinks.store.hdfs.minBlockReplicas = 1
",
        port = listen.port()
    )
}

/// Returns the file of an edge, with the collectors in order of preference.
pub(crate) fn edge(web: &WebServer, collectors: [(&str, SocketAddr); 2]) -> String {
    let logs = web.glob();
    let (folder, _) = logs.rsplit_once('/').expect("a folder");
    let mut text = format!(
        r"
@NAME@.sources = logs
@NAME@.channels = file
@NAME@.sinks = c1 c2
@NAME@.sinkgroups = out
@NAME@.sources.logs.type = TAILDIR
@NAME@.sources.logs.filegroups = access
@NAME@.sources.logs.filegroups.access = {folder}/access\\.log.*
@NAME@.sources.logs.positionFile = @DIR@/positions.json
@NAME@.sources.logs.writePosInterval = 1000
@NAME@.sources.logs.maxBackoffSleep = 1000
@NAME@.sources.logs.batchSize = 500
@NAME@.sources.logs.channels = file
@NAME@.sources.logs.interceptors = time web
@NAME@.sources.logs.interceptors.time.type = timestamp
@NAME@.sources.logs.interceptors.web.type = static
@NAME@.sources.logs.interceptors.web.key = web
@NAME@.sources.logs.interceptors.web.value = @NAME@
@NAME@.channels.file.type = file
@NAME@.channels.file.checkpointDir = @DIR@/flume/checkpoint
@NAME@.channels.file.dataDirs = @DIR@/flume/data
@NAME@.channels.file.minimumRequiredSpace = 1048576
@NAME@.sinkgroups.out.sinks = c1 c2
@NAME@.sinkgroups.out.processor.type = failover
@NAME@.sinkgroups.out.processor.maxpenalty = 2000
"
    );
    for (at, (sink, address)) in collectors.iter().enumerate() {
        text += &format!(
            r"
@NAME@.sinkgroups.out.processor.priority.{sink} = {priority}
@NAME@.sinks.{sink}.type = avro
@NAME@.sinks.{sink}.hostname = 127.0.0.1
@NAME@.sinks.{sink}.port = {port}
@NAME@.sinks.{sink}.batch-size = 500
@NAME@.sinks.{sink}.channel = file
",
            priority = 10 - at,
            port = address.port()
        );
    }
    text
}
