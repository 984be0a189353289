//! How fast a backlog drains, compared with plain reads of the same files: by one consumer after
//! the other, each of which reads everything, alternating with the raw side.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use pipeline::{Batch, Channel};
use tokio::task::JoinSet;

use super::{Shape, backlog, failed, open, put_batches, take};
use crate::access_log::AccessLog;
use crate::cache::Cache;
use crate::codings;
use crate::error::{Doing, Error, Result};
use crate::load::SIZES;
use crate::raw::{self, Moved};
use crate::report::{Better, Figure, Report, Series};

const PRODUCERS: usize = 8;
/// Lines of the log that compressed backlogs repeat.
const LOG_LINES: u64 = 1_000_000;

/// A backlog to drain, and its measurements.
struct Backlog {
    name: String,
    shape: Shape,
    directory: PathBuf,
    events: u64,
    /// Size of its events.
    bytes: u64,
    /// Size of its events on the disk.
    stored: u64,
}

/// Measures three backlogs of about `bytes` of events, each drained `runs` times.
pub(super) async fn measure(
    bytes: u64,
    runs: u32,
    cache: &Cache,
    report: &mut Report,
) -> Result<()> {
    // The last consumer also frees disk space, and the index is moved aside once per run.
    let consumers = 2 * runs as usize;
    for load in [SIZES[1], SIZES[0]] {
        let scratch = cache.scratch()?;
        let shape = Shape { consumers, ..Shape::default() };
        let name = format!("drain of {}", load.name);
        let fill = async |channel: &Arc<dyn Channel>| {
            let grown = backlog::grow(channel, load, bytes).await?;
            Ok((grown.bytes, grown.bytes / load.batch().size().bytes * load.events as u64))
        };
        let backlog = Backlog::make(name, shape, scratch.path(), fill).await?;
        backlog.measure(runs, report).await?;
    }
    let scratch = cache.scratch()?;
    let log = AccessLog::cached(cache, LOG_LINES)?;
    let batches = codings::batches(&fs::read(&log.path).at("read", &log.path)?);
    let shape = Shape { consumers, compression: "lz4", ..Shape::default() };
    let fill = async |channel: &Arc<dyn Channel>| put_log(channel, &batches, bytes).await;
    let name = "drain of log lines, lz4".to_owned();
    Backlog::make(name, shape, scratch.path(), fill).await?.measure(runs, report).await?;
    report.note("drain, raw-direct: O_DIRECT reads of 1 MiB of the same files, in turn with ours");
    Ok(())
}

/// Puts the batches repeatedly; returns bytes and events.
async fn put_log(channel: &Arc<dyn Channel>, batches: &[Batch], bytes: u64) -> Result<(u64, u64)> {
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        let (channel, batches) = (channel.clone(), batches.to_vec());
        tasks.spawn(async move {
            let (mut put, mut events) = (0, 0);
            for batch in batches.iter().cycle().skip(producer) {
                if put >= bytes / PRODUCERS as u64 {
                    break;
                }
                put += put_batches(&*channel, [batch.clone()]).await?;
                events += batch.len() as u64;
            }
            Ok::<_, Error>((put, events))
        });
    }
    let mut total = (0, 0);
    while let Some(one) = tasks.join_next().await {
        let (put, events) = one.expect("a producer does not panic")?;
        total = (total.0 + put, total.1 + events);
    }
    Ok(total)
}

impl Backlog {
    async fn make(
        name: String,
        shape: Shape,
        folder: &Path,
        fill: impl AsyncFnOnce(&Arc<dyn Channel>) -> Result<(u64, u64)>,
    ) -> Result<Self> {
        let directory = folder.join("channel");
        let channel = open(&directory, shape).await?;
        let (bytes, events) = fill(&channel).await?;
        let stored = channel.status().bytes;
        channel.close().await.map_err(|error| failed(&error))?;
        Ok(Self { name, shape, directory, events, bytes, stored })
    }

    /// One consumer takes everything.
    async fn drain(&self, consumer: usize) -> Result<f64> {
        let channel = open(&self.directory, self.shape).await?;
        let started = Instant::now();
        let taken = take(&*channel, consumer, |_, taken| taken >= self.events).await?;
        let moved = Moved { bytes: taken, seconds: started.elapsed().as_secs_f64() };
        channel.close().await.map_err(|error| failed(&error))?;
        if taken != self.bytes {
            let detail = format!("{taken} of {} bytes were taken", self.bytes);
            return Err(Error::Content { path_name: "durable channel".to_owned(), detail });
        }
        Ok(moved.mb_per_s())
    }

    async fn measure(&self, runs: u32, report: &mut Report) -> Result<()> {
        let [mut raw, mut indexed, mut bare] = std::array::from_fn(|_| Series::default());
        for run in 0..runs as usize {
            raw.push(raw_side(&self.directory, self.stored).await?.mb_per_s());
            indexed.push(self.drain(2 * run).await?);
            let meta = self.directory.join("meta");
            fs::remove_dir_all(&meta).at("remove", &meta)?;
            bare.push(self.drain(2 * run + 1).await?);
            crate::progress(&format!("channel: {}, run {} of {runs}", self.name, run + 1));
        }
        for (what, ours) in [("", &indexed), (", index deleted", &bare)] {
            report.add(Figure {
                bench: "channel",
                case: format!("{}{what}", self.name),
                unit: "MB/s",
                better: Better::More,
                ours: ours.spread(),
                reference: raw.spread().map(|spread| ("raw-direct", spread)),
            });
        }
        Ok(())
    }
}

/// Reads the first `most` bytes of a channel's segments.
async fn raw_side(directory: &Path, most: u64) -> Result<Moved> {
    raw_reads(segments(directory)?, most).await
}

/// Returns a channel's segment files, oldest first.
pub(super) fn segments(directory: &Path) -> Result<Vec<PathBuf>> {
    let folder = directory.join("log");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).at("list", &folder)? {
        files.push(entry.at("list", &folder)?.path());
    }
    files.sort_unstable();
    Ok(files)
}

/// Reads the first `most` bytes of files.
pub(super) async fn raw_reads(files: Vec<PathBuf>, most: u64) -> Result<Moved> {
    let read = move || raw::direct_reads(&files, most);
    tokio::task::spawn_blocking(read).await.expect("the raw side does not panic")
}
