//! The durable channel alone, compared with plain disk writes of the same size: `raw-direct`
//! (O_DIRECT and O_DSYNC over blocks written before) and `raw-append` (append and fdatasync).

mod backlog;
mod buffered;
mod dedupe;
mod device;
mod drain;
mod flume;
mod special;
mod steady;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Batch, BatchSize, Channel, ChannelError, IntervalSet};
use serde_json::json;
use tempfile::TempDir;
use tokio::task;

use crate::Setup;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::load::{self, Load};
use crate::raw::{self, Blocks, DirectFile, Moved};
use crate::report::{Better, Figure, Report, Series};
use crate::stage;
use steady::Case;

/// Size of the file that direct writes cycle through.
const RAW_FILE_BYTES: u64 = 512 << 20;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Cases to measure: all of them unless given; can be given more than once
    #[arg(long = "case", value_enum)]
    cases: Vec<What>,
    /// Sizes of batch of the case `puts`, by their names: all of them unless given
    #[arg(long = "batch")]
    batches: Vec<String>,
    /// Interleaved runs of all but the backlogs
    #[arg(long, default_value_t = 7)]
    runs: u32,
    /// Seconds of each run
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Gigabytes of the backlog that grows, is reopened cold and drained
    #[arg(long, default_value_t = 10)]
    backlog_gb: u64,
    /// Gigabytes of the backlogs that are drained again and again
    #[arg(long, default_value_t = 2)]
    drain_gb: u64,
    /// Gigabytes of the backlog whose memory is looked at
    #[arg(long, default_value_t = 20)]
    memory_gb: u64,
}

/// What there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// A backlog that grows, is reopened cold and drained
    Backlog,
    /// Memory of a backlog of small batches
    Memory,
    /// Memory of very many origins
    Origins,
    /// Draining, compared with reading the same files: plain, compressed, and without the index
    Drain,
    /// Puts of three sizes by one and by eight producers
    Puts,
    /// Three consumers compared with one
    Consumers,
    /// Batches of many origins, with and without dedupe
    Dedupe,
    /// Puts where the disk refuses direct I/O
    Buffered,
    /// Flume's file channel
    Flume,
}

impl Options {
    fn wants(&self, what: What) -> bool {
        self.cases.is_empty() || self.cases.contains(&what)
    }

    /// Returns whether a selected case is compared with puts of this size.
    fn wants_batch(&self, load: Load) -> bool {
        let is_named = self.batches.iter().any(|name| name == load.name);
        let puts = self.wants(What::Puts) && (self.batches.is_empty() || is_named);
        puts || self.wants(What::Buffered) || (self.wants(What::Flume) && load == load::SIZES[1])
    }
}

/// Configuration of a channel.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Number of consumers.
    consumers: usize,
    /// Whether batches are deduplicated.
    dedupe: bool,
    /// Whether the disk supports direct I/O.
    direct: bool,
    /// Compression of batches: `none` or an algorithm.
    compression: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self { consumers: 1, dedupe: true, direct: true, compression: "none" }
    }
}

/// The series of one batch size.
#[derive(Debug, Default)]
struct Results {
    direct: Series,
    append: Series,
    /// One for each of [`steady::PRODUCERS`].
    ours: [Series; 2],
    p50_ms: [Series; 2],
    p99_ms: [Series; 2],
    amplification: [Series; 2],
}

/// Runs the benchmark. Memory benchmarks come first, because memory is not returned immediately.
pub(crate) async fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let cache = &setup.cache;
    let gigabytes = |gb: u64| gb * 1_000_000_000;
    if !setup.peers_only {
        if options.wants(What::Backlog) {
            backlog::measure(gigabytes(options.backlog_gb), cache, report).await?;
        }
        if options.wants(What::Memory) {
            backlog::measure_memory(gigabytes(options.memory_gb), cache, report).await?;
        }
        if options.wants(What::Origins) {
            dedupe::measure_memory(cache, report).await?;
        }
        if options.wants(What::Drain) {
            drain::measure(gigabytes(options.drain_gb), options.runs, cache, report).await?;
        }
    }
    let limit = Duration::from_secs_f64(options.seconds);
    let sizes = load::SIZES.into_iter().filter(|load| options.wants_batch(*load));
    let mut results: Vec<_> = sizes.map(|load| (load, Results::default())).collect();
    let mut special = special::Special::prepare(options, setup)?;
    for round in 0..options.runs {
        for (load, results) in &mut results {
            let mut raw = RawSide::prepare(*load, limit, cache, results)?;
            for (index, producers) in ours_of(setup) {
                let case = Case::plain(*load, producers);
                let outcome = steady::measure(case, limit, cache).await?;
                results.ours[index].push(outcome.moved.mb_per_s());
                results.p50_ms[index].push(outcome.p50_ms);
                results.p99_ms[index].push(outcome.p99_ms);
                results.amplification[index].push(outcome.amplification);
                raw.write(limit / 2)?;
            }
            results.direct.push(raw.mb_per_s());
        }
        special.run(round, limit, cache).await?;
        crate::progress(&format!("channel: run {} of {}", round + 1, options.runs));
    }
    for (load, results) in &results {
        steady_figures(report, *load, results);
    }
    special.figures(report, &results);
    if !results.is_empty() {
        report.note("consumers follow; raw sides: one writer, same size of write, same disk");
    }
    Ok(())
}

