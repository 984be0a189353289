//! Flume 1.11 as a peer: two agents with file channels, a common setup.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::loopback::free_address;

use super::{Contender, Running, Work};
use crate::cache::Cache;
use crate::error::{Doing, Result};
use crate::process::{self, Process};

const VERSION: &str = "flume-1.11.0";
/// Events per transaction: the most common advice, and the fastest of the usual values here.
const BATCH: u32 = 1000;
/// Flume accepts only whole seconds, and with less it closes files between two batches.
const IDLE_S: u32 = 3;
const HEAP: &str = "-Xmx1g";
/// Time for both agents to start completely after the first port is open.
const WARM_UP: Duration = Duration::from_secs(5);

/// Flume's class path, downloaded once.
#[derive(Debug)]
pub(super) struct Flume {
    jars: PathBuf,
}

/// Returns the folder of the jars; Maven downloads them unless they are in the cache.
pub(crate) fn jars(cache: &Cache) -> Result<PathBuf> {
    let root = cache.build_once(VERSION, |dir| {
        let pom = dir.join("pom.xml");
        fs::write(&pom, include_str!("../../peers/flume/pom.xml")).at("write", &pom)?;
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "-f"]).arg(&pom).args([
            "dependency:copy-dependencies",
            "-DoutputDirectory=lib",
            "-DincludeScope=runtime",
        ]);
        process::run("mvn (jars of Flume)", &mut maven).map(drop)
    })?;
    Ok(root.join("lib"))
}

/// Returns a Java command with the heap, the open packages and the class path that Flume needs.
pub(crate) fn java(jars: &Path, dir: &Path) -> Command {
    let mut java = Command::new("java");
    java.arg(HEAP)
        .args(
            ["java.lang", "java.nio", "sun.nio.ch"]
                .map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")),
        )
        .arg(format!("-Dlog4j2.configurationFile={}/log4j2.xml", dir.display()))
        .arg("-cp")
        .arg(format!("{}/*", jars.display()));
    java
}

impl Flume {
    /// Downloads the jars.
    pub(super) fn prepare(cache: &Cache) -> Result<Self> {
        Ok(Self { jars: jars(cache)? })
    }

    fn agent(&self, name: &str, dir: &Path) -> Result<Process> {
        let mut java = java(&self.jars, dir);
        java.args(["org.apache.flume.node.Application", "--no-reload-conf", "-n", name, "-f"])
            .arg(dir.join(format!("{name}.properties")));
        Process::spawn(name, java, dir)
    }
}

impl Contender for Flume {
    fn name(&self) -> &'static str {
        "flume-1.11"
    }

    fn note(&self) -> String {
        format!("Flume: batch {BATCH}, {HEAP}, file channels, idle roll {IDLE_S} s")
    }

    fn start(&self, work: &Work<'_>) -> Result<Running> {
        let port = free_address().port();
        let fill = |text: &str| {
            text.replace("@WATCHED@", &work.watched.display().to_string())
                .replace("@DIR@", &work.scratch.display().to_string())
                .replace("@STORE@", &format!("{}{}", work.hdfs.url(), work.folder))
                .replace("@PORT@", &port.to_string())
                .replace("@BATCH@", &BATCH.to_string())
                .replace("@IDLE_S@", &IDLE_S.to_string())
        };
        for (name, text) in [
            ("edge.properties", include_str!("../../peers/flume/edge.properties")),
            ("collector.properties", include_str!("../../peers/flume/collector.properties")),
            ("log4j2.xml", include_str!("../../peers/flume/log4j2.xml")),
        ] {
            let path = work.scratch.join(name);
            fs::write(&path, fill(text)).at("write", &path)?;
        }
        let mut collector = self.agent("collector", work.scratch)?;
        collector.wait_for_port(port, Duration::from_secs(60))?;
        let edge = self.agent("edge", work.scratch)?;
        thread::sleep(WARM_UP);
        Ok(Running { edge, collector })
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(600)
    }
}
