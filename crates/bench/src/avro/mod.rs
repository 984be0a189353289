//! Avro RPC input: calls of Flume's protocol to an agent that drops their events, compared with
//! Flume's own Avro source.
//!
//! A single client process ([`calls`]) calls all contenders: connections with one call at a time
//! each, as in Flume's clients. An event counts when its call succeeds, and is then in the
//! channel. Ours and Flume's are measured with a memory channel; ours also with a durable one,
//! where success means synced.

pub(crate) mod calls;

use std::env::current_exe;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::loopback::free_address;

use crate::Setup;
use crate::e2e::flume::{jars, java};
use crate::error::{Doing, Error, Result};
use crate::forward::fill;
use crate::process::{self, Process};
use crate::programs::{self, Programs};
use crate::report::{Better, Figure, Report, Series};
use calls::Answered;

/// Timeout until a peer's port is open.
const START_LIMIT: Duration = Duration::from_secs(60);

const FLUME: &str = "flume-1.11";

const EXAMPLES: &str = "\
Examples:
  aqueduct-bench avro                               1, 100 and 1,000 events a call
  aqueduct-bench avro --batch 100 --connections 32";

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Events of a call; 100 is what Flume's Avro sink sends
    #[arg(long, default_values_t = [1, 100, 1_000])]
    batch: Vec<u32>,
    /// Connections, each with one call at a time
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Bytes of a body
    #[arg(long, default_value_t = 200)]
    body: u32,
    /// Seconds that are measured, after as many in which a virtual machine compiles
    #[arg(long, default_value_t = 8)]
    seconds: u32,
    /// Interleaved runs
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

/// An agent under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Flume,
    Memory,
    Durable,
}

#[derive(Debug, Default)]
struct Results {
    rates: Series,
    /// CPU time of the agent.
    cpu: Series,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let jars = jars(&setup.cache)?;
    let programs = (!setup.peers_only).then(Programs::prepare).transpose()?;
    for batch in &options.batch {
        let (mut flume, mut memory, mut durable) = <(Results, Results, Results)>::default();
        for _ in 0..options.runs {
            for (contender, results) in [
                (Contender::Memory, &mut memory),
                (Contender::Flume, &mut flume),
                (Contender::Durable, &mut durable),
            ] {
                let scratch = setup.cache.scratch()?;
                let (port, mut agent) = match (contender, &programs) {
                    (Contender::Flume, _) => start_flume(&jars, scratch.path())?,
                    (_, Some(programs)) => start_ours(programs, contender, scratch.path())?,
                    (_, None) => continue,
                };
                measure(options, *batch, port, &mut agent, results)?;
            }
        }
        let peer = |series: &Series| series.spread().map(|spread| (FLUME, spread));
        for (channel, ours) in [("memory", &memory), ("durable", &durable)] {
            for (what, unit, better, ours, flume) in [
                ("", "events/s", Better::More, &ours.rates, &flume.rates),
                (", CPU", "µs/event", Better::Less, &ours.cpu, &flume.cpu),
            ] {
                report.add(Figure {
                    bench: "avro",
                    case: format!("{batch} a call, {channel}{what}"),
                    unit,
                    better,
                    ours: ours.spread(),
                    reference: peer(flume),
                });
            }
        }
    }
    report.note(format!(
        "{} connections, bodies of {} bytes with two headers; Flume: channel in memory, null sink",
        options.connections, options.body
    ));
    Ok(())
}

fn start_ours(programs: &Programs, contender: Contender, scratch: &Path) -> Result<(u16, Process)> {
    let (port, metrics_port) = (free_address().port(), free_address().port());
    let channel = if contender == Contender::Memory { "memory" } else { "durable" };
    let values = [
        ("DIR", scratch.display().to_string()),
        ("PORT", port.to_string()),
        ("METRICS_PORT", metrics_port.to_string()),
        ("CHANNEL", channel.to_owned()),
    ];
    let config = scratch.join("agent.toml");
    fill(include_str!("../../peers/aqueduct/avro.toml"), &values, &config)?;
    let mut agent = Command::new(&programs.collector);
    agent.arg("--config").arg(&config);
    Ok((port, programs::start("agent", agent, metrics_port, scratch)?))
}

fn start_flume(jars: &Path, scratch: &Path) -> Result<(u16, Process)> {
    let port = free_address().port();
    let config = scratch.join("avro.properties");
    let values = [("PORT", port.to_string())];
    fill(include_str!("../../peers/flume/avro.properties"), &values, &config)?;
    let log = scratch.join("log4j2.xml");
    fs::write(&log, include_str!("../../peers/flume/log4j2.xml")).at("write", &log)?;
    let mut java = java(jars, scratch);
    java.args(["org.apache.flume.node.Application", "--no-reload-conf", "-n", "agent", "-f"]);
    java.arg(config);
    let mut agent = Process::spawn("flume", java, scratch)?;
    agent.wait_for_port(port, START_LIMIT)?;
    Ok((port, agent))
}

fn measure(
    options: &Options,
    batch: u32,
    port: u16,
    agent: &mut Process,
    results: &mut Results,
) -> Result<()> {
    let own = current_exe().doing(|| "find the own executable".to_owned())?;
    let mut calls = Command::new(own);
    calls.args(["calls", "--to", &format!("127.0.0.1:{port}")]);
    for (name, value) in [
        ("--connections", options.connections),
        ("--batch", batch),
        ("--body", options.body),
        ("--seconds", options.seconds),
        ("--agent", agent.id()),
    ] {
        calls.args([name, &value.to_string()]);
    }
    let said = process::run("aqueduct-bench calls", &mut calls)?;
    agent.check()?;
    let answered: Answered = serde_json::from_str(said.trim()).map_err(|error| Error::Answer {
        from: "aqueduct-bench calls".to_owned(),
        detail: format!("{error}: {said}"),
    })?;
    let rate = answered.events as f64 / answered.seconds;
    let Answered { failed, cpu_s, .. } = answered;
    crate::progress(&format!("{batch} a call: {rate:.0} events/s, {failed} calls failed"));
    results.rates.push(rate);
    results.cpu.push(cpu_s * 1e6 / answered.events as f64);
    Ok(())
}
