//! Many edges on one collector: thousands of connections, each with a small batch per second, and
//! some misbehaving peers.
//!
//! A separate process simulates the edges ([`edges`]) over real loopback connections, so that the
//! collector's CPU time and memory are its own. The collector is durable: an edge receives `Stored`
//! when its batch is on the disk. The collector then writes to local files, with the sink that it
//! also uses for HDFS.

pub(crate) mod edges;
mod one;

use std::env::current_exe;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use support::loopback::free_address;

use crate::Setup;
use crate::error::{Doing, Error, Result};
use crate::process;
use crate::programs::{self, Programs};
use crate::report::{Better, Report};
use edges::{Seen, make_room_for};
use one::Manner;

/// Requirements for the collector with 10,000 edges.
const CORES_MAX: f64 = 1.0;
const MEMORY_MIB_MAX: f64 = 400.0;
const ACK_P99_MS_MAX: f64 = 100.0;

const EXAMPLES: &str = "\
Examples:
  aqueduct-bench fan-in                          10,000 edges, 1 % of them rude
  aqueduct-bench fan-in --edges 1000 --rude 0
  aqueduct-bench fan-in --rude 10 --manner deaf  what one kind of rude peers costs the others

Needs a hard limit of open files (ulimit -Hn) of some more than --edges.";

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Edges, each on a connection of its own
    #[arg(long, default_value_t = 10_000)]
    edges: u32,
    /// Seconds that are measured once all are connected
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Of a thousand edges so many misbehave: they read nothing, fall silent, break off, or send
    /// what is too large
    #[arg(long, default_value_t = 10)]
    rude: u32,
    /// The only way in which they misbehave, instead of all four
    #[arg(long)]
    manner: Option<Manner>,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    make_room_for(options.edges)?;
    let programs = Programs::prepare()?;
    let scratch = setup.cache.scratch()?;
    let (port, admin_port) = (free_address().port(), free_address().port());
    let config = config(&programs, options, port, admin_port, scratch.path())?;
    let mut collector = Command::new(&programs.collector);
    collector.arg("--config").arg(&config);
    let mut collector = programs::start("collector", collector, admin_port, scratch.path())?;

    let own = current_exe().doing(|| "find the own executable".to_owned())?;
    let mut edges = Command::new(own);
    edges.args(["edges", "--to", &format!("127.0.0.1:{port}")]);
    edges.args(["--edges", &options.edges.to_string(), "--rude", &options.rude.to_string()]);
    edges.args(["--seconds", &options.seconds.to_string()]);
    edges.args(["--collector", &collector.id().to_string()]);
    if let Some(manner) = options.manner.and_then(|manner| manner.to_possible_value()) {
        edges.args(["--manner", manner.get_name()]);
    }
    let said = process::run("aqueduct-bench edges", &mut edges)?;
    let seen: Seen = serde_json::from_str(said.trim()).map_err(|error| Error::Answer {
        from: "aqueduct-bench edges".to_owned(),
        detail: format!("{error}: {said}"),
    })?;
    collector.check()?;
    let memory = collector.usage()?.peak_rss_mib;
    figures(report, &seen, memory);
    report.note(format!(
        "{} edges, {} of them rude, {} s; the others had {} to {} acknowledgements each, {} broke",
        options.edges, seen.rude, options.seconds, seen.least, seen.most, seen.broken
    ));
    Ok(())
}

/// Returns the configuration of a collector's flags with a `file://` store, and space for all
/// edges.
fn config(
    programs: &Programs,
    options: &Options,
    port: u16,
    admin_port: u16,
    scratch: &Path,
) -> Result<PathBuf> {
    let listen = format!("127.0.0.1:{port}");
    let store = format!("file://{}/store/%Y-%m-%d", scratch.display());
    let flags = programs::collector_flags(programs, &listen, admin_port, &store, scratch)?;
    let places = options.edges + 100;
    let kind = "type = \"grpc\"\n";
    let config = flags.replacen(kind, &format!("{kind}connections_max = {places}\n"), 1);
    let path = scratch.join("collector.toml");
    fs::write(&path, config).at("write", &path)?;
    Ok(path)
}

fn figures(report: &mut Report, seen: &Seen, memory: f64) {
    for (case, unit, value, target) in [
        ("collector CPU", "cores", seen.cores, Some(CORES_MAX)),
        ("collector memory", "MiB", memory, Some(MEMORY_MIB_MAX)),
        ("acknowledged, p50", "ms", seen.p50_ms, None),
        ("acknowledged, p99", "ms", seen.p99_ms, Some(ACK_P99_MS_MAX)),
        ("acknowledged, longest", "ms", seen.longest_ms, None),
        ("all connected", "s", seen.connected_s, None),
    ] {
        report.add_value(("fan-in", case), (value, unit), Better::Less, target);
    }
}
