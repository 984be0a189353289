//! Puts with consumers that keep up: several producers, each with one put after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pipeline::{Batch, Channel, Epoch, Identity, Origin, Sequence};
use tokio::task::JoinSet;

use super::device::Device;
use super::{Shape, failed, put, put_batches, take};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::load::Load;
use crate::raw::Moved;

/// Numbers of parallel producers.
pub(super) const PRODUCERS: [usize; 2] = [1, 8];
/// Empty batches per transaction that introduces origins.
const INTRODUCED: u64 = 1000;
/// Time until all segments have been written once and are recycled, as in normal operation.
const WARM_UP: Duration = Duration::from_secs(1);
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// A steady load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// The batches.
    pub(super) load: Load,
    /// Number of tasks that put one batch after the other.
    pub(super) producers: usize,
    /// Number of foreign origins that the batches cycle through; 0 for local batches.
    pub(super) origins: u64,
    /// Configuration of the channel.
    pub(super) shape: Shape,
}

impl Case {
    /// Local batches, in a channel with default settings.
    pub(super) fn plain(load: Load, producers: usize) -> Self {
        Self { load, producers, origins: 0, shape: Shape::default() }
    }
}

/// Result of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Durable bytes and their time.
    pub(super) moved: Moved,
    /// Median time of a put, from begin to durable.
    pub(super) p50_ms: f64,
    /// 99th percentile of the same.
    pub(super) p99_ms: f64,
    /// Bytes written to the device per byte put.
    pub(super) amplification: f64,
}

/// Puts for `limit`, then waits until the consumers have taken everything.
pub(super) async fn measure(case: Case, limit: Duration, cache: &Cache) -> Result<Outcome> {
    let Case { load, shape, .. } = case;
    let scratch = cache.scratch()?;
    let device = Device::for_folder(scratch.path())?;
    let channel = super::open(&scratch.path().join("channel"), shape).await?;
    let total = Arc::new(AtomicU64::new(u64::MAX));
    let follow = |consumer| tokio::spawn(follow(channel.clone(), consumer, total.clone()));
    let consumers: Vec<_> = (0..shape.consumers).map(follow).collect();
    introduce(&channel, case.origins).await?;
    let number = Arc::new(AtomicU64::new(case.origins));
    let warm = produce(&channel, case, &number, WARM_UP).await?;
    let (started, before) = (Instant::now(), device.written()?);
    let measured = produce(&channel, case, &number, limit).await?;
    let (seconds, after) = (started.elapsed().as_secs_f64(), device.written()?);
    // Set the total before the last batch, which may be the one that wakes a consumer.
    let put_bytes = warm.bytes + measured.bytes + load.batch().size().bytes;
    total.store(put_bytes, Ordering::Release);
    put(&*channel, load).await?;
    for consumer in consumers {
        let drained = tokio::time::timeout(DRAIN_LIMIT, consumer).await.map_err(|_| {
            let what = "a consumer to take what was put".to_owned();
            Error::Timeout { what, seconds: DRAIN_LIMIT.as_secs() }
        })?;
        let taken = drained.expect("a consumer does not panic")?;
        if taken != put_bytes {
            let detail = format!("{taken} of {put_bytes} bytes were taken");
            return Err(Error::Content { path_name: "durable channel".to_owned(), detail });
        }
    }
    channel.close().await.map_err(|error| failed(&error))?;
    let mut latencies_ms = measured.latencies_ms;
    latencies_ms.sort_by(f64::total_cmp);
    Ok(Outcome {
        moved: Moved { bytes: measured.bytes, seconds },
        p50_ms: percentile(&latencies_ms, 0.50),
        p99_ms: percentile(&latencies_ms, 0.99),
        amplification: (after - before) as f64 / measured.bytes as f64,
    })
}

#[derive(Debug, Default)]
struct Produced {
    bytes: u64,
    latencies_ms: Vec<f64>,
}

/// Introduces `origins` to the channel, with an empty batch of each.
async fn introduce(channel: &Arc<dyn Channel>, origins: u64) -> Result<()> {
    for first in (0..origins).step_by(INTRODUCED as usize) {
        let numbers = first..origins.min(first + INTRODUCED);
        put_batches(&**channel, numbers.map(|n| from_origin(Batch::default(), n, origins))).await?;
    }
    Ok(())
}

/// Makes `batch` the `number`th batch of all origins in turn.
pub(super) fn from_origin(mut batch: Batch, number: u64, origins: u64) -> Batch {
    batch.envelope.identity = (origins > 0).then(|| Identity {
        origin: Origin(u128::from(number % origins + 1).to_be_bytes()),
        epoch: Epoch(1),
        sequence: Sequence(number / origins),
    });
    batch
}

async fn produce(
    channel: &Arc<dyn Channel>,
    case: Case,
    number: &Arc<AtomicU64>,
    limit: Duration,
) -> Result<Produced> {
    let Case { load, origins, .. } = case;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..case.producers {
        let (channel, number) = (channel.clone(), number.clone());
        tasks.spawn(async move {
            let mut produced = Produced::default();
            while started.elapsed() < limit {
                let began = Instant::now();
                let number = number.fetch_add(1, Ordering::Relaxed);
                let batch = from_origin(load.batch(), number, origins);
                produced.bytes += put_batches(&*channel, [batch]).await?;
                produced.latencies_ms.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, Error>(produced)
        });
    }
    let mut all = Produced::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.expect("a producer does not panic")?;
        all.bytes += one.bytes;
        all.latencies_ms.extend(one.latencies_ms);
    }
    Ok(all)
}

/// Takes until `total` bytes have arrived, which is set only at the end.
async fn follow(channel: Arc<dyn Channel>, consumer: usize, total: Arc<AtomicU64>) -> Result<u64> {
    take(&*channel, consumer, |bytes, _| bytes >= total.load(Ordering::Acquire)).await
}

/// Returns the value below which `share` of the sorted values are.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_hundred_values_are_the_values_at_those_ranks() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 0.99), 99.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
