//! `aqueduct demo`: the demo of the crate `demo`, which runs this program as its agents.
//!
//! More demos need the full program: [`table`] appends to an Iceberg table; [`db`] copies a table
//! into files and back; [`iot`] runs devices that publish over MQTT.

#[cfg(feature = "sql")]
mod db;
#[cfg(feature = "mqtt")]
mod iot;
#[cfg(feature = "parquet")]
mod table;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use demo::DemoError;
use thiserror::Error;

const EXAMPLES: &str = "\
Examples:
  aqueduct demo                          send a log that the demo writes
  aqueduct demo /var/log/nginx/*.log     send your own files; the demo only reads them
  aqueduct demo --stay                   keep the agents running at the end, with their pages
  aqueduct demo table                    into an Iceberg table, without a catalog server
  aqueduct demo db                       a table into files and back, both commands killed half-way
  aqueduct demo iot                      1,000 devices of MQTT, the collector killed half-way

Exit code 0 means that no line or row is missing and none is repeated.";

/// Demonstrate Aqueduct on this machine: an edge and two collectors, one of them killed half-way.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct DemosArgs {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    main: demo::DemoArgs,
}

/// The other demos.
#[derive(Debug, Subcommand)]
enum Other {
    /// The same into an Iceberg table, whose rows are counted
    #[cfg(feature = "parquet")]
    Table(table::TableArgs),
    /// A table into files and back into another table, with a kill -9 of each command
    #[cfg(feature = "sql")]
    Db(db::DbArgs),
    /// 1,000 devices publish by MQTT, and a collector stores it, with a kill -9 half-way
    #[cfg(feature = "mqtt")]
    Iot(iot::IotArgs),
}

/// The reason why one of the other demos stopped early.
#[derive(Debug, Error)]
enum OtherError {
    #[error(transparent)]
    Demo(#[from] DemoError),
    #[error("cannot write or read the SQLite database of the demo; check the disk of TMPDIR")]
    #[cfg(feature = "sql")]
    Database(#[from] rusqlite::Error),
    #[error("--broker: {0}")]
    #[cfg(feature = "mqtt")]
    Broker(String),
    #[error(
        "mosquitto is not installed; install it (Debian and Ubuntu: `apt-get install mosquitto`), \
         or name a running broker with `--broker URL`"
    )]
    #[cfg(feature = "mqtt")]
    NoBroker,
    #[error(
        "the broker did not accept the collector's subscription; the end of the collector's \
         log:\n{log}"
    )]
    #[cfg(feature = "mqtt")]
    NotSubscribed { log: String },
    #[error("{device} cannot connect; check the broker")]
    #[cfg(feature = "mqtt")]
    Device { device: String, source: components_mqtt::device::DeviceError },
    #[error(
        "the demo needs {wanted} open files, and the limit is {allowed}; raise it with \
         `ulimit -n`, or use fewer `--devices`"
    )]
    #[cfg(feature = "mqtt")]
    OpenFiles { wanted: u64, allowed: u64 },
    #[error("cannot check the files that the collector of the demo stored; run the demo again")]
    #[cfg(feature = "mqtt")]
    Store(#[source] proof::ProofError),
}

/// Runs a demo and prints its report.
pub(crate) fn run(args: &DemosArgs) -> ExitCode {
    match &args.other {
        #[cfg(feature = "parquet")]
        Some(Other::Table(args)) => demo::run_with(&args.main, Box::new(table::DemoTable)),
        #[cfg(feature = "sql")]
        Some(Other::Db(args)) => demo::play(async |signals| signals.or(db::play(args)).await),
        #[cfg(feature = "mqtt")]
        Some(Other::Iot(args)) => demo::play(async |signals| signals.or(iot::play(args)).await),
        None => demo::run(&args.main),
    }
}
