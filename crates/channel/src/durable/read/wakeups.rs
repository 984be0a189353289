//! When a put wakes consumers.
//!
//! A wake-up costs the thread that causes it time: on a virtual machine a fifteenth of a small
//! write. A consumer that keeps up is faster than the disk, and would be woken once per batch. So a
//! consumer that finds nothing first polls with a timer; puts meanwhile do not wake it, up to some
//! bytes. Only then it sleeps, and the next put wakes it: a single batch is taken at once.
//!
//! Pure state, behind the channel's lock: a consumer looks and falls asleep under the same lock.

use std::time::Duration;

/// How long an idle consumer polls before it sleeps and is woken by a put.
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
    /// A consumer has found nothing and sleeps, until [`Wakeups::rise`].
    pub(crate) fn sleep(&mut self) {
        self.asleep += 1;
    }

    /// It does not any more.
    pub(crate) fn rise(&mut self) {
        self.asleep -= 1;
    }

    /// So many bytes can be taken now; answers whether consumers are to be woken.
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
    fn a_sleeping_consumer_is_woken_by_the_next_byte_and_a_polling_one_by_many() {
        let mut wakeups = Wakeups::default();
        assert!(!wakeups.should_wake(ENOUGH_BYTES - 1));
        assert!(wakeups.should_wake(1) && !wakeups.should_wake(1), "each byte counts once");
        wakeups.sleep();
        wakeups.sleep();
        wakeups.rise();
        assert!(wakeups.should_wake(0), "what came before it slept was not announced");
        assert!(!wakeups.should_wake(0) && wakeups.should_wake(1));
        wakeups.rise();
        assert!(!wakeups.should_wake(1));
    }
}
