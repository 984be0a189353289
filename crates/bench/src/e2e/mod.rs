//! The main use case: an access log from an edge through one collector into a real HDFS, with a
//! durable channel at both tiers, compared with Flume with the same tiers and `hdfs dfs -put`.
//!
//! The clock runs from the moment at which the log is linked into the watched folder, with warm
//! agents, until all of its bytes are in visible files; the agents keep running. After each run
//! Hadoop's own shell reads the files back: every line must be there once.

pub(crate) mod flume;
mod ours;
pub(crate) mod outage;
mod put;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::access_log::AccessLog;
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::hdfs::Hdfs;
use crate::process::{Process, Usage};
use crate::report::{Better, Figure, Report, Series};
use ours::Promise;

/// Interval of listing the folder: the error of a run's time, cheap for the NameNode.
const POLL: Duration = Duration::from_millis(20);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Lines of the log; two million are 356 MB
    #[arg(long, default_value_t = 2_000_000)]
    lines: u64,
    /// Runs of the fast contenders, interleaved
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Runs of Flume, which takes minutes for each
    #[arg(long, default_value_t = 2)]
    flume_runs: u32,
    /// The peer to measure against
    #[arg(long, value_delimiter = ',', default_value = "flume-1.11,hdfs-put")]
    against: Vec<Peer>,
    /// Keep the scratch folder of the last run of each
    #[arg(long)]
    keep: bool,
}

/// A reference of this benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// Apache Flume, two tiers
    #[value(name = "flume-1.11")]
    Flume,
    /// Ours without the commit ledger: what exactly once costs
    #[value(name = "at-least-once")]
    AtLeastOnce,
    /// `hdfs dfs -put` of the same file, no pipeline at all
    #[value(name = "hdfs-put")]
    Put,
}

/// The input of a contender's run.
#[derive(Debug)]
struct Work<'a> {
    hdfs: &'a Hdfs,
    /// Target folder in HDFS.
    folder: &'a str,
    /// Watched folder.
    watched: &'a Path,
    /// Folder for its data and logs.
    scratch: &'a Path,
}

/// Two running, warm tiers.
#[derive(Debug)]
struct Running {
    edge: Process,
    collector: Process,
}

/// A pipeline of two tiers.
trait Contender {
    /// Returns the name in reports.
    fn name(&self) -> &'static str;
    /// Returns the settings that a reader must know.
    fn note(&self) -> String;
    /// Starts both tiers and waits until they are warm.
    fn start(&self, work: &Work<'_>) -> Result<Running>;
    /// Returns the timeout of a run.
    fn limit(&self) -> Duration;
}

/// The series of one contender.
#[derive(Debug, Default)]
struct Results {
    seconds: Series,
    edge_rss: Series,
    collector_rss: Series,
    /// Microseconds of CPU time per event.
    edge_cpu: Series,
    collector_cpu: Series,
    cpu: Series,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let cache = &setup.cache;
    let log = AccessLog::cached(cache, options.lines)?;
    let place = cache.scratch()?;
    let hdfs = Hdfs::start(&place.path().join("hdfs"))?;
    let prepare = ours::Ours::prepare;
    let ours = (!setup.peers_only).then(|| prepare(Promise::ExactlyOnce)).transpose()?;
    let weaker = wants(options, Peer::AtLeastOnce);
    let weaker = weaker.then(|| prepare(Promise::AtLeastOnce)).transpose()?;
    let flume = wants(options, Peer::Flume).then(|| flume::Flume::prepare(cache)).transpose()?;
    let mut our_results = Results::default();
    let mut weaker_results = Results::default();
    let mut flume_results = Results::default();
    let mut put_results = Results::default();
    for round in 0..options.runs.max(options.flume_runs) {
        let bench = Bench { log: &log, hdfs: &hdfs, cache, round, keep: options.keep };
        if let Some(ours) = ours.as_ref().filter(|_| round < options.runs) {
            bench.tiers(ours, &mut our_results)?;
        }
        if let Some(weaker) = weaker.as_ref().filter(|_| round < options.runs) {
            bench.tiers(weaker, &mut weaker_results)?;
        }
        if wants(options, Peer::Put) && round < options.runs {
            put::measure(&bench, &mut put_results)?;
        }
        if let Some(flume) = flume.as_ref().filter(|_| round < options.flume_runs) {
            bench.tiers(flume, &mut flume_results)?;
        }
    }
    report.note(format!(
        "{} lines, {} bytes; contents compared after each run",
        log.lines, log.bytes
    ));
    if let Some(ours) = &ours {
        report.note(ours.note());
    }
    if let Some(weaker) = &weaker {
        report.note(weaker.note());
        tier_figures(report, &log, &our_results, weaker.name(), &weaker_results);
    }
    if let Some(flume) = &flume {
        report.note(flume.note());
        tier_figures(report, &log, &our_results, flume.name(), &flume_results);
    }
    if wants(options, Peer::Put) {
        report.note("hdfs-put: from the start of its JVM to its exit");
        put_figures(report, &log, &our_results, &put_results);
    }
    Ok(())
}

fn wants(options: &Options, peer: Peer) -> bool {
    options.against.contains(&peer)
}

/// State shared by all runs of a round.
struct Bench<'a> {
    log: &'a AccessLog,
    hdfs: &'a Hdfs,
    cache: &'a Cache,
    round: u32,
    keep: bool,
}

