//! Aqueduct itself: the two programs with the meaning of their flags, and durable channels at both
//! tiers. Only the idle roll of the store differs, so the collector uses a configuration file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::loopback::free_address;

use super::{Contender, Running, Work};
use crate::error::{Doing, Result};
use crate::process::Process;
use crate::programs::{self, IDLE_ROLL, Programs};

/// Time for the edge to scan its folder and connect to the collector.
const WARM_UP: Duration = Duration::from_millis(500);

/// The guarantee of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    ExactlyOnce,
    AtLeastOnce,
}

/// Both built programs.
#[derive(Debug)]
pub(super) struct Ours {
    programs: Programs,
    promise: Promise,
}

impl Ours {
    /// Builds the programs.
    pub(super) fn prepare(promise: Promise) -> Result<Self> {
        Ok(Self { programs: Programs::prepare()?, promise })
    }

    /// Writes a file with the meaning of the collector's flags, and the idle roll of this
    /// benchmark.
    fn collector_config(&self, work: &Work<'_>, listen: &str, admin_port: u16) -> Result<PathBuf> {
        let config = with_settings(&self.printed(work, listen, admin_port)?, self.promise)?;
        written(work, &config)
    }

    fn printed(&self, work: &Work<'_>, listen: &str, admin_port: u16) -> Result<String> {
        let store = format!("{}{}", work.hdfs.url(), work.folder);
        programs::collector_flags(&self.programs, listen, admin_port, &store, work.scratch)
    }

    /// Starts two tiers with channels large enough for an outage; also returns the collector's
    /// admin port.
    pub(super) fn start_large(&self, work: &Work<'_>) -> Result<(Running, u16)> {
        let listen = free_address().to_string();
        let metrics_port = free_address().port();
        let config = programs::with_room(&self.printed(work, &listen, metrics_port)?)?;
        let collector = self.collector(work, &written(work, &config)?, metrics_port)?;
        let admin_port = free_address().port();
        let edge =
            programs::large_edge(&self.programs, work.watched, &listen, admin_port, work.scratch)?;
        let edge = programs::start("edge", edge, admin_port, work.scratch)?;
        thread::sleep(WARM_UP);
        Ok((Running { edge, collector }, metrics_port))
    }

    fn collector(&self, work: &Work<'_>, config: &Path, admin_port: u16) -> Result<Process> {
        let mut collector = Command::new(&self.programs.collector);
        collector.arg("--config").arg(config).env("HADOOP_CONF_DIR", work.hdfs.conf_dir());
        programs::start("collector", collector, admin_port, work.scratch)
    }
}

fn written(work: &Work<'_>, config: &str) -> Result<PathBuf> {
    let path = work.scratch.join("collector.toml");
    fs::write(&path, config).at("write", &path)?;
    Ok(path)
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        match self.promise {
            Promise::ExactlyOnce => "aqueduct",
            Promise::AtLeastOnce => "at-least-once",
        }
    }

    fn note(&self) -> String {
        let name = self.name();
        format!("{name}: the flags' defaults, durable channels, idle roll {IDLE_ROLL}")
    }

    fn start(&self, work: &Work<'_>) -> Result<Running> {
        let listen = free_address().to_string();
        let admin_port = free_address().port();
        let config = self.collector_config(work, &listen, admin_port)?;
        let collector = self.collector(work, &config, admin_port)?;
        let admin_port = free_address().port();
        let edge = programs::edge(&self.programs, work.watched, &listen, admin_port, work.scratch);
        let edge = programs::start("edge", edge, admin_port, work.scratch)?;
        thread::sleep(WARM_UP);
        Ok(Running { edge, collector })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }
}

/// Adds the idle roll to `config`, and the guarantee if it is not the default.
fn with_settings(config: &str, promise: Promise) -> Result<String> {
    let promise = match promise {
        Promise::ExactlyOnce => "",
        Promise::AtLeastOnce => "\nguarantee = \"at_least_once\"",
    };
    programs::with_sink_settings(config, promise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_roll_becomes_a_setting_of_the_sink() {
        let config = "[channels.main]\ntype = \"durable\"\n\n[sinks.store]\ntype = \"hdfs\"\n";
        let expected = "[channels.main]\ntype = \"durable\"\n\n[sinks.store]\n\
                        roll = { idle_max = \"200ms\" }\ntype = \"hdfs\"\n";
        assert_eq!(with_settings(config, Promise::ExactlyOnce).unwrap(), expected);
        let weaker = with_settings(config, Promise::AtLeastOnce).unwrap();
        assert!(weaker.contains("\nguarantee = \"at_least_once\"\ntype = \"hdfs\"\n"), "{weaker}");
        assert!(with_settings("[agent]", Promise::ExactlyOnce).is_err());
    }
}
