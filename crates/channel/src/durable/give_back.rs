//! Gives the disk back: removes the files of released segments that the pool has no place for.
//!
//! ```text
//!   release ─► free files ─┬─► the next segment, as long as there are any
//!                          └─► more than the pool keeps: shortened step by step, then removed
//!
//!   somebody puts    4 MiB ▓ pause ··· 4 MiB ▓ pause ··· 4 MiB ▓ pause …
//!   nobody puts      a file ▓▓▓▓▓▓▓▓ a file ▓▓▓▓▓▓▓▓ …
//! ```
//!
//! A sink that commits a large file of its store empties many segments at once. Where the file
//! system tells the disk what has become free (`discard`), every read and write of that disk may wait
//! meanwhile, the longer the more there is: 26 to 33 ms for a file of 135 MiB, 1 to 2 ms for 4 MiB
//! of it. So a file is given back in parts, and three quarters of the time are left to others, as
//! long as there are any. No part is synced: where the disk is told at once that would not help, and
//! elsewhere, each a commit of the journal, cost more than it spares.
//!
//! What is not removed when the channel closes goes then, without pauses; what a crash leaves is
//! found when it is opened.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pipeline::Ticket;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use super::core::Core;

/// What is given back at once while somebody puts.
const STEP_BYTES: u64 = 4 << 20;
/// A pause is so many times as long as the step before it.
const PAUSE_FACTOR: u32 = 3;
/// But no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// A step that is shorter holds up nobody.
const BURDEN_MIN: Duration = Duration::from_millis(1);
/// When nobody has put for so long, nobody has to be spared.
const CALM: Duration = Duration::from_secs(1);

/// Says whether somebody has to be spared. Pure: it is told the time.
struct Pace {
    /// The next batch's ticket, when it was seen to change.
    next: Ticket,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { next: 0, since: now }
    }

    /// Whether somebody puts, if the next batch gets the ticket `next` now.
    fn somebody_puts(&mut self, now: Instant, next: Ticket) -> bool {
        if next != self.next {
            *self = Self { next, since: now };
        }
        now.duration_since(self.since) < CALM
    }

    /// The pause after a step that took `took`.
    fn pause(took: Duration) -> Duration {
        if took < BURDEN_MIN { Duration::ZERO } else { (took * PAUSE_FACTOR).min(PAUSE_MAX) }
    }
}

/// Gives back what is too much whenever there is some, until the channel is gone; `emptied` says when
/// to look.
pub(super) async fn run(core: Weak<Core>, emptied: Arc<Notify>) {
    let mut pace = Pace::new(Instant::now());
    loop {
        let Some(strong) = core.upgrade() else { return };
        let gently = {
            let state = strong.state();
            // Who waits for room is helped by nothing else.
            pace.somebody_puts(Instant::now(), state.book.in_flight.next()) && !state.disk_full
        };
        let took = strong.give_back(if gently { STEP_BYTES } else { u64::MAX }).await;
        drop(strong);
        match took {
            None => emptied.notified().await,
            Some(took) if gently => sleep(Pace::pause(took)).await,
            Some(_) => {}
        }
    }
}

impl Core {
    /// Gives up to `bytes` back and answers how long that took; `None` if nothing is too much, or
    /// if the channel is closed, because the directory may be another one's then.
    async fn give_back(self: &Arc<Self>, bytes: u64) -> Option<Duration> {
        let (done, given) = oneshot::channel();
        let core = self.clone();
        self.background.run(&self.env, move || {
            let began = Instant::now();
            let is_open = !core.state().closed;
            let took = (is_open && core.files.give_back(bytes)).then(|| began.elapsed());
            // Who asked may be gone with its runtime.
            let _ = done.send(took);
        });
        given.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quarters_of_the_time_are_left_to_others() {
        let took = Duration::from_millis(10);
        assert_eq!(Pace::pause(took), took * 3);
        assert_eq!(Pace::pause(Duration::from_secs(2)), PAUSE_MAX);
        assert_eq!(Pace::pause(Duration::from_micros(900)), Duration::ZERO);
    }

    #[test]
    fn nobody_is_spared_a_second_after_the_last_put_and_everybody_with_the_next() {
        let (began, moment) = (Instant::now(), Duration::from_millis(10));
        let mut pace = Pace::new(began);
        assert!(pace.somebody_puts(began, 1));
        assert!(pace.somebody_puts(began + CALM - moment, 1));
        assert!(!pace.somebody_puts(began + CALM, 1));
        assert!(pace.somebody_puts(began + CALM * 9, 2));
        assert!(pace.somebody_puts(began + CALM * 10 - moment, 2));
    }
}
