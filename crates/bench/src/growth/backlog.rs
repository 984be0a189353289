//! The path while the edge's channel holds a backlog, and how soon an edge that has one takes its
//! first batch.
//!
//! The backlog is made in this process, into the directory of an edge that is started behind it.
//! Then a log is linked into the edge's folder: the edge has to take it in while it sends what is
//! older. Measured is what leaves the edge until all of the log is in; what it took in meanwhile is
//! noted beside it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pipeline::{Channel, ChannelError};
use serde_json::json;
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
use crate::{http, stage};

const LOAD: Load = SIZES[1];
const PRODUCERS: u64 = 8;
/// The edge's group, by the name that its flags give it.
const CONSUMER: &str = "collectors";
const START_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at an edge that starts.
const LOOK: Duration = Duration::from_millis(1);
/// For the disk to come to rest after the backlog was written.
const REST: Duration = Duration::from_millis(500);

pub(super) fn measure(options: &Options, setup: &Setup) -> Result<Curve> {
    let log = AccessLog::cached(&setup.cache, options.megabytes * 1_000_000 / 178)?;
    let (ours, programs) = (Ours::prepare()?, Programs::prepare()?);
    let whole = options.backlog_gb;
    let mut sizes = vec![0, whole / 4, whole / 2, whole];
    sizes.dedup();
    let mut points: Vec<Point> = sizes.into_iter().map(Point::at).collect();
    let mut taken = Vec::new();
    for point in &mut points {
        for _ in 0..options.runs {
            taken.push((point.x, one_run(&ours, &programs, &log, setup, point)?));
        }
    }
    let taken = taken.iter().map(|(gb, rate)| format!("{rate:.0} at {gb} GB")).collect::<Vec<_>>();
    let note = format!(
        "edge to collector, durable at both, without a store: what the edge sends while it takes in a \
         new log; of that it took meanwhile, in MB/s: {}",
        taken.join(", ")
    );
    Ok(Curve { axis: Axis::Backlog, unit: "GB", points, note })
}

/// Measures one edge; gives back the megabytes a second that it took in meanwhile.
fn one_run(
    ours: &Ours,
    programs: &Programs,
    log: &AccessLog,
    setup: &Setup,
    point: &mut Point,
) -> Result<f64> {
    let scratch = setup.cache.scratch()?;
    let watched = scratch.path().join("watched");
    fs::create_dir(&watched).at("create", &watched)?;
    let channel = scratch.path().join("edge/channels/main");
    crate::wait_for(fill(&channel, point.x * 1_000_000_000))?;
    raw::evict(&channel)?;
    thread::sleep(REST);
    // A line that is there from the start: the first batch.
    let first = watched.join("first.log");
    fs::write(&first, "the first line\n").at("write", &first)?;
    let collector = ours.collector(scratch.path())?;
    let admin_port = process::free_port()?;
    let to = &collector.address;
    let command = programs::large_edge(programs, &watched, to, admin_port, scratch.path())?;
    let started = Instant::now();
    let mut edge = process::Process::spawn("edge", command, scratch.path())?;
    edge.watch(LOOK, "to take its first batch", START_LIMIT, || {
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
    // Both are at work by then, with the backlog alone.
    thread::sleep(REST);
    log.warm()?;
    let before = bytes(&running)?;
    let began = Instant::now();
    log.link_into(&watched)?;
    let seconds = accepted(&mut running, admin_port, 1.0 + log.lines as f64, began)?;
    let sent = (bytes(&running)? - before) / 1e6 / seconds;
    let taken = log.bytes as f64 / 1e6 / seconds;
    point.rate.push(sent);
    let usage = [running.edge.usage()?, running.collector.usage()?];
    point.memory.push(usage.iter().map(|tier| tier.peak_rss_mib).sum());
    crate::progress(&format!("growth: {} GB: {taken:.0} MB/s in, {sent:.0} MB/s out", point.x));
    Ok(taken)
}

/// Makes the channel of an edge that has not sent anything yet.
async fn fill(directory: &Path, bytes: u64) -> Result<()> {
    let settings = json!({ "capacity": programs::LARGE });
    let channel = stage::build(components::CHANNELS, "durable", &settings, directory)?;
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
