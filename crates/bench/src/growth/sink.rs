//! The store's sink alone, with many open paths, into local files: HDFS has its own cost per new
//! file, which would hide the cost of the sink.

use std::path::Path;

use pipeline::{Batch, Epoch, Existing, Identity, Origin, Sequence};
use serde_json::json;

use super::{Axis, Curve, Options, Point};
use crate::Setup;
use crate::error::Result;
use crate::load::{Load, SIZES};
use crate::process;
use crate::stage;

/// Numbers of open paths.
const COUNTS: [u64; 4] = [1, 10, 100, 1_000];
/// Small batches, so that each path gets many.
const LOAD: Load = SIZES[0];

pub(super) async fn measure(options: &Options, setup: &Setup) -> Result<Curve> {
    let mut points = COUNTS.map(Point::at);
    let batches = options.megabytes * 1_000_000 / LOAD.batch().size().bytes;
    for _ in 0..options.runs {
        for point in &mut points {
            let scratch = setup.cache.scratch()?;
            let seconds = write(point.x, batches, scratch.path()).await?;
            let events = batches * LOAD.events as u64;
            point.add(events, batches * LOAD.batch().size().bytes, seconds);
            point.memory.push(process::resident_mib()?);
        }
    }
    let note = format!(
        "the hdfs sink without an agent, into file://; {} batches of {}, to each path in turn, \
         from the first write until all are delivered; memory of the benchmark process after \
         the run",
        batches, LOAD.name
    );
    Ok(Curve { axis: Axis::Sink, unit: "paths", points: points.into(), note })
}

/// Returns the seconds to deliver all batches.
async fn write(paths: u64, batches: u64, directory: &Path) -> Result<f64> {
    let settings = json!({
        "url": format!("file://{}/store/%{{app}}", directory.display()),
        "buckets_max": paths,
    });
    let sized = (0..batches).map(|ticket| batch(ticket, paths));
    stage::deliver(&settings, sized, directory).await
}

fn batch(ticket: u64, paths: u64) -> Batch {
    let mut batch = LOAD.batch();
    batch.set_header("app", &format!("app-{}", ticket % paths), Existing::Replace);
    let sequence = Sequence(ticket);
    batch.envelope.identity = Some(Identity { origin: Origin([3; 16]), epoch: Epoch(1), sequence });
    batch
}
