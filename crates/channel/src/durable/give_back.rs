//! Gives the disk back: removes the files of released segments that the pool has no place for.
//!
//! ```text
//!   release ─► free files ─┬─► the next segment, as long as there are any
//!                          └─► more than the pool keeps: removed, one at a time
//!
//!   somebody puts    remove ▓▓ pause ······ remove ▓▓▓ pause ········· remove …
//!   nobody puts      remove ▓▓ remove ▓▓ remove …
//! ```
//!
//! A sink that commits a large file of its store empties many segments at once. Where the file
//! system tells the disk what has become free (`discard`), removing a file takes milliseconds in
//! which every read and write of that disk waits: eight of them in a row were a fifth of a second
//! without a put. So three quarters of the time are left to others, as long as there are any.
//!
//! What is not removed when the channel closes goes then, without pauses; what a crash leaves is
//! found when it is opened.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pipeline::Ticket;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use super::core::Core;

/// A pause is so many times as long as the removal before it.
const PAUSE_FACTOR: u32 = 3;
/// But no longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// A removal that is shorter holds up nobody.
const BURDEN_MIN: Duration = Duration::from_millis(1);
/// When nobody has put for so long, nobody has to be spared.
const CALM: Duration = Duration::from_secs(1);

/// Says how long the disk is left to others. Pure: it is told the time.
struct Pace {
    /// The next batch's ticket, when it was seen to change.
    next: Ticket,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { next: 0, since: now }
    }

    /// The pause after a removal that took `took`, if the next batch gets the ticket `next` now.
    fn pause(&mut self, now: Instant, next: Ticket, took: Duration) -> Duration {
        if next != self.next {
            *self = Self { next, since: now };
        }
        if took < BURDEN_MIN || now.duration_since(self.since) >= CALM {
            return Duration::ZERO;
        }
        (took * PAUSE_FACTOR).min(PAUSE_MAX)
    }
}

/// Removes what is too much whenever there is some, until the channel is gone; `emptied` says when
/// to look.
pub(super) async fn run(core: Weak<Core>, emptied: Arc<Notify>) {
    let mut pace = Pace::new(Instant::now());
    loop {
        let Some(strong) = core.upgrade() else { return };
        let pause = strong.remove_one().await.map(|took| {
            let state = strong.state();
            let pause = pace.pause(Instant::now(), state.book.in_flight.next(), took);
            // Who waits for room is helped by nothing else.
            if state.disk_full { Duration::ZERO } else { pause }
        });
        drop(strong);
        match pause {
            None => emptied.notified().await,
            Some(Duration::ZERO) => {}
            Some(pause) => sleep(pause).await,
        }
    }
}

impl Core {
    /// Removes a file that is too much and answers how long that took; `None` if there is none, or
    /// if the channel is closed, because the directory may be another one's then.
    async fn remove_one(self: &Arc<Self>) -> Option<Duration> {
        let (done, removed) = oneshot::channel();
        let core = self.clone();
        self.background.run(&self.env, move || {
            let began = Instant::now();
            let is_open = !core.state().closed;
            let took = (is_open && core.files.remove_surplus()).then(|| began.elapsed());
            // Who asked may be gone with its runtime.
            let _ = done.send(took);
        });
        removed.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(10);

    #[test]
    fn three_quarters_of_the_time_are_left_to_those_who_put() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        for n in 1..=500 {
            let now = began + TOOK * 4 * n;
            // A put every 800 ms.
            let next = 7 + Ticket::from(n / 20);
            assert_eq!(pace.pause(now, next, TOOK), TOOK * 3, "after removal {n}");
        }
        let now = began + Duration::from_secs(20);
        assert_eq!(pace.pause(now, 99, Duration::from_secs(2)), PAUSE_MAX);
        assert_eq!(pace.pause(now, 99, Duration::from_micros(900)), Duration::ZERO);
    }

    #[test]
    fn nobody_is_spared_a_second_after_the_last_put_and_everybody_with_the_next() {
        let began = Instant::now();
        let mut pace = Pace::new(began);
        assert_eq!(pace.pause(began, 1, TOOK), TOOK * 3);
        assert_eq!(pace.pause(began + CALM - TOOK, 1, TOOK), TOOK * 3);
        assert_eq!(pace.pause(began + CALM, 1, TOOK), Duration::ZERO);
        assert_eq!(pace.pause(began + CALM * 9, 2, TOOK), TOOK * 3);
    }
}
