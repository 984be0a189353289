//! Sizes of the files of a day: one skewed stream of events, with the sink's own decisions and with
//! the rules of Flume's `hdfs` sink. Nothing is written, and the clock is simulated.
//!
//! Paths have shares of the traffic by Zipf's law. The events of each path arrive at random
//! (Poisson) and reach the sink as batches of five seconds, as an edge sends them.

mod draw;
mod flume;

use std::f64::consts::TAU;
use std::path::PathBuf;
use std::time::Duration;

use components_hdfs::hdfs::sizes::{Model, Rules, Share};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::error::Result;

/// What is simulated.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Paths that have traffic all day
    #[arg(long, default_value_t = 2_000)]
    paths: u32,
    /// Exponent of Zipf's law: the n-th path has a share of 1/n^EXPONENT
    #[arg(long, default_value_t = 1.1)]
    exponent: f64,
    /// Gigabytes of a day, in events of 500 bytes
    #[arg(long, default_value_t = 400.0)]
    gigabytes: f64,
    /// Hours that are simulated
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Write the plot and the table into this folder, which holds file-sizes.md
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

const EVENT_BYTES: u64 = 500;
/// Maximum number of events per batch of an edge.
const BATCH_EVENTS: u64 = (1 << 20) / EVENT_BYTES;
/// Period whose events of a path form one batch.
const WINDOW: Duration = Duration::from_secs(5);
const SEED: u64 = 46;
/// Mean from which on the normal approximation is used.
const MANY: f64 = 30.0;

/// Upper bounds of the size classes, and their names; the last class is unbounded.
const CLASSES: [(u64, &str); 5] = [
    (64 << 10, "under 64 KiB"),
    (1 << 20, "64 KiB to 1 MiB"),
    (16 << 20, "1 to 16 MiB"),
    (100 << 20, "16 to 100 MiB"),
    (u64::MAX, "100 MiB and more"),
];

/// The files of a day, by size.
#[derive(Debug, Clone, Default, PartialEq)]
struct Histogram {
    /// Number of files in each class.
    files: [u64; CLASSES.len()],
    bytes: u64,
}

impl Histogram {
    fn add(&mut self, bytes: u64) {
        let class = CLASSES.iter().position(|(end, _)| bytes < *end);
        self.files[class.unwrap_or(CLASSES.len() - 1)] += 1;
        self.bytes += bytes;
    }

    fn count(&self) -> u64 {
        self.files.iter().sum()
    }
}

/// The result of a day with one set of rules.
struct Row {
    name: &'static str,
    histogram: Histogram,
}

/// Prints the table, and writes table and picture to the documentation if requested.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rows = rows(options);
    print_table(&draw::table(&rows));
    options.docs.as_deref().map_or(Ok(()), |docs| draw::into_docs(&rows, docs))
}

#[expect(clippy::print_stdout, reason = "the table is what is asked for")]
fn print_table(table: &str) {
    print!("{table}");
}

fn rows(options: &Options) -> Vec<Row> {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let rules = Rules { age_max: minutes(5), idle_max: minutes(1), buckets_max: 2_048 };
    let narrow = Rules { buckets_max: 256, ..rules };
    let hour = Rules { age_max: minutes(60), idle_max: minutes(10), ..rules };
    let flume = |roll_s: u64, size: u64, count: u64, idle_s: u64| {
        let rules = flume::Rules {
            roll_interval: (roll_s > 0).then(|| Duration::from_secs(roll_s)),
            roll_size: size,
            roll_count: count,
            idle_timeout: (idle_s > 0).then(|| Duration::from_secs(idle_s)),
        };
        flumed(options, rules)
    };
    let row = |name, histogram| Row { name, histogram };
    vec![
        row("Flume, its defaults", flume(30, 1_024, 10, 0)),
        row("Flume, 5 min, 127 MiB, idle 1 min", flume(300, 127 << 20, 0, 60)),
        row("Flume, 1 h, 127 MiB, idle 10 min", flume(3_600, 127 << 20, 0, 600)),
        row("Aqueduct, `buckets_max = 256`", ours(options, narrow, 1)),
        row("Aqueduct, its defaults", ours(options, rules, 1)),
        row("… and 1 h, idle 10 min", ours(options, hour, 1)),
        row("… and batches of 20 paths", ours(options, hour, 20)),
    ]
}

