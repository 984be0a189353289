//! A real HBase, from its published jars: master, two region servers and ZooKeeper in one process,
//! with all files on the local disk.
//!
//! Flushed log data of a region server is in the kernel, so that a kill loses nothing of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::flume::jars_of;
use crate::http;
use crate::process::{Process, tail};
use crate::wait;

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hbase/pom.xml"));

const LIMIT: Duration = Duration::from_secs(120);

/// Maximum size of a cell.
pub const CELL_BYTES_MAX: usize = 4096;

/// A running or killed cluster. Killed on drop.
#[derive(Debug)]
pub struct Hbase {
    /// Address of its master.
    pub master: SocketAddr,
    /// Address of its ZooKeeper.
    pub zookeeper: SocketAddr,
    dir: PathBuf,
    lives: usize,
    process: Option<Process>,
}

impl Hbase {
    /// Starts a cluster with all of its files in `dir`, and waits until its master is up.
    ///
    /// # Panics
    ///
    /// When the jars cannot be downloaded, or it does not start in time.
    pub fn start(dir: &Path) -> Self {
        let dir = dir.join("hbase");
        fs::create_dir(&dir).expect("the test's own folder");
        let (master, zookeeper) = (http::free_address(), http::free_address());
        fs::write(dir.join("hbase-site.xml"), site(&dir, master, zookeeper))
            .expect("the test's own folder");
        let mut hbase = Self { master, zookeeper, dir, lives: 0, process: None };
        hbase.revive();
        hbase
    }

    /// Returns a Java command with its jars and its configuration.
    fn java(&self, level: &str) -> Command {
        let mut java = Command::new("java");
        java.current_dir(&self.dir).args(["-Xmx512m", "-XX:TieredStopAtLevel=1"]).args(
            ["java.lang", "java.lang.reflect", "java.nio", "java.util", "sun.nio.ch"]
                .map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")),
        );
        java.arg(format!("-Dorg.slf4j.simpleLogger.defaultLogLevel={level}"));
        let jars = jars_of("hbase-2.6.1", POM);
        java.arg("-cp").arg(format!("{}:{}/*", self.dir.display(), jars.display()));
        java
    }

    /// Restarts it after [`Hbase::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it is running, or does not start in time.
    pub fn revive(&mut self) {
        assert!(self.process.is_none(), "HBase runs already");
        self.lives += 1;
        let mut java = self.java("info");
        java.args(["org.apache.hadoop.hbase.master.HMaster", "start", "--localRegionServers=2"]);
        let out = self.dir.join(format!("out-{}", self.lives));
        let mut process = Process::start("hbase", java, &out);
        wait::until("HBase to start", LIMIT, || {
            assert!(process.is_alive(), "HBase ended:\n{}", tail(&process.output()));
            process.output().contains("Master has completed initialization").then_some(())
        });
        self.process = Some(process);
    }

    /// Kills all of it with -9.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running HBase").kill();
    }

    /// Runs a Java program of one file with these arguments, and returns its output lines.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn run(&self, source: &str, arguments: &[&str]) -> Vec<String> {
        let file = self.dir.join("Rows.java");
        fs::write(&file, source).expect("the test's own folder");
        let mut java = self.java("error");
        java.arg(file).args(arguments).stdin(Stdio::null());
        let output = java.output().expect("java runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }
}

fn site(dir: &Path, master: SocketAddr, zookeeper: SocketAddr) -> String {
    let property = |(name, value): (&str, String)| {
        format!("<property><name>{name}</name><value>{value}</value></property>\n")
    };
    let (at, host) = (dir.display(), master.ip().to_string());
    let properties = [
        ("hbase.rootdir", format!("file://{at}/data")),
        ("hbase.tmp.dir", format!("{at}/tmp")),
        ("hbase.zookeeper.property.dataDir", format!("{at}/zookeeper")),
        ("hbase.zookeeper.property.clientPort", zookeeper.port().to_string()),
        ("hbase.zookeeper.quorum", host.clone()),
        ("hbase.master.hostname", host.clone()),
        ("hbase.master.ipc.address", host.clone()),
        ("hbase.master.port", master.port().to_string()),
        ("hbase.master.info.port", "-1".to_owned()),
        ("hbase.regionserver.hostname", host.clone()),
        ("hbase.regionserver.ipc.address", host),
        ("hbase.regionserver.port", "0".to_owned()),
        ("hbase.regionserver.info.port", "-1".to_owned()),
        ("hbase.client.keyvalue.maxsize", "0".to_owned()),
        ("hbase.server.keyvalue.maxsize", CELL_BYTES_MAX.to_string()),
        ("hbase.wal.provider", "filesystem".to_owned()),
        // The default one adds checksums and does not flush.
        ("fs.file.impl", "org.apache.hadoop.fs.RawLocalFileSystem".to_owned()),
        ("hbase.unsafe.stream.capability.enforce", "false".to_owned()),
    ];
    format!("<configuration>\n{}</configuration>\n", properties.map(property).concat())
}
