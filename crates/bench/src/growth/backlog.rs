//! The pipeline while the edge's channel contains a backlog, and how soon an edge with a backlog
//! accepts its first batch.
//!
//! This process creates the backlog in the directory of an edge, and then starts the edge. First
//! the edge only drains, and this rate is noted: a backlogged line then costs as many disk
//! operations as a new line at an edge without a backlog, one write and one read or second write.
//! Then a log is linked into its folder: it must accept the log while it sends older events. The
//! measured rate is what leaves the edge until it has accepted the whole log; the accepted rate is
//! noted, too.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pipeline::{Channel, ChannelError};
use serde_json::json;
use support::loopback::free_address;
use tokio::task::JoinSet;

use super::{Axis, Curve, Options, Point, accepted};
use crate::Setup;
use crate::access_log::AccessLog;
use crate::error::{Doing, Error, Result};
use crate::forward::Running;
use crate::forward::ours::{METRIC, Ours};
use crate::load::{Load, SIZES};
use crate::process;
use crate::programs::{self, Programs};
use crate::raw;
use crate::report::Series;
use crate::{http, stage};

const LOAD: Load = SIZES[1];
const PRODUCERS: u64 = 8;
/// The edge's group, by its name in the flags.
const CONSUMER: &str = "collectors";
const START_LIMIT: Duration = Duration::from_secs(30);
/// Interval of polling a starting edge.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// Time for the disk to settle after the backlog is written.
const REST: Duration = Duration::from_millis(500);
/// How long an edge with a backlog only drains.
const ALONE: Duration = Duration::from_millis(1500);

/// Additional rates of a point's edges, in MB/s.
#[derive(Default)]
struct Besides {
    /// Rate sent with only the backlog, if there was one.
    alone: Series,
    /// Rate accepted from the new log.
    taken: Series,
}

pub(super) fn measure(options: &Options, setup: &Setup) -> Result<Curve> {
    let log = AccessLog::cached(&setup.cache, options.megabytes * 1_000_000 / 178)?;
    let (ours, programs) = (Ours::prepare()?, Programs::prepare()?);
    let whole = options.backlog_gb;
    let mut sizes = vec![0, whole / 4, whole / 2, whole];
    sizes.dedup();
    let at = |gb| (Point::at(gb), Besides::default());
    let mut points: Vec<(Point, Besides)> = sizes.into_iter().map(at).collect();
    for _ in 0..options.runs {
        for (point, besides) in &mut points {
            one_run(&ours, &programs, &log, options, setup, point, besides)?;
        }
    }
    let medians = |series: fn(&Besides) -> &Series| {
        let at = |(point, besides): &(Point, Besides)| {
            Some(format!("{:.0} at {} GB", series(besides).spread()?.median, point.x))
        };
        points.iter().filter_map(at).collect::<Vec<_>>().join(", ")
    };
    let note = format!(
        "edge to collector, durable on both, without a store: the rate at which the edge sends \
         while it reads a new log. Median rate of reading that log, in MB/s: {}. Median rate of \
         sending before, with the backlog only: {}",
        medians(|besides| &besides.taken),
        medians(|besides| &besides.alone)
    );
    let points = points.into_iter().map(|(point, _)| point).collect();
    Ok(Curve { axis: Axis::Backlog, unit: "GB", points, note })
}

/// Measures one edge.
fn one_run(
    ours: &Ours,
    programs: &Programs,
    log: &AccessLog,
    options: &Options,
    setup: &Setup,
    point: &mut Point,
    besides: &mut Besides,
) -> Result<()> {
    let scratch = setup.cache.scratch()?;
    let collector_folder = setup.cache.scratch_at(options.collector_in.as_deref())?;
    let watched = scratch.path().join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    let channel = scratch.path().join("edge/channels/main");
    crate::wait_for(fill(&channel, point.x * 1_000_000_000))?;
    raw::evict(&channel)?;
    thread::sleep(REST);
    // A line that exists from the start: the first batch.
    let first = watched.join("first.log");
    fs::write(&first, "the first line\n").at("write", &first)?;
    let collector = ours.collector(collector_folder.path())?;
    let admin_port = free_address().port();
    let to = &collector.address;
    let command = programs::large_edge(programs, &watched, to, admin_port, scratch.path())?;
    let started = Instant::now();
    let mut edge = process::Process::spawn("edge", command, scratch.path())?;
    edge.watch(POLL_INTERVAL, "to take its first batch", START_LIMIT, || {
        http::metric(admin_port, METRIC).is_ok_and(|count| count >= 1.0)
    })?;
    point.start_s.push(started.elapsed().as_secs_f64());

    let mut running = Running {
        edge,
        collector: collector.process,
        metrics_port: collector.metrics_port,
        metric: METRIC,
    };
    let bytes =
        |running: &Running| http::metric(running.metrics_port, "aqueduct_source_bytes_total");
    // Both are working by then, with only the backlog.
    thread::sleep(REST);
    let gb = point.x;
    if gb > 0 {
        let (before, began) = (bytes(&running)?, Instant::now());
        thread::sleep(ALONE);
        let alone = (bytes(&running)? - before) / 1e6 / began.elapsed().as_secs_f64();
        crate::progress(&format!("growth: {gb} GB: {alone:.0} MB/s out alone"));
        besides.alone.push(alone);
    }
    log.warm()?;
    let before = bytes(&running)?;
    let began = Instant::now();
    log.link_into(&watched)?;
    let seconds = accepted(&mut running, admin_port, 1.0 + log.lines as f64, began)?;
    let sent = (bytes(&running)? - before) / 1e6 / seconds;
    let taken = log.bytes as f64 / 1e6 / seconds;
    crate::progress(&format!("growth: {gb} GB: {taken:.0} MB/s in, {sent:.0} MB/s out"));
    point.rate.push(sent);
    besides.taken.push(taken);
    let usage = [running.edge.usage()?, running.collector.usage()?];
    point.memory.push(usage.iter().map(|tier| tier.peak_rss_mib).sum());
    Ok(())
}

/// Creates the channel of an edge that has not sent anything yet.
async fn fill(directory: &Path, bytes: u64) -> Result<()> {
    let settings = json!({ "capacity": programs::LARGE });
    let channel = stage::build::<dyn Channel>("durable", &settings, directory)?;
    let channel: Arc<dyn Channel> = channel.into();
    channel.open().await.map_err(|error| failed(&error))?;
    channel.register(&[CONSUMER.into()]).await.map_err(|error| failed(&error))?;
    let rounds = bytes / LOAD.batch().size().bytes / PRODUCERS;
    let mut tasks = JoinSet::new();
    for _ in 0..PRODUCERS {
        let channel = channel.clone();
        tasks.spawn(async move {
            for _ in 0..rounds {
                let batch = LOAD.batch();
                let mut put = channel.begin_put(batch.size()).await?;
                put.put(batch);
                put.commit().await?;
            }
            Ok::<_, ChannelError>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a producer does not panic").map_err(|error| failed(&error))?;
    }
    channel.close().await.map_err(|error| failed(&error))
}

fn failed(error: &ChannelError) -> Error {
    stage::failed("durable channel", error)
}
