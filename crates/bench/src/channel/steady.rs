//! Puts with a consumer that keeps up: some producers, each one put after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pipeline::Channel;
use tokio::task::JoinSet;

use super::{failed, put, take};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::load::Load;
use crate::raw::Moved;

/// How many producers at once.
pub(super) const PRODUCERS: [usize; 2] = [1, 8];
/// Until the channel's segments have been written once and go round, as in its daily life.
const WARM_UP: Duration = Duration::from_secs(1);
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Durable bytes and their time.
    pub(super) moved: Moved,
    /// Median time of a put, begin to durable.
    pub(super) p50_ms: f64,
    /// 99th percentile of the same.
    pub(super) p99_ms: f64,
}

/// Puts for `limit`, then waits until the consumer has had all of it.
pub(super) async fn measure(
    load: Load,
    producers: usize,
    limit: Duration,
    cache: &Cache,
) -> Result<Outcome> {
    let scratch = cache.scratch()?;
    let channel = super::open(&scratch.path().join("channel")).await?;
    let total = Arc::new(AtomicU64::new(u64::MAX));
    let consumer = tokio::spawn(follow(channel.clone(), total.clone()));
    let warm = produce(&channel, load, producers, WARM_UP).await?;
    let started = Instant::now();
    let measured = produce(&channel, load, producers, limit).await?;
    let seconds = started.elapsed().as_secs_f64();
    // The consumer may wait for a batch: it learns the total before the last one comes.
    let put_bytes = warm.bytes + measured.bytes + load.batch().size().bytes;
    total.store(put_bytes, Ordering::Release);
    put(&*channel, load).await?;
    let drained = tokio::time::timeout(DRAIN_LIMIT, consumer).await.map_err(|_| {
        let what = "the consumer to take what was put".to_owned();
        Error::Timeout { what, seconds: DRAIN_LIMIT.as_secs() }
    })?;
    let taken = drained.expect("the consumer does not panic")?;
    if taken != put_bytes {
        let detail = format!("{taken} of {put_bytes} bytes were taken");
        return Err(Error::Content { path_name: "durable channel".to_owned(), detail });
    }
    channel.close().await.map_err(|error| failed(&error))?;
    let mut latencies_ms = measured.latencies_ms;
    latencies_ms.sort_by(f64::total_cmp);
    Ok(Outcome {
        moved: Moved { bytes: measured.bytes, seconds },
        p50_ms: percentile(&latencies_ms, 0.50),
        p99_ms: percentile(&latencies_ms, 0.99),
    })
}

#[derive(Debug, Default)]
struct Produced {
    bytes: u64,
    latencies_ms: Vec<f64>,
}

async fn produce(
    channel: &Arc<dyn Channel>,
    load: Load,
    producers: usize,
    limit: Duration,
) -> Result<Produced> {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..producers {
        let channel = channel.clone();
        tasks.spawn(async move {
            let mut produced = Produced::default();
            while started.elapsed() < limit {
                let began = Instant::now();
                produced.bytes += put(&*channel, load).await?;
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

/// Takes until `total` bytes have come; it is known only at the end.
async fn follow(channel: Arc<dyn Channel>, total: Arc<AtomicU64>) -> Result<u64> {
    take(&*channel, |bytes, _| bytes >= total.load(Ordering::Acquire)).await
}

/// The value below which `share` of the sorted values lie.
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
