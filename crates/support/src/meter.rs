//! Measures throughput: totals, and the rate of the last ten seconds.
//!
//! Pure: time is an argument. Each second has a slot, and a slot of an earlier round counts as
//! empty, so that no work is needed while nothing passes.

use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

/// Seconds over which a rate is computed, in addition to the current one.
const WINDOW_SECONDS: u64 = 10;

/// One slot for each second of the window, and one for the current second.
const SLOTS: usize = WINDOW_SECONDS as usize + 1;

/// Events and bytes of their bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Events.
    pub events: u64,
    /// Bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Volume {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }
}

/// Totals and rates at one point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Events since the agent has started.
    pub events_total: u64,
    /// Bytes of bodies since the agent has started.
    pub bytes_total: u64,
    /// Events a second, over the last ten seconds.
    pub events_per_second: f64,
    /// Bytes of bodies a second, over the last ten seconds.
    pub bytes_per_second: f64,
    /// When the last event passed.
    pub last_seconds_ago: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Second since the beginning.
    second: u64,
    volume: Volume,
}

/// Measures the throughput at one point.
#[derive(Debug, Clone)]
pub struct Meter {
    began: Instant,
    slots: [Slot; SLOTS],
    total: Volume,
    last: Option<Instant>,
}

impl Meter {
    /// Creates an empty meter.
    pub fn new(began: Instant) -> Self {
        Self { began, slots: [Slot::default(); SLOTS], total: Volume::default(), last: None }
    }

    /// Adds a volume `now`. A volume without events is ignored.
    pub fn add(&mut self, now: Instant, volume: Volume) {
        if volume.events == 0 {
            return;
        }
        let second = self.second(now);
        let slot = &mut self.slots[(second % SLOTS as u64) as usize];
        if slot.second != second {
            *slot = Slot { second, volume: Volume::default() };
        }
        slot.volume += volume;
        self.total += volume;
        self.last = Some(now);
    }

    /// All that has passed.
    pub fn total(&self) -> Volume {
        self.total
    }

    /// As it is `now`.
    pub fn read(&self, now: Instant) -> Throughput {
        let second = self.second(now);
        let first = second.saturating_sub(WINDOW_SECONDS);
        let mut recent = Volume::default();
        let recently = self.slots.iter().filter(|slot| (first..=second).contains(&slot.second));
        recently.for_each(|slot| recent += slot.volume);
        let since = self.began + Duration::from_secs(first);
        let seconds = now.saturating_duration_since(since).as_secs_f64().max(1.0);
        Throughput {
            events_total: self.total.events,
            bytes_total: self.total.bytes,
            events_per_second: recent.events as f64 / seconds,
            bytes_per_second: recent.bytes as f64 / seconds,
            last_seconds_ago: self.last.map(|last| (now - last).as_secs_f64()),
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(began: Instant, millis: u64) -> Instant {
        began + Duration::from_millis(millis)
    }

    const ONE: Volume = Volume { events: 10, bytes: 1_000 };

    #[test]
    fn a_steady_flow_has_its_rate_and_keeps_it() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        for millis in (0..60_000).step_by(100) {
            meter.add(at(began, millis), ONE);
            if millis >= 2_000 {
                let read = meter.read(at(began, millis + 99));
                assert!((read.events_per_second - 100.0).abs() < 1.0, "{millis}: {read:?}");
                assert!((read.bytes_per_second - 10_000.0).abs() < 100.0, "{millis}: {read:?}");
            }
        }
        assert_eq!(meter.total(), Volume { events: 6_000, bytes: 600_000 });
    }

    #[test]
    fn old_events_are_only_in_the_total() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        assert_eq!(meter.read(began), Throughput::default());
        meter.add(at(began, 500), ONE);
        assert!(meter.read(at(began, 500)).events_per_second <= 10.0, "not a second has passed");
        let within = meter.read(at(began, 10_400));
        assert!((within.events_per_second - 10.0 / 10.4).abs() < 1e-9, "{within:?}");
        // The slot of the same place in a later round.
        for millis in [11_500, 22_500, 3_600_500] {
            let read = meter.read(at(began, millis));
            assert_eq!((read.events_per_second, read.events_total), (0.0, 10), "{millis}");
            assert_eq!(read.last_seconds_ago, Some((millis - 500) as f64 / 1_000.0));
        }
        meter.add(at(began, 3_600_500), ONE);
        let read = meter.read(at(began, 3_600_500));
        assert!((read.events_per_second - 10.0 / 10.5).abs() < 1e-9, "{read:?}");
    }

    #[test]
    fn batch_without_events_does_not_count_as_passed() {
        let began = Instant::now();
        let mut meter = Meter::new(began);
        meter.add(began, Volume { events: 0, bytes: 7 });
        assert_eq!(meter.read(at(began, 9)), Throughput::default());
    }
}
