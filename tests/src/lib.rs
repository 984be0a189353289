//! Helpers of the system tests: the programs as users start them, and real servers.
//!
//! ```text
//!   wrk ──HTTP──► nginx ──► access.log ◄──rename── logrotate
//!                               │
//!                         aqueduct-edge ──gRPC──► aqueduct-collector ──► HDFS ◄── Hadoop's shell
//! ```
//!
//! Nothing is mocked: the agents are the programs, killed and restarted as processes; the web
//! server, the client, the log rotation and HDFS are the real ones. A plain `cargo test` ignores
//! the tests in `tests/tests`, because they need those programs; `tests/run` installs them, builds
//! ours, and runs everything.
//!
//! Helpers panic on errors, which fails the test.
#![allow(
    clippy::disallowed_methods,
    reason = "system tests look at the machine as it is: its clock, its disk and its network"
)]

pub mod agent;
pub mod certificates;
pub mod chain;
pub mod docs;
pub mod engines;
mod equation;
pub mod fleet;
pub mod flume;
pub mod go;
pub mod hbase;
pub mod hdfs;
pub mod http;
pub mod iceberg;
pub mod kafka;
pub mod kdc;
pub mod killed;
pub mod letters;
pub mod lineage;
pub mod load;
pub mod mariadb;
pub mod metastore;
pub mod mounted;
pub mod nginx;
pub mod node;
pub mod objects;
pub mod postgres;
pub mod process;
pub mod python;
pub mod reconcile;
pub mod registry;
pub mod scene;
pub mod seed;
pub mod site;
pub mod solr;
pub mod store;
pub mod wait;
pub mod wire;

/// Returns whether tests may take minutes: `AQUEDUCT_LONG` is set, as by `tests/run --long`.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("AQUEDUCT_LONG").is_some()
}
