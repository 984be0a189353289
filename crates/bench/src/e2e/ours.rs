//! Aqueduct itself: the two programs with durable channels, from configuration files.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Contender, Running, Work};
use crate::error::Result;
use crate::process::{self, Process};
use crate::programs::Programs;

const IDLE_ROLL: &str = "200ms";
/// For the edge's first look at its folder and its connection to the collector.
const WARM_UP: Duration = Duration::from_secs(1);

/// Both programs, built.
#[derive(Debug)]
pub(super) struct Ours {
    programs: Programs,
}

impl Ours {
    /// Builds the programs.
    pub(super) fn prepare() -> Result<Self> {
        Ok(Self { programs: Programs::prepare()? })
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        "aqueduct"
    }

    fn note(&self) -> String {
        format!("Aqueduct: default settings, durable channels, idle roll {IDLE_ROLL}")
    }

    fn start(&self, work: &Work<'_>) -> Result<Running> {
        let port = process::free_port()?;
        let mut collector = Command::new(&self.programs.collector);
        collector
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--store", &format!("{}{}", work.hdfs.url(), work.folder)])
            .arg("--data-dir")
            .arg(work.scratch.join("collector"))
            .env("HADOOP_CONF_DIR", work.hdfs.conf_dir());
        let mut collector = Process::spawn("aqueduct-collector", collector, work.scratch)?;
        collector.wait_for_port(([127, 0, 0, 1], port).into(), Duration::from_secs(30))?;
        let mut edge = Command::new(&self.programs.edge);
        edge.args(["--tail", &format!("{}/*.log", work.watched.display())])
            .args(["--to", &format!("127.0.0.1:{port}")])
            .arg("--data-dir")
            .arg(work.scratch.join("edge"));
        let edge = Process::spawn("aqueduct-edge", edge, work.scratch)?;
        thread::sleep(WARM_UP);
        Ok(Running { edge, collector })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }
}
