//! Frees disk space: removes surplus files of released segments.
//!
//! ```text
//!   release ─► free files ─┬─► the next segment, while there are any
//!                          └─► surplus: shortened step by step, then removed
//!
//!   active puts      2 MiB ▓ pause ··· 2 MiB ▓ pause ··· 2 MiB ▓ pause …
//!   no puts          a file ▓▓▓▓▓▓▓▓ a file ▓▓▓▓▓▓▓▓ …
//! ```
//!
//! A sink that commits a large file of its store empties many segments together. If the file system
//! reports freed blocks to the disk (`discard`), every read and write of that disk may wait: 26 to
//! 33 ms for a file of 135 MiB, 1 to 2 ms for 4 MiB of it. Therefore a file is removed in parts,
//! and three quarters of the time are left to puts while there are any. The parts are not synced:
//! if the disk learns of them immediately, a sync does not help, and otherwise it commits the
//! journal, which costs more than it saves.
//!
//! `segment_pool.rs` decides how many files will be needed. If less than a tenth of the disk is
//! free, or the channel closes, all files beyond the pool are surplus. Closing removes them without
//! pauses; opening removes those that a crash has left.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pipeline::env::Space;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::durable::core::Core;

/// Bytes removed in one step while puts are active.
const STEP_BYTES: u64 = 2 << 20;
/// A pause is this many times as long as the step before it.
const PAUSE_FACTOR: u32 = 3;
/// But no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// A shorter step costs others nothing.
const BURDEN_MIN: Duration = Duration::from_millis(1);

/// Interval of checks, while more files are kept than the pool needs, whether they are still
/// needed.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// A disk is short of room if less than one in this many bytes is free.
const SHORT: u64 = 10;

/// The pause after a step that took `took`.
fn pause(took: Duration) -> Duration {
    if took < BURDEN_MIN { Duration::ZERO } else { (took * PAUSE_FACTOR).min(PAUSE_MAX) }
}

/// Removes surplus files until the channel is dropped; `emptied` signals that there may be some.
pub(crate) async fn run(core: Weak<Core>, emptied: Arc<Notify>) {
    loop {
        let Some(strong) = core.upgrade() else { return };
        let gently = {
            let state = strong.state();
            // Nothing else helps puts that wait for room.
            state.reads.throttle.is_busy(Instant::now()) && !state.space.disk_full
        };
        let took = strong.shrink(if gently { STEP_BYTES } else { u64::MAX }).await;
        let keeps_more = strong.files.has_surplus();
        drop(strong);
        match took {
            None if keeps_more => {
                // Check after a wake-up or a timeout.
                let _ = timeout(CHECK_INTERVAL, emptied.notified()).await;
            }
            None => emptied.notified().await,
            Some(took) if gently => sleep(pause(took)).await,
            Some(_) => {}
        }
    }
}

impl Core {
    /// Gives up to `bytes` back and answers how long that took; `None` if nothing is too much, or
    /// if the channel is closed, because the directory may be another one's then.
    async fn shrink(self: &Arc<Self>, bytes: u64) -> Option<Duration> {
        let (done, given) = oneshot::channel();
        let core = self.clone();
        self.background.run(&self.env, move || {
            let began = Instant::now();
            let is_open = !core.state().closed;
            let gave = is_open && core.files.release_surplus(bytes, core.is_short_of_disk());
            let took = gave.then(|| began.elapsed());
            // The caller's task may be gone with its runtime.
            let _ = done.send(took);
        });
        given.await.ok().flatten()
    }

    /// Returns `true` if other programs may need the space that this channel keeps for speed.
    fn is_short_of_disk(&self) -> bool {
        let is_nearly_full = |space: Space| space.available < space.total / SHORT;
        self.state().space.disk_full
            || self.env.disk.space(&self.directory).is_ok_and(is_nearly_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quarters_of_the_time_are_left_to_others() {
        let took = Duration::from_millis(10);
        assert_eq!(pause(took), took * 3);
        assert_eq!(pause(Duration::from_secs(2)), PAUSE_MAX);
        assert_eq!(pause(Duration::from_micros(900)), Duration::ZERO);
    }
}