/// Returns our producer counts with their index; empty if our side is disabled.
fn ours_of(setup: &Setup) -> impl Iterator<Item = (usize, usize)> {
    steady::PRODUCERS.into_iter().enumerate().filter(|_| !setup.peers_only)
}

/// The raw sides of one batch size. Direct writes run before and after each of our runs, for half
/// the time each, so that a drift of the disk's speed affects both alike.
struct RawSide {
    file: DirectFile,
    written: Moved,
    _scratch: TempDir,
}

impl RawSide {
    /// Measures the appends and starts the direct writes.
    fn prepare(load: Load, limit: Duration, cache: &Cache, results: &mut Results) -> Result<Self> {
        let size = usize::try_from(load.batch().size().bytes).expect("a batch fits in memory");
        let scratch = cache.scratch()?;
        let folder = scratch.path();
        let append = task::block_in_place(|| raw::synced_appends(folder, size, limit))?;
        results.append.push(append.mb_per_s());
        let file = DirectFile::create(folder, size, RAW_FILE_BYTES, Blocks::Written)?;
        let written = Moved { bytes: 0, seconds: 0.0 };
        let mut raw = Self { file, written, _scratch: scratch };
        raw.write(limit / 2)?;
        Ok(raw)
    }

    fn write(&mut self, limit: Duration) -> Result<()> {
        let write = || self.file.write_while(|elapsed, _| elapsed < limit);
        let Moved { bytes, seconds } = task::block_in_place(write)?;
        self.written.bytes += bytes;
        self.written.seconds += seconds;
        Ok(())
    }

    fn mb_per_s(&self) -> f64 {
        self.written.mb_per_s()
    }
}

fn steady_figures(report: &mut Report, load: Load, results: &Results) {
    let events_per_mb = load.events as f64 * 1e6 / load.batch().size().bytes as f64;
    for (index, producers) in steady::PRODUCERS.into_iter().enumerate() {
        let case = format!("put {} x {producers}", load.name);
        let references = [("raw-direct", &results.direct), ("raw-append", &results.append)];
        for (name, reference) in references {
            for (unit, factor) in [("MB/s", 1.0), ("events/s", events_per_mb)] {
                let rate = |series: &Series| series.map(|rate| rate * factor).spread();
                report.add(Figure {
                    bench: "channel",
                    case: case.clone(),
                    unit,
                    better: Better::More,
                    ours: rate(&results.ours[index]),
                    reference: rate(reference).map(|spread| (name, spread)),
                });
            }
        }
        for (what, unit, series) in [
            ("p50 of a commit", "ms", &results.p50_ms[index]),
            ("p99 of a commit", "ms", &results.p99_ms[index]),
            ("device writes for each byte", "bytes", &results.amplification[index]),
        ] {
            report.add(Figure {
                bench: "channel",
                case: format!("{case}, {what}"),
                unit,
                better: Better::Less,
                ours: series.spread(),
                reference: None,
            });
        }
    }
}

/// Returns the name of a consumer.
fn consumer(number: usize) -> String {
    format!("bench-{number}")
}

/// Opens the durable channel in `directory`, with its consumers.
async fn open(directory: &Path, shape: Shape) -> Result<Arc<dyn Channel>> {
    let Shape { dedupe, compression, .. } = shape;
    // Disk measurements must not depend on earlier content.
    let settings = json!({ "capacity": "64GiB", "dedupe": dedupe, "compression": compression,
        "pool_idle_max": "0s" });
    let world = if shape.direct { env::real() } else { buffered::world() };
    let channel = stage::build_in::<dyn Channel>(world, "durable", &settings, directory)?;
    let channel: Arc<dyn Channel> = channel.into();
    channel.open().await.map_err(|error| failed(&error))?;
    let consumers: Vec<Arc<str>> = (0..shape.consumers).map(|n| consumer(n).into()).collect();
    channel.register(&consumers).await.map_err(|error| failed(&error))?;
    Ok(channel)
}

fn failed(error: &ChannelError) -> Error {
    stage::failed("durable channel", error)
}

/// Puts a new batch durably; returns its size.
async fn put(channel: &dyn Channel, load: Load) -> Result<u64> {
    put_batches(channel, [load.batch()]).await
}

/// Puts batches durably; returns their size.
async fn put_batches(
    channel: &dyn Channel,
    batches: impl IntoIterator<Item = Batch>,
) -> Result<u64> {
    let batches: Vec<Batch> = batches.into_iter().collect();
    let mut size = BatchSize::default();
    for batch in &batches {
        size.bytes += batch.size().bytes;
        size.events += batch.size().events;
    }
    let mut transaction = channel.begin_put(size).await.map_err(|error| failed(&error))?;
    batches.into_iter().for_each(|batch| transaction.put(batch));
    transaction.commit().await.map_err(|error| failed(&error))?;
    Ok(size.bytes)
}

/// Takes and commits batches until `enough` returns true for the bytes and events taken; returns
/// the bytes.
async fn take(
    channel: &dyn Channel,
    number: usize,
    enough: impl Fn(u64, u64) -> bool,
) -> Result<u64> {
    let mut taker = channel.begin_take(&consumer(number));
    let (mut bytes, mut events) = (0, 0);
    while !enough(bytes, events) {
        let taken = taker.take().await.map_err(|error| failed(&error))?;
        let size = taken.batch.size();
        bytes += size.bytes;
        events += size.events;
        taker.commit(&IntervalSet::from(taken.ticket..taken.ticket + 1));
    }
    Ok(bytes)
}
