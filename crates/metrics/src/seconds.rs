//! A histogram of durations that can be read in the program, unlike the histograms of
//! `prometheus-client`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of the buckets except the last one: 1 ms to 70 min, from an answer on a local
/// network to an outage of a store.
const BUCKETS: u16 = 12;

/// A distribution of durations.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// All times together, in seconds.
    pub sum: f64,
    /// Upper end of each bucket in seconds, the last one `f64::MAX`, with the times that ended in
    /// it.
    pub buckets: Vec<(f64, u64)>,
}

impl Distribution {
    /// Returns the number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, times)| times).sum()
    }

    /// The time in seconds that a part of all (0 to 1) stayed below, as Prometheus works it out:
    /// evenly spread within a bucket. Of the last bucket its lower end; `None` without any times.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = self.count() as f64 * part;
        let (mut below, mut lower) = (0.0, 0.0);
        for (upper, times) in self.buckets.iter().filter(|(_, times)| *times > 0) {
            let times = *times as f64;
            lower = self.lower_end(*upper);
            if below + times >= wanted {
                let is_last = *upper == f64::MAX;
                let width = if is_last { 0.0 } else { upper - lower };
                return Some(lower + width * (wanted - below) / times);
            }
            below += times;
        }
        (below > 0.0).then_some(lower)
    }

    fn lower_end(&self, upper: f64) -> f64 {
        let before = self.buckets.iter().rev().find(|(end, _)| *end < upper);
        before.map_or(0.0, |(end, _)| *end)
    }
}

/// A distribution of durations, in seconds.
#[derive(Debug, Clone)]
pub struct Seconds(Arc<Mutex<Distribution>>);

impl Default for Seconds {
    fn default() -> Self {
        let ends = exponential_buckets(0.001, 4.0, BUCKETS).chain([f64::MAX]);
        let buckets = ends.map(|end| (end, 0)).collect();
        Self(Arc::new(Mutex::new(Distribution { sum: 0.0, buckets })))
    }
}

impl Seconds {
    fn distribution(&self) -> MutexGuard<'_, Distribution> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one observation.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut distribution = self.distribution();
        distribution.sum += seconds;
        if let Some((_, times)) = distribution.buckets.iter_mut().find(|(end, _)| *end >= seconds) {
            *times += 1;
        }
    }

    /// All that was observed.
    pub fn read(&self) -> Distribution {
        self.distribution().clone()
    }
}

impl TypedMetric for Seconds {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Seconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let read = self.read();
        encoder.encode_histogram::<NoLabelSet>(read.sum, read.count(), &read.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use crate::{Metrics, SinkLabel};

    use super::*;

    #[test]
    fn quantiles_are_those_of_the_buckets() {
        let seconds = Seconds::default();
        assert_eq!(seconds.read().quantile(0.5), None);
        for millis in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] {
            seconds.observe(Duration::from_millis(millis));
        }
        // 1 | 2, 3, 4 | 5 to 10, in buckets up to 1, 4 and 16 ms.
        let read = seconds.read();
        let near = |part: f64, expected: f64| {
            let found = read.quantile(part).unwrap();
            assert!((found - expected).abs() < 1e-9, "{part}: {found}");
        };
        near(0.1, 0.001);
        near(0.25, 0.001 + 0.003 * 1.5 / 3.0);
        near(0.99, 0.004 + 0.012 * 5.9 / 6.0);
        seconds.observe(Duration::from_secs(1_000_000));
        let end = seconds.read().quantile(1.0).unwrap();
        assert!((end - 0.001 * 4f64.powi(11)).abs() < 1e-6, "of the last bucket the lower end");
    }

    #[test]
    fn renders_seconds_as_a_histogram() {
        let metrics = Metrics::default();
        let label = SinkLabel { sink: "s".into() };
        let stored = metrics.sink_stored_after.get_or_create(&label).clone();
        stored.observe(Duration::from_millis(2));
        stored.observe(Duration::from_secs(1_000_000));
        let text = metrics.text();
        for line in [
            "_bucket{le=\"0.001\",sink=\"s\"} 0",
            "_bucket{le=\"0.004\",sink=\"s\"} 1",
            "_bucket{le=\"+Inf\",sink=\"s\"} 2",
            "_count{sink=\"s\"} 2",
            "_sum{sink=\"s\"} 1000000.002",
        ] {
            let line = format!("\naqueduct_sink_stored_seconds{line}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
    }
}
