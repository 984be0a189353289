//! `throttle`: passes a number of events per second, and drops the rest.
//!
//! The result depends on the time, so use it in the first agent: an event that passes is stored
//! there and never examined again. A burst passes immediately up to its limit; the rate then
//! refills it, event by event.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt};
use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// Settings of the `throttle` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rate in events per second, at most 10,000,000.
    events_per_second: u64,
    /// Burst: events that pass immediately after a pause. Default: the events of one second.
    #[serde(default)]
    burst: Option<u64>,
    /// Header whose values have separate rates. Default: one rate for all events.
    #[serde(default)]
    by: Option<String>,
    /// Limit of values with separate rates at a time. Further values share one rate.
    #[serde(default = "pipeline::units::number::<10000>")]
    keys_max: usize,
}

/// Key of all values without their own rate.
const OTHERS: u64 = 0;

impl Component for Config {
    const KIND: &'static str = "throttle";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("dropped_events", "Events above the rate.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        // The interval between events is in whole nanoseconds: up to this rate the error is at most
        // 1 %.
        if !(1..=10_000_000).contains(&self.events_per_second) {
            let problem = "must be from 1 to 10000000";
            return Err(BuildError::invalid("events_per_second", problem));
        }
        let burst = self.burst.unwrap_or(self.events_per_second);
        if !(1..=1_000_000_000).contains(&burst) {
            return Err(BuildError::invalid("burst", "must be from 1 to 1000000000"));
        }
        if let Some(by) = &self.by {
            super::check_name("by", by)?;
        }
        let step = Duration::from_nanos(1_000_000_000 / self.events_per_second);
        Ok(Box::new(Throttle {
            pace: Pace {
                step,
                ahead: step.saturating_mul(u32::try_from(burst - 1).unwrap_or(u32::MAX)),
            },
            fronts: Mutex::new(HashMap::new()),
            dropped: cx.scope::<Self>().counter("dropped_events")?,
            config: self,
        }))
    }
}

struct Throttle {
    config: Config,
    pace: Pace,
    /// For each value: the time up to which the rate is used up.
    fronts: Mutex<HashMap<u64, Instant>>,
    dropped: Counter,
}

/// A rate and its burst.
struct Pace {
    /// Interval between events.
    step: Duration,
    /// Maximum time by which the rate may be used up in advance.
    ahead: Duration,
}

impl Pace {
    /// Returns the new front if one more event may pass.
    fn pass(&self, front: Instant, now: Instant) -> Option<Instant> {
        let front = front.max(now);
        (front - now <= self.ahead).then(|| front + self.step)
    }
}

impl Interceptor for Throttle {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let now = Instant::now();
        let mut fronts = self.fronts.lock().unwrap_or_else(PoisonError::into_inner);
        if fronts.len() >= self.config.keys_max {
            // A fully recovered rate equals a new one.
            fronts.retain(|_, front| *front > now);
        }
        let before = batch.len();
        batch.retain(|event| {
            let value = self.config.by.as_ref().and_then(|name| event.header(name));
            let key = value.map_or(OTHERS, |value| xxh3_64(value.as_bytes()));
            let has_own = fronts.contains_key(&key) || fronts.len() < self.config.keys_max;
            let front = fronts.entry(if has_own { key } else { OTHERS }).or_insert(now);
            match self.pace.pass(*front, now) {
                Some(new) => *front = new,
                None => return false,
            }
            true
        });
        self.dropped.inc_by((before - batch.len()) as u64);
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some(format!("at a rate of {:?}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use serde_json::json;

    use super::super::testing::{bodies, built, refused};
    use super::*;

    fn passed(throttle: &dyn Interceptor, keys: &[&str]) -> usize {
        let mut batch = Batch::of(keys);
        batch.set_column("key", keys.iter().map(|key| (!key.is_empty()).then_some(*key)));
        throttle.intercept(&mut batch, &mut Rejects::default());
        bodies(&batch).len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate() {
        let settings = json!({ "events_per_second": 10, "burst": 5 });
        let throttle = built::<Config>(&settings).unwrap();
        assert_eq!(passed(&*throttle, &["x"; 20]), 5);
        assert_eq!(passed(&*throttle, &["x"; 20]), 0);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(passed(&*throttle, &["x"; 20]), 3, "ten a second");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(passed(&*throttle, &["x"; 20]), 5, "a pause saves up no more than a burst");
        let mut sum = 0;
        for _ in 0..100 {
            tokio::time::advance(Duration::from_millis(100)).await;
            sum += passed(&*throttle, &["x"; 3]);
        }
        assert_eq!(sum, 100, "in the long run it is the rate");
    }

    #[tokio::test(start_paused = true)]
    async fn each_value_has_its_own_rate_up_to_a_limit() {
        let settings = json!({ "events_per_second": 1, "by": "key", "keys_max": 3 });
        let throttle = built::<Config>(&settings).unwrap();
        assert_eq!(passed(&*throttle, &["a", "a", "b", "c"]), 3);
        assert_eq!(passed(&*throttle, &["d", "e", "f"]), 1, "what is over the limit shares one");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(passed(&*throttle, &["d", "e", "f"]), 3, "rates that are full again make room");
        assert_eq!(passed(&*throttle, &["", ""]), 1, "and so does what has no value");
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let refused = refused::<Config>;
        for rate in [0, 10_000_001] {
            assert_eq!(refused(&json!({ "events_per_second": rate })), "events_per_second");
        }
        assert_eq!(refused(&json!({ "events_per_second": 1, "burst": 0 })), "burst");
        assert_eq!(refused(&json!({ "events_per_second": 1, "by": "" })), "by");
    }
}
