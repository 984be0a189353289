//! The pipeline of both tiers: with many files or other event sizes without a store, and with many
//! paths of a store.
//!
//! A store closes files only after a while, and until then the collector holds their events: its
//! first gigabytes go to new segment files. With a store, an equal first round is therefore not
//! counted.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Axis, Curve, Options, Point, accepted};
use crate::Setup;
use crate::cache::Cache;
use crate::error::{Doing, Result};
use crate::forward::Running;
use crate::forward::ours::{Folders, Ours};
use crate::raw;

/// Numbers of files that share the lines.
const COUNTS: [u64; 5] = [1, 10, 100, 1_000, 10_000];
/// Sizes of an event without its line end; the last one is just below the default limit of a line.
const SIZES: [u64; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
/// Numbers of files with separate paths in the store.
const PATHS: [u64; 4] = [1, 10, 100, 1_000];
/// Size of an event when the number of files grows.
const LINE_BYTES: u64 = 177;
/// Digits of a line's number, which makes lines unique.
const DIGITS: usize = 9;
/// Time for the disk to settle after the input is written.
const REST: Duration = Duration::from_millis(300);
/// Time for the disk to discard the files of a run, which continues for seconds after their
/// deletion and would disturb the next run.
const GIVEN_BACK: Duration = Duration::from_secs(3);

/// Files with lines, next to the watched folder; moved into it together.
struct Input {
    folder: PathBuf,
    lines: u64,
    bytes: u64,
}

impl Input {
    fn write(folder: PathBuf, files: u64, line_bytes: u64, total: u64) -> Result<Self> {
        fs::create_dir(&folder).at("create", &folder)?;
        let lines_each = (total / files / (line_bytes + 1)).max(1);
        let mut line = vec![b'x'; line_bytes as usize];
        line.push(b'\n');
        for file in 0..files {
            let path = folder.join(format!("{file}.log"));
            let mut out =
                BufWriter::with_capacity(1 << 20, File::create(&path).at("create", &path)?);
            for line_of_file in 0..lines_each {
                let number = file * lines_each + line_of_file;
                write!(&mut line[..DIGITS], "{number:0DIGITS$}").at("write", &path)?;
                out.write_all(&line).at("write", &path)?;
            }
            out.flush().at("write", &path)?;
        }
        rustix::fs::sync();
        std::thread::sleep(REST);
        let lines = lines_each * files;
        Ok(Self { folder, lines, bytes: lines * (line_bytes + 1) })
    }

    /// Returns megabytes per second.
    fn rate(&self, seconds: f64) -> f64 {
        self.bytes as f64 / 1e6 / seconds
    }
}

/// Where the lines end.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// At the collector, which drops them when they are durable.
    Collector,
    /// In local files, with a path for each followed file.
    Store,
}

pub(super) fn by_count(options: &Options, setup: &Setup) -> Result<Curve> {
    let inputs = COUNTS.map(|count| (count, (count, LINE_BYTES)));
    let points = measure(&inputs, Ending::Collector, options, setup)?;
    let note = "edge to collector, durable on both, without a store; the same lines, split over \
                the files, which appear at the same time"
        .to_owned();
    Ok(Curve { axis: Axis::Files, unit: "files", points, note })
}

pub(super) fn by_size(options: &Options, setup: &Setup) -> Result<Curve> {
    let inputs = SIZES.map(|size| (size, (1, size)));
    let points = measure(&inputs, Ending::Collector, options, setup)?;
    let note = "edge to collector, durable on both, without a store; the same bytes in one file"
        .to_owned();
    Ok(Curve { axis: Axis::Size, unit: "bytes", points, note })
}

pub(super) fn by_paths(options: &Options, setup: &Setup) -> Result<Curve> {
    let inputs = PATHS.map(|count| (count, (count, LINE_BYTES)));
    let points = measure(&inputs, Ending::Store, options, setup)?;
    let note = "edge to collector to file://, until every event is delivered; the same lines, in \
                one followed file for each path; one disk; warm agents"
        .to_owned();
    Ok(Curve { axis: Axis::Buckets, unit: "paths", points, note })
}

/// Measures points by their value, with number of files and size of lines.
///
/// Each run has its own logs: all logs together exceed the memory of a small machine, and evicted
/// ones would be read from the measured disk.
fn measure(
    cases: &[(u64, (u64, u64))],
    ending: Ending,
    options: &Options,
    setup: &Setup,
) -> Result<Vec<Point>> {
    let ours = Ours::prepare()?;
    let mut points: Vec<Point> = cases.iter().map(|(x, _)| Point::at(*x)).collect();
    for _ in 0..options.runs {
        for ((_, (files, line_bytes)), point) in cases.iter().zip(&mut points) {
            let logs = setup.cache.scratch_at(options.logs_in.as_deref())?;
            let shape = (*files, *line_bytes, options.megabytes * 1_000_000);
            one_run(&ours, logs.path(), shape, ending, options, &setup.cache, point)?;
            drop(logs);
            rustix::fs::sync();
            std::thread::sleep(GIVEN_BACK);
        }
    }
    Ok(points)
}

/// Moves the files of `input` to `inside`, a watched folder; returns the seconds until a total of
/// `lines` has arrived.
fn move_all(running: &mut Running, input: &Input, inside: &Path, lines: u64) -> Result<f64> {
    raw::warm(&input.folder)?;
    let started = Instant::now();
    fs::rename(&input.folder, inside).at("move", &input.folder)?;
    let port = running.metrics_port;
    accepted(running, port, lines as f64, started)
}

/// Runs once with logs of `(files, line_bytes, total)` below the folder `logs`.
fn one_run(
    ours: &Ours,
    logs: &Path,
    (files, line_bytes, total): (u64, u64, u64),
    ending: Ending,
    options: &Options,
    cache: &Cache,
    point: &mut Point,
) -> Result<()> {
    let watched = logs.join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    let scratch = cache.scratch()?;
    let collector = cache.scratch_at(options.collector_in.as_deref())?;
    let folders = Folders { edge: scratch.path(), collector: collector.path() };
    let sets = watched.join("*");
    let mut running = match ending {
        Ending::Collector => ours.start_in(&sets, &folders)?,
        Ending::Store => {
            let store = format!("file://{}/store/%{{file}}", scratch.path().display());
            let settings = format!("\nbuckets_max = {}", point.x);
            ours.start_storing(&sets, &store, &settings, &folders)?
        }
    };
    let write = || Input::write(logs.join("logs"), files, line_bytes, total);
    let mut before = 0;
    if matches!(ending, Ending::Store) {
        let input = write()?;
        let first = watched.join("first");
        let seconds = move_all(&mut running, &input, &first, input.lines)?;
        before = input.lines;
        fs::remove_dir_all(&first).at("remove", &first)?;
        crate::progress(&format!("growth: {}: {:.0} MB/s before", point.x, input.rate(seconds)));
    }
    let input = write()?;
    let seconds = move_all(&mut running, &input, &watched.join("set"), before + input.lines);
    let usage = [running.edge.usage()?, running.collector.usage()?];
    drop(running);
    let seconds = seconds?;
    let [edge, collector] = usage.each_ref().map(|tier| tier.cpu_s);
    let (x, rate) = (point.x, input.rate(seconds));
    crate::progress(&format!(
        "growth: {x}: {rate:.0} MB/s, CPU {edge:.2} s at the edge, {collector:.2} s at the \
         collector"
    ));
    point.add(input.lines, input.bytes, seconds);
    point.memory.push(usage.iter().map(|tier| tier.peak_rss_mib).sum());
    Ok(())
}
