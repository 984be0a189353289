//! A site whose store is changed by others than its agents, and what an operator does about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::agent::{Agent, program};
use crate::reconcile::compare;
use crate::site::Site;
use crate::wait;

/// Longest time of a stop.
pub const STOP: Duration = Duration::from_secs(25);
/// Longest time until an agent says something.
const SAID: Duration = Duration::from_secs(60);
/// Lines of a log.
pub const LINES: usize = 500;

/// A site where the first 1,500 lines are stored, and its agents.
#[derive(Debug)]
pub struct Scene {
    /// The site.
    pub site: Site,
    /// Its collector.
    pub collector: Agent,
    /// Its edge.
    pub edge: Agent,
    /// Lines that were logged.
    pub written: usize,
    /// Bytes of the collector's output that were looked at.
    seen: usize,
}

impl Scene {
    /// Starts the agents, and has the first lines stored.
    ///
    /// # Panics
    ///
    /// An agent does not do its part in time.
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
    /// It cannot be written.
    pub fn log(&mut self, name: &str) {
        self.site.log(name, LINES);
        self.written += LINES;
    }

    /// Waits until readers see all that was logged.
    ///
    /// # Panics
    ///
    /// They do not in time.
    pub fn until_stored(&self) {
        self.site.wait_until_stored(self.written);
    }

    /// The collector says what to do, and stores nothing of what is new.
    ///
    /// # Panics
    ///
    /// It does not, or it stores something.
    pub fn is_stopped(&mut self, why: &str) {
        self.stores_nothing(why, "aqueduct ledger show --store");
    }

    /// The collector says this of what is new, and stores nothing of it.
    ///
    /// # Panics
    ///
    /// It does not, or it stores something.
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

    /// Has an operator show, adopt or rebuild the ledger; what the command said.
    ///
    /// # Panics
    ///
    /// It does not end as it should: `show` with 1, since something is to be decided.
    pub fn decide(&self, what: &str) -> String {
        let (store, sink, data_dir) = (self.site.store(), self.sink(), self.data_dir());
        let operator = Operator { store: &store, sink: &sink, data_dir: &data_dir };
        let (code, said) = operator.does(what, self.site.conf_dir().as_deref(), &[]);
        assert_eq!(code, Some(i32::from(what == "show")), "{what}: {said}");
        said
    }

    /// Starts the collector, where the site stores now.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start(&mut self) {
        self.collector = self.site.collector();
        self.seen = self.collector.output().len();
        self.collector.start();
    }

    /// Stops both agents.
    ///
    /// # Panics
    ///
    /// One does not stop in time.
    pub fn stop(&mut self) {
        self.edge.stop(STOP);
        self.collector.stop(STOP);
    }

    /// All lines are stored, each once, and the proof says so.
    ///
    /// # Panics
    ///
    /// They are not, or it does not.
    pub fn ends_well(mut self) {
        self.until_stored();
        self.stop();
        let found = compare(&self.site.logged(), &self.site.stored());
        assert!(found.is_none(), "{found}");
        self.site.prove();
    }

    /// The data directory of its collector.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.site.path().join("collector")
    }

    /// The name of the collector's sink.
    ///
    /// # Panics
    ///
    /// Its settings have none.
    #[must_use]
    pub fn sink(&self) -> String {
        sink_of(&self.site.path().join("collector.toml"))
    }
}

/// The name of the first sink of a configuration.
///
/// # Panics
///
/// It has none, or cannot be read.
#[must_use]
pub fn sink_of(config: &Path) -> String {
    let text = fs::read_to_string(config).expect("its settings");
    let table = text.lines().find_map(|line| line.strip_prefix("[sinks.")).expect("a sink");
    table.trim_end_matches(']').to_owned()
}

/// A ledger, for `aqueduct ledger`.
#[derive(Debug)]
pub struct Operator<'a> {
    /// The `url` of the sink.
    pub store: &'a str,
    /// Its name.
    pub sink: &'a str,
    /// The data directory of a collector that has it.
    pub data_dir: &'a Path,
}

impl Operator<'_> {
    /// Runs `aqueduct ledger WHAT`, with these further arguments; how it ended, and what it said.
    ///
    /// # Panics
    ///
    /// It does not start.
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