/// Simulates the day with the sink's decisions; the batches of `paths_of_batch` adjacent paths
/// arrive as one.
fn ours(options: &Options, rules: Rules, paths_of_batch: usize) -> Histogram {
    let mut random = StdRng::seed_from_u64(SEED + 1);
    let mut model = Model::new(rules, move || random.next_u64());
    let mut gathered: Vec<Share> = Vec::new();
    day(options, |at, path, events| {
        let directory = format!("app={path}");
        let same = gathered.iter().any(|share| share.directory == directory);
        if gathered.len() >= paths_of_batch || same {
            model.write(at, std::mem::take(&mut gathered));
        }
        gathered.push(Share { directory, bytes: events * EVENT_BYTES, events });
        if paths_of_batch == 1 {
            model.write(at, std::mem::take(&mut gathered));
        }
    });
    if !gathered.is_empty() {
        model.write(Duration::from_secs(options.hours * 3_600), gathered);
    }
    let mut histogram = Histogram::default();
    model.finish().into_iter().for_each(|bytes| histogram.add(bytes));
    histogram
}

/// Simulates the day with Flume's rules.
fn flumed(options: &Options, rules: flume::Rules) -> Histogram {
    let mut histogram = Histogram::default();
    let mut writers = vec![flume::Writer::default(); options.paths as usize];
    day(options, |at, path, events| {
        writers[path as usize].write(&rules, at, events, EVENT_BYTES, &mut |bytes| {
            histogram.add(bytes);
        });
    });
    writers.iter().for_each(|writer| writer.close(&mut |bytes| histogram.add(bytes)));
    histogram
}

/// Generates the batches of the day, in order: time, path, number of events.
fn day(options: &Options, mut batch: impl FnMut(Duration, u32, u64)) {
    let mut random = StdRng::seed_from_u64(SEED);
    let share = |path: u32| f64::from(path + 1).powf(-options.exponent);
    let whole: f64 = (0..options.paths).map(share).sum();
    let in_window = options.gigabytes * 1e9 / EVENT_BYTES as f64 * WINDOW.as_secs_f64() / 86_400.0;
    let means: Vec<f64> = (0..options.paths).map(|path| in_window * share(path) / whole).collect();
    let windows = options.hours * 3_600 / WINDOW.as_secs();
    for window in 0..windows {
        for (path, mean) in (0..options.paths).zip(&means) {
            // The batches of the paths are spread over the window.
            let at =
                WINDOW * u32::try_from(window).unwrap_or(u32::MAX) + WINDOW * path / options.paths;
            let mut events = poisson(*mean, &mut random);
            while events > 0 {
                let some = events.min(BATCH_EVENTS);
                batch(at, path, some);
                events -= some;
            }
        }
    }
}

/// Returns a random number of events with this mean.
fn poisson(mean: f64, random: &mut StdRng) -> u64 {
    if mean > MANY {
        let (angle, length): (f64, f64) = (random.random(), random.random());
        let normal = (-2.0 * (1.0 - length).ln()).sqrt() * (TAU * angle).cos();
        return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
    }
    let (limit, mut product, mut events) = ((-mean).exp(), 1.0, 0);
    loop {
        product *= random.random::<f64>();
        if product <= limit {
            return events;
        }
        events += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Options {
        Options { paths: 50, exponent: 1.1, gigabytes: 2.0, hours: 1, docs: None }
    }

    /// All rules store the same bytes; the stream has the skew and the rate of the options.
    #[test]
    fn every_byte_of_the_day_is_in_one_file_under_all_rules() {
        let (mut bytes, mut first) = (0, 0);
        day(&small(), |_, path, events| {
            bytes += events * EVENT_BYTES;
            first += if path == 0 { events * EVENT_BYTES } else { 0 };
        });
        let expected = 2e9 / 24.0;
        assert!((bytes as f64 / expected - 1.0).abs() < 0.02, "{bytes} of {expected}");
        let whole: f64 = (1..=50).map(|path| f64::from(path).powf(-1.1)).sum();
        assert!((first as f64 / bytes as f64 * whole - 1.0).abs() < 0.05);
        for row in rows(&small()) {
            assert_eq!(row.histogram.bytes, bytes, "{}", row.name);
        }
    }
}
