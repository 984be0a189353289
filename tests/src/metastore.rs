//! A real Hive metastore, from its published jars, with an embedded Derby or with PostgreSQL.
//!
//! One Java process; Maven downloads the jars once to the user's cache.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::flume::jars_of;
use crate::http;
use crate::postgres::{Postgres, USER};
use crate::process::{Process, tail};
use crate::wait;

/// Tables of its transaction manager, which has the locks. It creates only the others itself.
const LOCKS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hive/locks.sql"));
/// How long a lock lives without a sign of life.
const LOCK_LIFE: &str = "10s";

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hive/pom.xml"));

const LIMIT: Duration = Duration::from_secs(60);

/// A running or killed metastore. Killed on drop.
#[derive(Debug)]
pub struct Metastore {
    address: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Metastore {
    /// Starts a metastore with all of its files in `dir`, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When the jars cannot be downloaded, or it does not answer in time.
    pub fn start(dir: &Path) -> Self {
        let database =
            format!("jdbc:derby:;databaseName={}/metastore/db;create=true", dir.display());
        Self::start_with(dir, &database, "org.apache.derby.jdbc.EmbeddedDriver", "APP")
    }

    /// Starts a metastore with a database of this server. It has locks, which expire soon, and
    /// checks the requirements of commits.
    ///
    /// # Panics
    ///
    /// When the jars cannot be downloaded, or it does not answer in time.
    pub fn start_on(dir: &Path, postgres: &Postgres) -> Self {
        postgres.ask("postgres", "CREATE DATABASE metastore");
        postgres.ask("metastore", LOCKS);
        let database = format!("jdbc:postgresql://{}/metastore", postgres.address);
        Self::start_with(dir, &database, "org.postgresql.Driver", USER)
    }

    fn start_with(dir: &Path, database: &str, driver: &str, user: &str) -> Self {
        let dir = dir.join("metastore");
        fs::create_dir(&dir).expect("the test's own folder");
        let site = site(&dir, database, driver, user);
        fs::write(dir.join("metastore-site.xml"), site).expect("the test's own folder");
        let mut metastore = Self { address: http::free_address(), dir, process: None };
        metastore.revive();
        metastore
    }

    /// Returns a Java command with its jars and its configuration.
    pub fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.current_dir(&self.dir).args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp"]);
        let jars = jars_of("metastore-4.0.1-postgresql", POM);
        java.arg(format!("{}:{}/*", self.dir.display(), jars.display()));
        java
    }

    /// Restarts it after [`Metastore::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it is running, or does not answer in time.
    pub fn revive(&mut self) {
        assert!(self.process.is_none(), "the metastore runs already");
        let mut java = self.java();
        java.arg("org.apache.hadoop.hive.metastore.HiveMetaStore");
        java.args(["-p", &self.address.port().to_string()]);
        let mut process = Process::start("metastore", java, &self.dir.join("out"));
        wait::until("the metastore to answer", LIMIT, || {
            assert!(process.is_alive(), "the metastore ended:\n{}", tail(&process.output()));
            TcpStream::connect(self.address).ok()
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running metastore").kill();
    }

    /// Returns `thrift://host:port`.
    pub fn url(&self) -> String {
        format!("thrift://{}", self.address)
    }
}

fn site(dir: &Path, database: &str, driver: &str, user: &str) -> String {
    let property = |name: &str, value: &str| {
        format!("<property><name>{name}</name><value>{value}</value></property>\n")
    };
    let properties = [
        property("metastore.warehouse.dir", &format!("file://{}/warehouse", dir.display())),
        property("metastore.thrift.bind.host", "127.0.0.1"),
        property("javax.jdo.option.ConnectionURL", database),
        property("javax.jdo.option.ConnectionDriverName", driver),
        property("javax.jdo.option.ConnectionUserName", user),
        property("metastore.txn.timeout", LOCK_LIFE),
        property("metastore.timedout.txn.reaper.interval", "2s"),
        property("metastore.housekeeping.threads.on", "true"),
        property("datanucleus.schema.autoCreateAll", "true"),
        property("metastore.schema.verification", "false"),
        // The default class is missing in the jars of the standalone metastore.
        property(
            "metastore.expression.proxy",
            "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy",
        ),
    ];
    format!("<configuration>\n{}</configuration>\n", properties.concat())
}
