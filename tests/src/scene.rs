//! A site whose store is changed from outside, and the operator's reaction.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::agent::{Agent, program};
use crate::reconcile::compare;
use crate::site::Site;
use crate::wait;

/// Timeout of a stop.
pub const STOP: Duration = Duration::from_secs(25);
/// Timeout of a log message.
const SAID: Duration = Duration::from_secs(60);
/// Lines per log.
pub const LINES: usize = 500;

/// A site that has stored the first 1,500 lines, and its agents.
#[derive(Debug)]
pub struct Scene {
    /// The site.
    pub site: Site,
    /// Its collector.
    pub collector: Agent,
    /// Its edge.
    pub edge: Agent,
    /// Number of logged lines.
    pub written: usize,
    /// Part of the collector's output that was already checked, in bytes.
    seen: usize,
}

impl Scene {
    /// Starts the agents, and waits until the first lines are stored.
    ///
    /// # Panics
    ///
    /// When an agent does not respond in time.
    pub fn begin(site: Site) -> Self {
        let (mut collector, mut edge) = (site.collector(), site.edge());
        collector.start();
        edge.start();
        let mut scene = Self { site, collector, edge, written: 0, seen: 0 };
        for name in ["one", "two", "three"] {
            scene.log(name);
            scene.until_stored();
        }
        scene
    }

    /// Writes a log.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn log(&mut self, name: &str) {
        self.site.log(name, LINES);
        self.written += LINES;
    }

    /// Waits until readers see all logged lines.
    ///
    /// # Panics
    ///
    /// After a timeout.
    pub fn until_stored(&self) {
        self.site.wait_until_stored(self.written);
    }

    /// Asserts that the collector logs what to do, and stores nothing new.
    ///
    /// # Panics
    ///
    /// When it does not, or stores something.
    pub fn is_stopped(&mut self, why: &str) {
        self.stores_nothing(why, "aqueduct ledger show --store");
    }

    /// Asserts that the collector logs this about new events, and stores none of them.
    ///
    /// # Panics
    ///
    /// When it does not, or stores something.
    pub fn stores_nothing(&mut self, why: &str, said: &str) {
        let (before, from) = (self.site.stored().len(), self.seen);
        self.log(why);
        wait::until(&format!("the sink to say `{said}`"), SAID, || {
            self.collector.output()[from..].contains(said).then_some(())
        });
        thread::sleep(Duration::from_secs(2));
        self.seen = self.collector.output().len();
        assert_eq!(self.site.stored().len(), before, "{why}: it stores nothing");
    }

    /// Makes an operator show, adopt or rebuild the ledger; returns the output of the command.
    ///
    /// # Panics
    ///
    /// When the exit code is wrong: 1 for `show`, because a decision is needed.
    pub fn decide(&self, what: &str) -> String {
        let (store, sink, data_dir) = (self.site.store(), self.sink(), self.data_dir());
        let operator = Operator { store: &store, sink: &sink, data_dir: &data_dir };
        let (code, said) = operator.does(what, self.site.conf_dir().as_deref(), &[]);
        assert_eq!(code, Some(i32::from(what == "show")), "{what}: {said}");
        said
    }

    /// Starts the collector, with the current store of the site.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(&mut self) {
        self.collector = self.site.collector();
        self.seen = self.collector.output().len();
        self.collector.start();
    }

    /// Stops both agents.
    ///
    /// # Panics
    ///
    /// When one does not stop in time.
    pub fn stop(&mut self) {
        self.edge.stop(STOP);
        self.collector.stop(STOP);
    }

    /// Asserts that all lines are stored, each once, and that the proof succeeds.
    ///
    /// # Panics
    ///
    /// When one of these fails.
    pub fn ends_well(mut self) {
        self.until_stored();
        self.stop();
        let found = compare(&self.site.logged(), &self.site.stored());
        assert!(found.is_none(), "{found}");
        self.site.prove();
    }

    /// Returns the data directory of its collector.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.site.path().join("collector")
    }

    /// Returns the name of the collector's sink.
    ///
    /// # Panics
    ///
    /// When its settings have none.
    #[must_use]
    pub fn sink(&self) -> String {
        sink_of(&self.site.path().join("collector.toml"))
    }
}

/// Returns the name of the first sink of a configuration.
///
/// # Panics
///
/// When it has none, or cannot be read.
#[must_use]
pub fn sink_of(config: &Path) -> String {
    let text = fs::read_to_string(config).expect("its settings");
    let table = text.lines().find_map(|line| line.strip_prefix("[sinks.")).expect("a sink");
    table.trim_end_matches(']').to_owned()
}

/// Runs `aqueduct ledger` for a ledger.
#[derive(Debug)]
pub struct Operator<'a> {
    /// The `url` of the sink.
    pub store: &'a str,
    /// Name of the sink.
    pub sink: &'a str,
    /// The data directory of a collector of the ledger.
    pub data_dir: &'a Path,
}

impl Operator<'_> {
    /// Runs `aqueduct ledger WHAT` with these further arguments. Returns the exit status and the
    /// output.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn does(
        &self,
        what: &str,
        conf_dir: Option<&Path>,
        more: &[&str],
    ) -> (Option<i32>, String) {
        let Self { store, sink, data_dir } = self;
        let mut command = program("aqueduct");
        command.args(["ledger", what, "--store", store, "--sink", sink, "--data-dir"]);
        command.arg(data_dir).args(more).env_remove("HADOOP_CONF_DIR");
        if let Some(conf_dir) = conf_dir {
            command.env("HADOOP_CONF_DIR", conf_dir);
        }
        let output = command.output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}
