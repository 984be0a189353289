//! Aqueduct with a collector that drops what it has stored.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Contender, Running, fill};
use crate::error::Result;
use crate::process::{self, Process};
use crate::programs::{self, Programs};

/// What a collector has accepted, which is durable there; at an edge, what it has taken in.
pub(crate) const METRIC: &str = "aqueduct_source_events_total";
/// For the edge's first look at its folder and its connection to the collector.
const WARM_UP: Duration = Duration::from_millis(500);

/// Both programs, built.
#[derive(Debug)]
pub(crate) struct Ours {
    programs: Programs,
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
    /// Where edges connect.
    pub(crate) address: String,
    pub(crate) metrics_port: u16,
}

impl Ours {
    /// Starts the collector alone.
    pub(crate) fn collector(&self, scratch: &Path) -> Result<Collector> {
        let (port, metrics_port) = (process::free_port()?, process::free_port()?);
        let values = [
            ("DIR", scratch.display().to_string()),
            ("PORT", port.to_string()),
            ("METRICS_PORT", metrics_port.to_string()),
        ];
        let config = scratch.join("collector.toml");
        fill(include_str!("../../peers/aqueduct/collector.toml"), &values, &config)?;
        let mut collector = Command::new(&self.programs.collector);
        collector.arg("--config").arg(&config);
        let process = programs::start("collector", collector, metrics_port, scratch)?;
        Ok(Collector { process, address: format!("127.0.0.1:{port}"), metrics_port })
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        "aqueduct"
    }

    fn start(&self, watched: &Path, scratch: &Path) -> Result<Running> {
        let Collector { process: collector, address, metrics_port } = self.collector(scratch)?;
        let admin_port = process::free_port()?;
        let edge = programs::edge(&self.programs, watched, &address, admin_port, scratch);
        let edge = programs::start("edge", edge, admin_port, scratch)?;
        thread::sleep(WARM_UP);
        Ok(Running { edge, collector, metrics_port, metric: METRIC })
    }
}
