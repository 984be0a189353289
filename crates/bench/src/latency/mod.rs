//! How long a line takes from the file to the collector's disk, with durable channels at both
//! tiers: one line at a time at an idle edge, then with a writer that keeps both busy.
//!
//! A line has arrived when the collector counts it as accepted: it is then durable there. The
//! counter is read every millisecond, which is the error of each figure. In parallel, one block is
//! repeatedly written to the same disk ([`disk`]): a line waits for two such writes, one at each
//! tier, so that a stalling disk shows in both.
//! each tier, so that a disk that stalls shows in both.

mod disk;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::arrivals::{self, LIMIT, POLL};
use crate::error::{Doing, Error, Result};
use crate::forward::Contender;
use crate::forward::ours::Ours;
use crate::http::Watched;
use crate::report::{Better, Figure, Report, Spread, rank};

/// Pause between two lines at the idle edge, chosen so that they never coincide with a timer.
const PAUSE: Duration = Duration::from_millis(97);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Lines at the calm edge
    #[arg(long, default_value_t = 200)]
    lines: u32,
    /// Lines a second of the writer that keeps both busy: over half of what both bear here while
    /// the log is written to the same disk
    #[arg(long, default_value_t = 1_200_000)]
    load: u32,
    /// Seconds that it writes
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let scratch = setup.cache.scratch()?;
    let watched = scratch.path().join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    let path = watched.join("app.log");
    let mut running = Ours::prepare()?.start(&watched, scratch.path())?;
    let mut file = File::options().create(true).append(true).open(&path).at("open", &path)?;

    let mut counter = Watched::open(running.metrics_port, running.metric)?;
    let mut calm_line = |expected| {
        let millis = calm_line(&mut file, &path, &mut counter, expected)?;
        running.edge.check()?;
        Ok::<_, Error>(millis)
    };
    calm_line(1.0)?;
    let (calm, blocks) = disk::alongside(scratch.path(), || {
        let mut calm = Vec::new();
        for line in 0..options.lines {
            thread::sleep(PAUSE + Duration::from_micros(u64::from(line) * 977 % 10_000));
            calm.push(calm_line(f64::from(line) + 2.0)?);
        }
        Ok(calm)
    })?;
    add(report, "calm", (calm, blocks), [20.0, 50.0]);

    let before = f64::from(options.lines) + 1.0;
    let (busy, blocks) = disk::alongside(scratch.path(), || {
        let (began, end) = (Instant::now(), Duration::from_secs(options.seconds.into()));
        let writing = || began.elapsed() < end;
        arrivals::run(options.load.into(), (file, &path), &mut running, before, writing)
    })?;
    report.note(format!("under load: {} lines/s for {} s", options.load, options.seconds));
    report
        .note("disk: one block of 4 KiB at a time, direct and synced, to the same disk meanwhile");
    let busy = busy.iter().map(|arrival| arrival.millis).collect();
    add(report, "under load", (busy, blocks), [f64::NAN, 100.0]);
    Ok(())
}

/// Writes one line and waits until the collector has counted `expected`; returns the milliseconds.
fn calm_line(
    file: &mut File,
    path: &Path,
    counter: &mut Watched<'_>,
    expected: f64,
) -> Result<f64> {
    let started = Instant::now();
    file.write_all(b"2026-11-20T12:00:00Z INFO one line of a service that has little to say\n")
        .at("write", path)?;
    while counter.look()? < expected {
        if started.elapsed() > LIMIT {
            let what = "one line on the collector".to_owned();
            return Err(Error::Timeout { what, seconds: LIMIT.as_secs() });
        }
        thread::sleep(POLL);
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Adds median, 99th percentile and maximum, each with its target (NaN without one) and with the
/// time of the disk.
fn add(
    report: &mut Report,
    case: &str,
    (mut millis, mut blocks): (Vec<f64>, Vec<f64>),
    targets: [f64; 2],
) {
    millis.sort_by(f64::total_cmp);
    blocks.sort_by(f64::total_cmp);
    let cases = [("p50", 0.5, targets[0]), ("p99", 0.99, targets[1]), ("longest", 1.0, f64::NAN)];
    for (name, share, target) in cases {
        let ours = rank(&millis, share).map(Spread::given);
        let disk = rank(&blocks, share).map(Spread::given);
        let target = (!target.is_nan()).then(|| ("target", Spread::given(target)));
        for reference in [target, disk.map(|disk| ("disk", disk))].into_iter().flatten() {
            report.add(Figure {
                bench: "latency",
                case: format!("{case}, {name}"),
                unit: "ms",
                better: Better::Less,
                ours,
                reference: Some(reference),
            });
        }
    }
}
