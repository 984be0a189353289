//! Aqueduct with a collector that drops stored events, or writes them to a file store.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::loopback::free_address;

use super::{Contender, Running, fill};
use crate::error::{Doing, Result};
use crate::process::Process;
use crate::programs::{self, Programs};

/// Events that a collector has accepted durably; at an edge, events that it has read.
pub(crate) const METRIC: &str = "aqueduct_source_events_total";
/// Events that a collector's sink has delivered.
const DELIVERED: &str = "aqueduct_sink_stored_events_total";
/// Time for the edge to scan its folder and connect to the collector.
const WARM_UP: Duration = Duration::from_millis(500);

/// Both built programs.
#[derive(Debug)]
pub(crate) struct Ours {
    programs: Programs,
}

/// A data folder for each tier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folders<'a> {
    pub(crate) edge: &'a Path,
    pub(crate) collector: &'a Path,
}

impl Ours {
    /// Builds the programs.
    pub(crate) fn prepare() -> Result<Self> {
        Ok(Self { programs: Programs::prepare()? })
    }
}

/// A collector that keeps nothing.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) process: Process,
    /// The address for edges.
    pub(crate) address: String,
    pub(crate) metrics_port: u16,
}

impl Ours {
    /// Starts only the collector.
    pub(crate) fn collector(&self, scratch: &Path) -> Result<Collector> {
        let (port, metrics_port) = (free_address().port(), free_address().port());
        let values = [
            ("DIR", scratch.display().to_string()),
            ("PORT", port.to_string()),
            ("METRICS_PORT", metrics_port.to_string()),
        ];
        let config = scratch.join("collector.toml");
        fill(include_str!("../../peers/aqueduct/collector.toml"), &values, &config)?;
        self.run_collector(&config, port, metrics_port, scratch)
    }

    /// Starts a collector that writes to `store`, with the meaning of its flags except for these
    /// sink settings.
    fn storing_collector(&self, store: &str, settings: &str, scratch: &Path) -> Result<Collector> {
        let (port, metrics_port) = (free_address().port(), free_address().port());
        let listen = format!("127.0.0.1:{port}");
        let config =
            programs::collector_flags(&self.programs, &listen, metrics_port, store, scratch)?;
        let path = scratch.join("collector.toml");
        fs::write(&path, programs::with_sink_settings(&config, settings)?).at("write", &path)?;
        self.run_collector(&path, port, metrics_port, scratch)
    }

    fn run_collector(
        &self,
        config: &Path,
        port: u16,
        metrics_port: u16,
        scratch: &Path,
    ) -> Result<Collector> {
        let mut collector = Command::new(&self.programs.collector);
        collector.arg("--config").arg(config);
        let process = programs::start("collector", collector, metrics_port, scratch)?;
        Ok(Collector { process, address: format!("127.0.0.1:{port}"), metrics_port })
    }

    /// Starts both tiers, each with its own data folder.
    pub(crate) fn start_in(&self, watched: &Path, folders: &Folders<'_>) -> Result<Running> {
        let collector = self.collector(folders.collector)?;
        self.with_edge(collector, watched, METRIC, folders.edge)
    }

    /// Starts both tiers with a store; counts the events that the sink has delivered.
    pub(crate) fn start_storing(
        &self,
        watched: &Path,
        store: &str,
        settings: &str,
        folders: &Folders<'_>,
    ) -> Result<Running> {
        let collector = self.storing_collector(store, settings, folders.collector)?;
        self.with_edge(collector, watched, DELIVERED, folders.edge)
    }

    fn with_edge(
        &self,
        collector: Collector,
        watched: &Path,
        metric: &'static str,
        scratch: &Path,
    ) -> Result<Running> {
        let Collector { process: collector, address, metrics_port } = collector;
        let admin_port = free_address().port();
        let edge = programs::edge(&self.programs, watched, &address, admin_port, scratch);
        let edge = programs::start("edge", edge, admin_port, scratch)?;
        thread::sleep(WARM_UP);
        Ok(Running { edge, collector, metrics_port, metric })
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        "aqueduct"
    }

    fn start(&self, watched: &Path, scratch: &Path) -> Result<Running> {
        self.start_in(watched, &Folders { edge: scratch, collector: scratch })
    }
}
