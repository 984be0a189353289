//! Forwarding alone: a log from an edge with a disk queue to a collector that drops it, compared
//! with two OpenTelemetry Collectors.
//!
//! The clock runs from the link into the watched folder, with both tiers warm, until the collector
//! has counted every line as accepted. Our collector has then stored it durably; the peer's
//! collector keeps nothing.

mod otelcol;
pub(crate) mod ours;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::access_log::AccessLog;
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::http;
use crate::process::{Process, Usage};
use crate::report::{Better, Figure, Report, Series};

const POLL: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(240);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Lines of the log; two million are 356 MB
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// Interleaved runs
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// Two warm tiers, and the metrics port of the second one.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) edge: Process,
    pub(crate) collector: Process,
    pub(crate) metrics_port: u16,
    /// Counter of the lines that the collector has accepted.
    pub(crate) metric: &'static str,
}

/// A pipeline of two tiers that drops everything at its end.
pub(crate) trait Contender {
    /// Returns the name in reports.
    fn name(&self) -> &'static str;
    /// Starts both tiers and waits until they are warm.
    fn start(&self, watched: &Path, scratch: &Path) -> Result<Running>;
}

#[derive(Debug, Default)]
struct Results {
    seconds: Series,
    /// Both processes together.
    rss: Series,
    cpu: Series,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let cache = &setup.cache;
    let log = AccessLog::cached(cache, options.lines)?;
    let otelcol = otelcol::Otelcol::prepare(cache)?;
    let ours = (!setup.peers_only).then(ours::Ours::prepare).transpose()?;
    let (mut our_results, mut peer_results) = (Results::default(), Results::default());
    for _ in 0..options.runs {
        if let Some(ours) = &ours {
            measure(ours, &log, cache, &mut our_results)?;
        }
        measure(&otelcol, &log, cache, &mut peer_results)?;
    }
    let rate = |amount: f64, series: &Series| series.map(|seconds| amount / seconds);
    let lines = log.lines as f64;
    let megabytes = log.bytes as f64 / 1e6;
    let (ours, peer) = (&our_results, &peer_results);
    let rows = [
        (
            "events",
            "events/s",
            Better::More,
            rate(lines, &ours.seconds),
            rate(lines, &peer.seconds),
        ),
        (
            "bytes",
            "MB/s",
            Better::More,
            rate(megabytes, &ours.seconds),
            rate(megabytes, &peer.seconds),
        ),
        ("CPU", "µs/event", Better::Less, ours.cpu.clone(), peer.cpu.clone()),
        ("memory", "MiB", Better::Less, ours.rss.clone(), peer.rss.clone()),
    ];
    for (case, unit, better, ours, peer) in rows {
        report.add(Figure {
            bench: "forward",
            case: case.to_owned(),
            unit,
            better,
            ours: ours.spread(),
            reference: peer.spread().map(|spread| (otelcol.name(), spread)),
        });
    }
    report.note(
        "ours is durable at both tiers, the peer at its edge; CPU and memory: both processes",
    );
    Ok(())
}

fn measure(
    contender: &dyn Contender,
    log: &AccessLog,
    cache: &Cache,
    results: &mut Results,
) -> Result<()> {
    let scratch = cache.scratch()?;
    let watched = scratch.path().join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    let mut running = contender.start(&watched, scratch.path())?;
    let before = [running.edge.usage()?, running.collector.usage()?];
    log.warm()?;
    let started = Instant::now();
    log.link_into(&watched)?;
    loop {
        let accepted = http::metric(running.metrics_port, running.metric)?;
        if accepted >= log.lines as f64 {
            break;
        }
        running.edge.check()?;
        running.collector.check()?;
        if started.elapsed() > LIMIT {
            let what = format!("{}: {accepted} of {} lines", contender.name(), log.lines);
            return Err(Error::Timeout { what, seconds: LIMIT.as_secs() });
        }
        thread::sleep(POLL);
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = [running.edge.usage()?, running.collector.usage()?];
    let total = |usage: [Usage; 2], part: fn(Usage) -> f64| part(usage[0]) + part(usage[1]);
    let cpu_s = total(after, |usage| usage.cpu_s) - total(before, |usage| usage.cpu_s);
    results.seconds.push(seconds);
    results.rss.push(total(after, |usage| usage.peak_rss_mib));
    results.cpu.push(cpu_s * 1e6 / log.lines as f64);
    crate::progress(&format!("{}: {seconds:.2} s, {cpu_s:.2} s CPU", contender.name()));
    Ok(())
}

/// Writes a peer's configuration file with its `@NAMES@` replaced.
pub(crate) fn fill(text: &str, values: &[(&str, String)], path: &Path) -> Result<()> {
    let filled = values
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value));
    fs::write(path, filled).at("write", path)
}
