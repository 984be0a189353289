//! Whether the speed stays constant while something grows: followed files, paths of the store, the
//! backlog, the size of events. One call measures one axis, and can write its table and plot to the
//! documentation ([`draw`]).
//!
//! Each point moves the same amount, and the points take turns, so that noise affects all of them.

mod backlog;
mod draw;
mod files;
mod sink;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::error::{Error, Result};
use crate::forward::Running;
use crate::http;
use crate::report::{Better, Figure, Report, Series};

const POLL: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(120);

const EXAMPLES: &str = "\
Examples:
  aqueduct-bench growth --axis files --runs 3
  aqueduct-bench growth --axis buckets --megabytes 4000
  aqueduct-bench growth --axis backlog --backlog-gb 20    needs 20 GB of disk
  aqueduct-bench growth --axis backlog --collector-in /dev/shm
  aqueduct-bench growth --axis size --docs docs           puts table and plot into docs/";

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What grows
    #[arg(long, value_enum)]
    axis: Axis,
    /// Runs of each point
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Megabytes that each run moves: enough that beginning and end, which cost something for each
    /// file, are a small part of it
    #[arg(long, default_value_t = 2000)]
    megabytes: u64,
    /// The largest backlog, in gigabytes
    #[arg(long, default_value_t = 20)]
    backlog_gb: u64,
    /// Where the collector keeps its data, if not on the disk of the edge: a folder on another
    /// disk, or in memory, as if it were another machine. Not for `sink`, which has no collector
    #[arg(long, value_name = "FOLDER")]
    collector_in: Option<PathBuf>,
    /// Where the logs of `files`, `size` and `buckets` lie, if not on the disk of the edge: in
    /// memory the system cannot take a part of them back before they are read
    #[arg(long, value_name = "FOLDER")]
    logs_in: Option<PathBuf>,
    /// Write the plot and the table into this folder, which holds growth.md
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Axis {
    /// Files that the edge follows, with the same lines in all together
    Files,
    /// Paths of the store that lines go to
    Buckets,
    /// Paths that the store's sink has open, without the tiers before it
    Sink,
    /// What the edge's channel holds already
    Backlog,
    /// Bytes of an event
    Size,
}

/// A value of the axis, with its measurements.
#[derive(Debug)]
struct Point {
    x: u64,
    /// Megabytes per second.
    rate: Series,
    /// Events per second.
    events: Series,
    /// MiB of the working processes.
    memory: Series,
    /// Seconds from the start of a program to its first batch, if measured.
    start_s: Series,
}

impl Point {
    fn at(x: u64) -> Self {
        let [rate, events, memory, start_s] = [(); 4].map(|()| Series::default());
        Self { x, rate, events, memory, start_s }
    }

    fn add(&mut self, events: u64, bytes: u64, seconds: f64) {
        self.rate.push(bytes as f64 / 1e6 / seconds);
        self.events.push(events as f64 / seconds);
    }
}

/// All points of an axis.
#[derive(Debug)]
struct Curve {
    axis: Axis,
    /// Unit of `x`.
    unit: &'static str,
    points: Vec<Point>,
    /// Notes for the reader.
    note: String,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let mut curve = match options.axis {
        Axis::Files => files::by_count(options, setup)?,
        Axis::Size => files::by_size(options, setup)?,
        Axis::Buckets => files::by_paths(options, setup)?,
        Axis::Sink => crate::wait_for(sink::measure(options, setup))?,
        Axis::Backlog => backlog::measure(options, setup)?,
    };
    if options.logs_in.is_some() {
        curve.note.push_str(". The logs are not on the disk of the edge");
    }
    if options.collector_in.is_some() {
        curve.note.push_str(". The collector's data is not on the disk of the edge");
    }
    figures(&curve, report);
    match &options.docs {
        Some(docs) => draw::into_docs(&curve, docs),
        None => Ok(()),
    }
}

/// Returns each point relative to the first one: 1 is equally fast, less is slower.
fn figures(curve: &Curve, report: &mut Report) {
    let first = curve.points.first().and_then(|point| point.rate.spread());
    for point in &curve.points {
        let case = |what: &str| format!("{} {}{what}", point.x, curve.unit);
        let mut add = |case, unit, better, ours: &Series, reference| {
            let ours = ours.spread();
            if ours.is_some() {
                report.add(Figure { bench: "growth", case, unit, better, ours, reference });
            }
        };
        let reference = first.map(|first| ("first", first));
        add(case(""), "MB/s", Better::More, &point.rate, reference);
        add(case(""), "events/s", Better::More, &point.events, None);
        add(case(", memory"), "MiB", Better::Less, &point.memory, None);
        add(case(", start to first batch"), "s", Better::Less, &point.start_s, None);
    }
    report.note(curve.note.clone());
}

/// Waits until the counter of accepted events at `port` has reached `events`; returns the seconds
/// since `started`.
fn accepted(running: &mut Running, port: u16, events: f64, started: Instant) -> Result<f64> {
    loop {
        let count = http::metric(port, running.metric)?;
        if count >= events {
            return Ok(started.elapsed().as_secs_f64());
        }
        running.edge.check()?;
        running.collector.check()?;
        if started.elapsed() > LIMIT {
            let what = format!("{count} of {events} events");
            return Err(Error::Timeout { what, seconds: LIMIT.as_secs() });
        }
        thread::sleep(POLL);
    }
}
