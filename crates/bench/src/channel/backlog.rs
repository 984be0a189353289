//! A backlog without a consumer: how fast it grows, its memory and disk usage, how soon the channel
//! reopens with it (also without its index), and how fast it drains.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::Channel;
use tokio::task::JoinSet;

use super::device::Device;
use super::{Shape, drain, failed, put, take};
use crate::cache::Cache;
use crate::error::{Doing, Error, Result};
use crate::load::{Load, SIZES};
use crate::process;
use crate::raw::{self, Blocks, DirectFile, Moved};
use crate::report::{Better, Figure, Report, Series, Spread};

const LOAD: Load = SIZES[1];
const SMALL: Load = SIZES[0];
const PRODUCERS: u64 = 8;
const FIRST_LOOK_BYTES: u64 = 1_000_000_000;
/// Parts in which a backlog is drained.
const DRAIN_PARTS: u64 = 8;

/// One pass over everything, after the raw side of the same size.
pub(super) async fn measure(bytes: u64, cache: &Cache, report: &mut Report) -> Result<()> {
    let raw_write = raw_side(bytes, cache).await?;
    let scratch = cache.scratch()?;
    let directory = scratch.path().join("channel");
    let name = format!("backlog of {} GB", bytes / 1_000_000_000);

    let channel = super::open(&directory, Shape::default()).await?;
    let device = Device::for_folder(&directory)?;
    let before = device.written()?;
    let grown = grow(&channel, LOAD, bytes).await?;
    let amplification = (device.written()? - before) as f64 / grown.bytes as f64;
    let resident = process::resident_mib()?;
    channel.close().await.map_err(|error| failed(&error))?;
    drop(channel);
    let events = grown.bytes / LOAD.batch().size().bytes * LOAD.events as u64;

    let cold_s = cold_open(&directory, events).await?;
    let (meta, aside) = (directory.join("meta"), scratch.path().join("meta"));
    fs::rename(&meta, &aside).at("put aside", &meta)?;
    let rebuild_s = cold_open(&directory, events).await?;
    // The drain is measured with an index, which normally exists.
    if meta.exists() {
        fs::remove_dir_all(&meta).at("remove", &meta)?;
    }
    fs::rename(&aside, &meta).at("put back", &meta)?;

    let disk_full = disk_bytes(&directory)?;
    let drained = drain_in_parts(&directory, events).await?;
    check_bytes(grown.bytes, drained.bytes)?;

    let mut add = |what: &str, unit, better, ours: f64, reference: Option<(&'static str, f64)>| {
        report.add(Figure {
            bench: "channel",
            case: format!("{name}: {what}"),
            unit,
            better,
            ours: Some(once(ours)),
            reference: reference.map(|(name, value)| (name, once(value))),
        });
    };
    let per_s = ("raw-direct", raw_write.mb_per_s());
    add("growing", "MB/s", Better::More, grown.mb_per_s(), Some(per_s));
    add("memory at its end", "MiB", Better::Less, resident, None);
    add("device writes for each byte", "bytes", Better::Less, amplification, None);
    let overhead = disk_full as f64 / grown.bytes as f64;
    add("disk for each byte", "bytes", Better::Less, overhead, None);
    add("cold open", "s", Better::Less, cold_s, None);
    add("cold open without index", "s", Better::Less, rebuild_s, None);
    add("disk after the drain", "MB", Better::Less, drained.disk_left as f64 / 1e6, None);
    report.add(Figure {
        bench: "channel",
        case: format!("{name}: drain"),
        unit: "MB/s",
        better: Better::More,
        ours: drained.ours.spread(),
        reference: drained.raw.spread().map(|spread| ("raw-direct", spread)),
    });
    report.note(
        "backlog, raw-direct: writes go to allocated blocks, in one pass; reads are of 1 MiB in \
         the same files, in turn with the parts of the drain",
    );
    Ok(())
}

/// Measurements of a drained backlog.
struct Drained {
    bytes: u64,
    ours: Series,
    raw: Series,
    /// Size of all files one second later.
    disk_left: u64,
}

