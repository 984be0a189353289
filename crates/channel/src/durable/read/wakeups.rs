//! Decides when a put wakes consumers.
//!
//! A wake-up costs time in the thread that causes it: on a virtual machine a fifteenth of a small
//! write. A consumer that keeps up is faster than the disk and would be woken once per batch.
//! Therefore a consumer that finds no batch first polls with a timer; puts do not wake it, up to
//! some bytes. Only then does it sleep, and the next put wakes it: a single batch is taken
//! immediately.
//!
//! Pure state, behind the channel's lock: a consumer checks and falls asleep under the same lock.

use std::time::Duration;

/// How long an idle consumer polls before it sleeps until a put wakes it.
pub(crate) const IDLE_POLL: Duration = Duration::from_millis(1);
/// So many bytes also wake consumers that poll: a few times as much fits into the tail.
const ENOUGH_BYTES: usize = 256 << 10;

/// Consumers that sleep, and bytes that were put since the last wake-up.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    asleep: usize,
    bytes: usize,
}

impl Wakeups {
    /// A consumer has found nothing and sleeps, until [`Wakeups::wake`].
    pub(crate) fn sleep(&mut self) {
        self.asleep += 1;
    }

    /// Records that a consumer no longer sleeps.
    pub(crate) fn wake(&mut self) {
        self.asleep -= 1;
    }

    /// Records new bytes to take; returns whether consumers must be woken.
    pub(crate) fn should_wake(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let wakes = self.bytes >= ENOUGH_BYTES || (self.asleep > 0 && self.bytes > 0);
        if wakes {
            self.bytes = 0;
        }
        wakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_byte_wakes_a_sleeping_consumer() {
        let mut wakeups = Wakeups::default();
        assert!(!wakeups.should_wake(ENOUGH_BYTES - 1));
        assert!(wakeups.should_wake(1) && !wakeups.should_wake(1), "each byte counts once");
        wakeups.sleep();
        wakeups.sleep();
        wakeups.wake();
        assert!(wakeups.should_wake(0), "what came before it slept was not announced");
        assert!(!wakeups.should_wake(0) && wakeups.should_wake(1));
        wakeups.wake();
        assert!(!wakeups.should_wake(1));
    }
}
