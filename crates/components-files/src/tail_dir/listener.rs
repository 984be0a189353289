//! Coalesces change notifications of busy files: one read takes all changes of a pause.
//!
//! On average a line waits half a pause, at worst a whole one. Each pause costs a batch: a read, a
//! put at each tier, a request, half a millisecond of the edge's processor. If more than a full
//! batch arrives in a pause, a shorter pause adds few batches: the pause is then the time in which
//! one batch arrives, within bounds.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{Change, Watch};
use tokio::time::Instant;

use super::config::Options;

/// Minimum pause, unless the setting is lower.
const LEAST: Duration = Duration::from_millis(5);

/// Minimum time over which the data rate is measured.
const WINDOW: Duration = Duration::from_millis(100);

/// Waits for changes of files, and limits how often they are reported.
pub(super) struct ChangeListener {
    watch: Option<Arc<dyn Watch>>,
    /// Maximum pause: changes within it are read together.
    longest: Duration,
    batch_bytes: usize,
    pause: Duration,
    not_before: Instant,
    /// Start of the current measurement, and the bytes read since.
    since: Instant,
    read_bytes: u64,
}

impl ChangeListener {
    pub(super) fn new(watch: Option<Arc<dyn Watch>>, options: &Options) -> Self {
        let now = Instant::now();
        Self {
            watch,
            longest: options.poll_min,
            batch_bytes: options.limits.batch_bytes,
            pause: options.poll_min,
            not_before: now,
            since: now,
            read_bytes: 0,
        }
    }

    /// Waits for changes and returns all since the last call. Cancel safe.
    pub(super) async fn changed(&mut self) -> BTreeSet<Change> {
        let Some(watch) = &self.watch else { return pending().await };
        tokio::time::sleep_until(self.not_before).await;
        let changes = watch.changed().await;
        let now = Instant::now();
        let over = now.duration_since(self.since);
        if over >= WINDOW {
            self.pause = pause(self.batch_bytes, self.read_bytes, over).min(self.longest);
            (self.since, self.read_bytes) = (now, 0);
        }
        self.not_before = now + self.pause;
        changes
    }

    /// Records a read of `read_bytes` bytes.
    pub(super) fn note(&mut self, read_bytes: u64) {
        self.read_bytes += read_bytes;
    }
}

/// Returns the time in which a batch fills at the rate of the last `over`.
fn pause(batch_bytes: usize, read_bytes: u64, over: Duration) -> Duration {
    let seconds = over.as_secs_f64() * batch_bytes as f64 / read_bytes.max(1) as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_comes_the_sooner_it_is_heard_as_often_as_a_batch_is_full() {
        let (millis, batch) = (Duration::from_millis, 1 << 20);
        let second = Duration::from_secs(1);
        assert_eq!(pause(batch, 0, Duration::MAX), Duration::MAX, "nothing came for long");
        assert_eq!(pause(batch, 1 << 20, second), second);
        assert_eq!(pause(batch, 100 << 20, second), millis(10));
        assert_eq!(pause(batch, 10 << 20, millis(100)), millis(10));
        assert_eq!(pause(batch, 2 << 30, second), LEAST);
    }
}