/// Drains a backlog of this many events, part by part. Before each part the raw side reads the same
/// amount of other segments, so that neither finds data in the cache that the other has just read.
async fn drain_in_parts(directory: &Path, events: u64) -> Result<Drained> {
    let channel = super::open(directory, Shape::default()).await?;
    let (mut bytes, [mut ours, mut raw]) = (0, std::array::from_fn(|_| Series::default()));
    for part in 0..DRAIN_PARTS {
        let batches = events / LOAD.events as u64;
        let batches = batches * (part + 1) / DRAIN_PARTS - batches * part / DRAIN_PARTS;
        let (events, most) = (batches * LOAD.events as u64, batches * LOAD.batch().size().bytes);
        let mut files = drain::segments(directory)?;
        let later = files.split_off(files.len() / 2);
        raw.push(drain::raw_reads(later, most).await?.mb_per_s());
        let started = Instant::now();
        let taken = take(&*channel, 0, |_, taken| taken >= events).await?;
        ours.push(Moved { bytes: taken, seconds: started.elapsed().as_secs_f64() }.mb_per_s());
        bytes += taken;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let disk_left = disk_bytes(directory)?;
    channel.close().await.map_err(|error| failed(&error))?;
    Ok(Drained { bytes, ours, raw, disk_left })
}

/// Measures the memory of a backlog of `bytes` in groups of small batches, compared with one of 1
/// GB.
pub(super) async fn measure_memory(bytes: u64, cache: &Cache, report: &mut Report) -> Result<()> {
    let scratch = cache.scratch()?;
    let channel = super::open(&scratch.path().join("channel"), Shape::default()).await?;
    let early = grow(&channel, SMALL, bytes.min(FIRST_LOOK_BYTES)).await?;
    let early_rss = process::resident_mib()?;
    grow(&channel, SMALL, bytes.saturating_sub(early.bytes)).await?;
    let late_rss = process::resident_mib()?;
    channel.close().await.map_err(|error| failed(&error))?;
    for (what, value) in [("memory", late_rss), ("memory since 1 GB", late_rss - early_rss)] {
        report.add(Figure {
            bench: "channel",
            case: format!("backlog of {} GB of {}: {what}", bytes / 1_000_000_000, SMALL.name),
            unit: "MiB",
            better: Better::Less,
            ours: Some(once(value)),
            reference: None,
        });
    }
    Ok(())
}

fn once(value: f64) -> Spread {
    Spread { median: value, min: value, max: value, runs: 1 }
}

async fn raw_side(bytes: u64, cache: &Cache) -> Result<Moved> {
    let scratch = cache.scratch()?;
    let size = usize::try_from(LOAD.batch().size().bytes).expect("a batch fits in memory");
    let write = move || {
        let mut file = DirectFile::create(scratch.path(), size, bytes, Blocks::Allocated)?;
        file.write_while(|_, rounds| rounds == 0)
    };
    tokio::task::spawn_blocking(write).await.expect("the raw side does not panic")
}

/// Adds about `bytes` with all producers in parallel.
pub(super) async fn grow(channel: &Arc<dyn Channel>, load: Load, bytes: u64) -> Result<Moved> {
    let rounds = bytes / load.batch().size().bytes / PRODUCERS;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..PRODUCERS {
        let channel = channel.clone();
        tasks.spawn(async move {
            let mut bytes = 0;
            for _ in 0..rounds {
                bytes += put(&*channel, load).await?;
            }
            Ok::<_, Error>(bytes)
        });
    }
    let mut total = 0;
    while let Some(bytes) = tasks.join_next().await {
        total += bytes.expect("a producer does not panic")?;
    }
    Ok(Moved { bytes: total, seconds: started.elapsed().as_secs_f64() })
}

/// Returns the seconds from an empty page cache to an open channel with all events.
async fn cold_open(directory: &Path, events: u64) -> Result<f64> {
    raw::evict(directory)?;
    let started = Instant::now();
    let channel = super::open(directory, Shape::default()).await?;
    put(&*channel, Load { events: 0, ..LOAD }).await?;
    let seconds = started.elapsed().as_secs_f64();
    let found = channel.status().events;
    channel.close().await.map_err(|error| failed(&error))?;
    if found != events {
        let detail = format!("{found} of {events} events after a restart");
        return Err(Error::Content { path_name: "durable channel".to_owned(), detail });
    }
    Ok(seconds)
}

fn check_bytes(put: u64, taken: u64) -> Result<()> {
    if put == taken {
        return Ok(());
    }
    let detail = format!("{taken} of {put} bytes were taken");
    Err(Error::Content { path_name: "durable channel".to_owned(), detail })
}

/// Returns the total size of the files below `folder`.
fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let path = entry.path();
        let data = entry.metadata().at("stat", &path)?;
        total += if data.is_dir() { disk_bytes(&path)? } else { data.len() };
    }
    Ok(total)
}
