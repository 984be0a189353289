//! The OpenTelemetry Collector as a peer, built from its published Go modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::loopback::free_address;

use super::{Contender, Running, fill};
use crate::cache::Cache;
use crate::error::{Doing, Result};
use crate::process::{self, Process};

const VERSION: &str = "v0.160.0";
/// Time for the edge to scan its folder.
const WARM_UP: Duration = Duration::from_secs(2);

/// The program, built once.
#[derive(Debug)]
pub(super) struct Otelcol {
    program: PathBuf,
}

impl Otelcol {
    /// Builds it with the project's own builder unless it is in the cache.
    pub(super) fn prepare(cache: &Cache) -> Result<Self> {
        let root = cache.build_once(&format!("otelcol-{VERSION}"), |dir| {
            crate::progress("building the OpenTelemetry Collector; this takes minutes, once");
            let config = dir.join("builder.yaml");
            fs::write(&config, include_str!("../../peers/otelcol/builder.yaml"))
                .at("write", &config)?;
            let builder = format!("go.opentelemetry.io/collector/cmd/builder@{VERSION}");
            let mut go = Command::new("go");
            go.args(["run", &builder, "--config", "builder.yaml"]).current_dir(dir);
            process::run("go run (builder of the OpenTelemetry Collector)", &mut go).map(drop)
        })?;
        Ok(Self { program: root.join("build/otelcol") })
    }

    fn tier(&self, name: &str, scratch: &Path) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(scratch.join(format!("{name}.yaml")));
        Process::spawn(name, command, scratch)
    }
}

impl Contender for Otelcol {
    fn name(&self) -> &'static str {
        "otelcol"
    }

    fn start(&self, watched: &Path, scratch: &Path) -> Result<Running> {
        let (port, metrics_port) = (free_address().port(), free_address().port());
        let values = [
            ("WATCHED", watched.display().to_string()),
            ("DIR", scratch.display().to_string()),
            ("PORT", port.to_string()),
            ("METRICS_PORT", metrics_port.to_string()),
        ];
        let edge = include_str!("../../peers/otelcol/edge.yaml");
        fill(edge, &values, &scratch.join("edge.yaml"))?;
        let collector = include_str!("../../peers/otelcol/collector.yaml");
        fill(collector, &values, &scratch.join("collector.yaml"))?;
        let mut collector = self.tier("collector", scratch)?;
        collector.wait_for_port(port, Duration::from_secs(30))?;
        let edge = self.tier("edge", scratch)?;
        thread::sleep(WARM_UP);
        let metric = "otelcol_receiver_accepted_log_records";
        Ok(Running { edge, collector, metrics_port, metric })
    }
}
