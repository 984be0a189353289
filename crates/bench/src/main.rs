//! Benchmarks of Aqueduct, each compared with a peer or with the raw limit of the machine.
//!
//! `cargo run --release -p aqueduct-bench -- e2e|tail|channel|wire` sets up everything that it
//! needs, prints a table and, with `--json`, one object per line on stdout.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "benchmarks measure the real clock, disk and network"
)]

mod access_log;
mod arrivals;
mod avro;
mod cache;
mod channel;
mod codings;
mod cores;
mod docs;
mod e2e;
mod error;
mod fan_in;
mod files;
mod fleet;
mod forward;
mod growth;
mod hdfs;
mod http;
mod idle;
mod latency;
mod load;
mod process;
mod programs;
mod raw;
mod report;
mod sizes;
mod stage;
mod table;
mod tail;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::cache::Cache;
use crate::error::{Doing, Result};
use crate::report::Report;

#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Print one JSON object per line to stdout, and the table to stderr
    #[arg(long, global = true)]
    json: bool,
    /// Measure only the peers and the raw limits
    #[arg(long, global = true)]
    peers_only: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The whole path into a real HDFS, compared with Flume and `hdfs dfs -put`
    E2e(e2e::Options),
    /// How fast the backlog drains after an outage of HDFS under load
    Outage(e2e::outage::Options),
    /// Edge to collector without a store, compared with the OpenTelemetry Collector
    Forward(forward::Options),
    /// Time of one line from a file to the collector's disk
    Latency(latency::Options),
    /// Cost of two idle agents
    Idle(idle::Options),
    /// Thousands of edges on one collector, some of which misbehave
    FanIn(fan_in::Options),
    /// The edges of `fan-in`
    #[command(hide = true)]
    Edges(fan_in::edges::Options),
    /// Thousands of agents on one fleet server, and a roll-out to all of them
    Fleet(fleet::Options),
    /// Calls of Flume's Avro protocol, compared with Flume's own source
    Avro(avro::Options),
    /// The clients of `avro`
    #[command(hide = true)]
    Calls(avro::calls::Options),
    /// Whether speed stays constant while files, paths, backlog or events grow
    Growth(growth::Options),
    /// The hdfs sink only: compressed files compared with `zstd`, plain ones with a copy
    Files(files::Options),
    /// The hdfs sink only: Parquet files with and without an Iceberg table of them
    Table(codings::Options),
    /// Sizes of the files of a day, calculated without writing any. Prints one table
    Sizes(sizes::Options),
    /// Reading files only, compared with memchr over the same file
    Tail(tail::Options),
    /// The durable channel only, compared with the bare disk
    Channel(channel::Options),
    /// Compression and sealing on disk, compared with a plain channel
    Codings(codings::Options),
    /// Sink and source of the wire only, compared with plain TCP
    Wire(wire::Options),
}

/// State shared by all benchmarks.
struct Setup {
    cache: Cache,
    /// Whether to skip our own side.
    peers_only: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match measure(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> Result<()> {
    let setup = Setup { cache: Cache::open()?, peers_only: cli.peers_only };
    let mut report = Report::new();
    match &cli.bench {
        Bench::E2e(options) => e2e::run(options, &setup, &mut report)?,
        Bench::Outage(options) => e2e::outage::run(options, &setup, &mut report)?,
        Bench::Forward(options) => forward::run(options, &setup, &mut report)?,
        Bench::Latency(options) => latency::run(options, &setup, &mut report)?,
        Bench::Idle(options) => idle::run(options, &setup, &mut report)?,
        Bench::FanIn(options) => fan_in::run(options, &setup, &mut report)?,
        Bench::Fleet(options) => fleet::run(options, &setup, &mut report)?,
        Bench::Growth(options) => growth::run(options, &setup, &mut report)?,
        Bench::Avro(options) => avro::run(options, &setup, &mut report)?,
        Bench::Sizes(options) => return sizes::run(options),
        Bench::Calls(options) => return avro::calls::run(options),
        Bench::Edges(options) => return wait_for(fan_in::edges::run(options)),
        Bench::Tail(options) => wait_for(tail::run(options, &setup, &mut report))?,
        Bench::Channel(options) => wait_for(channel::run(options, &setup, &mut report))?,
        Bench::Codings(options) => wait_for(codings::run(options, &setup, &mut report))?,
        Bench::Files(options) => wait_for(files::run(options, &setup, &mut report))?,
        Bench::Table(options) => wait_for(table::run(options, &setup, &mut report))?,
        Bench::Wire(options) => wait_for(wire::run(options, &setup, &mut report))?,
    }
    report.print(cli.json).doing(|| "print the report".to_owned())
}

/// Runs a benchmark of one stage in a runtime like an agent's.
fn wait_for<T>(bench: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Runtime::new().doing(|| "start the runtime".to_owned())?;
    runtime.block_on(bench)
}

/// Prints the progress to stderr; ignores a closed stderr.
fn progress(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
