//! An HDFS outage under load: how fast the backlog drains afterwards, and the latency of new events
//! during both.
//!
//! A writer adds lines at a steady rate to a file that the edge follows. The NameNode is killed for
//! the requested time and restarted. The backlog is drained when the collector holds no more than
//! before. In each phase, the benchmark measures how long a write takes until it is durable on the
//! collector.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Work;
use super::ours::{Ours, Promise};
use crate::Setup;
use crate::arrivals::{self, Arrival};
use crate::cores;
use crate::error::{Doing, Error, Result};
use crate::forward::{self, ours::METRIC};
use crate::hdfs::{Hdfs, Manner};
use crate::http;
use crate::report::{Better, Report, rank};

/// Time before the outage: long enough for several rolls, and for a 99th percentile of some
/// thousand writes.
const CALM: Duration = Duration::from_secs(30);
/// Interval of reading the collector's metrics.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Required delivery rate while the backlog drains, as a multiple of the arrival rate.
const DRAIN_MIN: f64 = 2.0;
/// Timeout after the outage, as a multiple of its duration.
const PATIENCE: u32 = 4;
const FOLDER: &str = "/bench/outage";

const EXAMPLES: &str = "\
Examples:
  aqueduct-bench outage --minutes 10      the full form; needs about 70 GB at the default rate
  aqueduct-bench outage --minutes 0.5 --rate 200000
  aqueduct-bench outage --blocks-in /dev/shm        200 bytes of memory for each line
  aqueduct-bench outage --blocks-in /dev/shm --apart

Of each line that waits there is a copy at each tier, and one in HDFS once it is delivered.";

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How long HDFS is away
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Lines a second, of 156 bytes: at most a third of what `e2e` reaches, or there is nothing to
    /// catch up with
    #[arg(long, default_value_t = 200_000)]
    rate: u32,
    /// Where HDFS keeps its blocks, if not on the disk of both tiers: a folder on another disk, or
    /// in memory, as if the DataNodes were other machines
    #[arg(long, value_name = "FOLDER")]
    blocks_in: Option<PathBuf>,
    /// Gives both tiers all cores but one, which HDFS leaves to the writer of the log and to what
    /// measures, as if HDFS were other machines; otherwise all share all. For root
    #[arg(long)]
    apart: bool,
}

/// Measurements of the collector.
struct Seen {
    killed: Instant,
    back: Instant,
    drained: Instant,
    /// Events that it held when HDFS was back.
    backlog: f64,
    /// Events delivered from then until the backlog was drained.
    delivered: f64,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let scratch = setup.cache.scratch()?;
    let hdfs_dir = scratch.path().join("hdfs");
    let cores = if options.apart { Some(cores::Apart::begin()?) } else { None };
    let manner = Manner { blocks: options.blocks_in.as_deref(), steps_back: options.apart };
    let hdfs = Hdfs::start_as(&manner, &hdfs_dir)?;
    let watched = super::folder(scratch.path(), "watched")?;
    let work = Work { hdfs: &hdfs, folder: FOLDER, watched: &watched, scratch: scratch.path() };
    let start = || Ours::prepare(Promise::ExactlyOnce)?.start_large(&work);
    let (running, port) = cores.map_or_else(start, |cores| cores.on_the_others(start))?;
    let super::Running { edge, collector } = running;
    let mut running = forward::Running { edge, collector, metrics_port: port, metric: METRIC };
    let path = watched.join("app.log");
    let file = File::create(&path).at("create", &path)?;
    let writing = AtomicBool::new(true);
    let (seen, arrived) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let go_on = || writing.load(Ordering::Relaxed);
            if options.apart
                && let Err(error) = cores::go_first()
            {
                crate::progress(&format!(
                    "HDFS may hold up the measuring, on the same core: {error}"
                ));
            }
            arrivals::run(options.rate.into(), (file, &path), &mut running, 0.0, go_on)
        });
        let seen = outage(options, &hdfs, port);
        writing.store(false, Ordering::Relaxed);
        let arrived = watcher.join().expect("the watcher does not panic")?;
        Ok::<_, Error>((seen?, arrived))
    })?;
    figures(options, &seen, &arrived, report);
    Ok(())
}

/// Stops HDFS and restarts it.
fn outage(options: &Options, hdfs: &Hdfs, port: u16) -> Result<Seen> {
    let held = || http::metric(port, "aqueduct_channel_events");
    let delivered = || http::metric(port, "aqueduct_sink_stored_events_total");
    let (began, mut usual) = (Instant::now(), 0.0_f64);
    while began.elapsed() < CALM {
        usual = usual.max(held()?);
        thread::sleep(POLL_INTERVAL);
    }
    let away = Duration::from_secs_f64(options.minutes * 60.0);
    hdfs.kill_namenode()?;
    let killed = Instant::now();
    thread::sleep(away);
    hdfs.revive_namenode()?;
    let back = Instant::now();
    let (backlog, before) = (held()?, delivered()?);
    crate::progress(&format!("outage: {backlog:.0} events wait, usually {usual:.0}"));
    while held()? > usual {
        if back.elapsed() > (away + CALM) * PATIENCE {
            let what = format!("{} of {backlog} events to be delivered", held()?);
            return Err(Error::Timeout { what, seconds: back.elapsed().as_secs() });
        }
        thread::sleep(POLL_INTERVAL);
    }
    let drained = Instant::now();
    Ok(Seen { killed, back, drained, backlog, delivered: delivered()? - before })
}

fn figures(options: &Options, seen: &Seen, arrived: &[Arrival], report: &mut Report) {
    let mut add = |case: &str, unit, better, value: f64, target: Option<f64>| {
        report.add_value(("outage", case), (value, unit), better, target);
    };
    let seconds = seen.drained.duration_since(seen.back).as_secs_f64();
    let rate = seen.delivered / seconds;
    add("away", "s", Better::Less, seen.back.duration_since(seen.killed).as_secs_f64(), None);
    add("backlog", "events", Better::Less, seen.backlog, None);
    add("drained in", "s", Better::Less, seconds, None);
    add("delivered while it drains", "events/s", Better::More, rate, None);
    let times = rate / f64::from(options.rate);
    add("the same, of the arrival rate", "times", Better::More, times, Some(DRAIN_MIN));
    for (name, from, to) in [
        ("before", None, Some(seen.killed)),
        ("away", Some(seen.killed), Some(seen.back)),
        ("draining", Some(seen.back), Some(seen.drained)),
    ] {
        let within = |arrival: &&Arrival| {
            from.is_none_or(|from| arrival.written >= from)
                && to.is_none_or(|to| arrival.written < to)
        };
        let mut millis: Vec<f64> = arrived.iter().filter(within).map(|one| one.millis).collect();
        millis.sort_by(f64::total_cmp);
        for (share, word) in [(0.5, "p50"), (0.99, "p99")] {
            let value = rank(&millis, share).unwrap_or(f64::NAN);
            add(
                &format!("{name}: durable on the collector, {word}"),
                "ms",
                Better::Less,
                value,
                None,
            );
        }
    }
    let cores = if options.apart { "the last core for HDFS" } else { "all cores shared with HDFS" };
    report.note(format!(
        "{} lines/s; the NameNode was killed and started again; {cores}",
        options.rate
    ));
}