impl Bench<'_> {
    /// Runs a pipeline once, checks the result and deletes it.
    fn tiers(&self, contender: &dyn Contender, results: &mut Results) -> Result<()> {
        let scratch = self.cache.scratch()?;
        let watched = folder(scratch.path(), "watched")?;
        let target = format!("/bench/{}-{}", contender.name(), self.round);
        let work =
            Work { hdfs: self.hdfs, folder: &target, watched: &watched, scratch: scratch.path() };
        let outcome = self.timed(contender, &work, results);
        if outcome.is_err() || self.keep {
            progress(&format!(
                "files of {} stay in {}",
                contender.name(),
                scratch.keep().display()
            ));
        }
        outcome?;
        self.hdfs.delete(&target)
    }

    fn timed(&self, contender: &dyn Contender, work: &Work<'_>, out: &mut Results) -> Result<()> {
        let mut running = contender.start(work)?;
        let before = (running.edge.usage()?, running.collector.usage()?);
        self.log.warm()?;
        let started = Instant::now();
        self.log.link_into(work.watched)?;
        self.await_bytes(contender, work.folder, &mut running, started)?;
        let seconds = started.elapsed().as_secs_f64();
        let after = (running.edge.usage()?, running.collector.usage()?);
        progress(&format!(
            "{} run {}: {seconds:.2} s, {:.0} events/s, edge {:.0} MiB {:.2} s CPU, \
             collector {:.0} MiB {:.2} s CPU",
            contender.name(),
            self.round + 1,
            self.log.lines as f64 / seconds,
            after.0.peak_rss_mib,
            after.0.cpu_s - before.0.cpu_s,
            after.1.peak_rss_mib,
            after.1.cpu_s - before.1.cpu_s,
        ));
        self.hdfs.compare(work.folder, self.log, contender.name())?;
        running.edge.check()?;
        running.collector.check()?;
        out.add(self.log, seconds, [(before.0, after.0), (before.1, after.1)]);
        Ok(())
    }

    fn await_bytes(
        &self,
        contender: &dyn Contender,
        target: &str,
        running: &mut Running,
        started: Instant,
    ) -> Result<()> {
        loop {
            let stored: u64 = self.hdfs.visible(target)?.iter().map(|file| file.bytes).sum();
            if stored >= self.log.bytes {
                return Ok(());
            }
            running.edge.check()?;
            running.collector.check()?;
            if started.elapsed() > contender.limit() {
                let what =
                    format!("{}: {stored} of {} bytes visible", contender.name(), self.log.bytes);
                return Err(Error::Timeout { what, seconds: contender.limit().as_secs() });
            }
            thread::sleep(POLL);
        }
    }
}

impl Results {
    fn add(&mut self, log: &AccessLog, seconds: f64, usage: [(Usage, Usage); 2]) {
        let [edge, collector] = usage;
        let micros = |(from, to): (Usage, Usage)| (to.cpu_s - from.cpu_s) * 1e6 / log.lines as f64;
        self.seconds.push(seconds);
        self.edge_rss.push(edge.1.peak_rss_mib);
        self.collector_rss.push(collector.1.peak_rss_mib);
        self.edge_cpu.push(micros(edge));
        self.collector_cpu.push(micros(collector));
        self.cpu.push(micros(edge) + micros(collector));
    }
}

/// Case, unit, direction, ours, the peer's.
type Row = (&'static str, &'static str, Better, Series, Series);

/// Returns the figures for any contender: the rate in both units, and the CPU time of all its
/// processes.
fn rate_rows(log: &AccessLog, ours: &Results, peer: &Results) -> Vec<Row> {
    let (lines, megabytes) = (log.lines as f64, log.bytes as f64 / 1e6);
    let events = |series: &Series| series.map(|seconds| lines / seconds);
    let bytes = |series: &Series| series.map(|seconds| megabytes / seconds);
    vec![
        ("events", "events/s", Better::More, events(&ours.seconds), events(&peer.seconds)),
        ("bytes", "MB/s", Better::More, bytes(&ours.seconds), bytes(&peer.seconds)),
        ("CPU", "µs/event", Better::Less, ours.cpu.clone(), peer.cpu.clone()),
    ]
}

fn tier_figures(
    report: &mut Report,
    log: &AccessLog,
    ours: &Results,
    name: &'static str,
    peer: &Results,
) {
    let mut rows = rate_rows(log, ours, peer);
    let pairs = [
        ("edge CPU", "µs/event", &ours.edge_cpu, &peer.edge_cpu),
        ("collector CPU", "µs/event", &ours.collector_cpu, &peer.collector_cpu),
        ("edge memory", "MiB", &ours.edge_rss, &peer.edge_rss),
        ("collector memory", "MiB", &ours.collector_rss, &peer.collector_rss),
    ];
    rows.extend(pairs.map(|(case, unit, a, b)| (case, unit, Better::Less, a.clone(), b.clone())));
    add_rows(report, name, rows);
}

fn put_figures(report: &mut Report, log: &AccessLog, ours: &Results, put: &Results) {
    add_rows(report, "hdfs-put", rate_rows(log, ours, put));
}

fn add_rows(report: &mut Report, name: &'static str, rows: Vec<Row>) {
    for (case, unit, better, ours, peer) in rows {
        report.add(Figure {
            bench: "e2e",
            case: case.to_owned(),
            unit,
            better,
            ours: ours.spread(),
            reference: peer.spread().map(|spread| (name, spread)),
        });
    }
}

fn folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let path = parent.join(name);
    fs::create_dir_all(&path).at("create", &path)?;
    Ok(path)
}

/// Prints the progress to stderr: the benchmark may take half an hour.
fn progress(text: &str) {
    crate::progress(text);
}
