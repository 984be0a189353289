//! When consumers are woken for what was put.
//!
//! Waking a thread is work for whoever does it, on a virtual machine as much as a fifteenth of a
//! small write. A consumer that keeps up is faster than the disk and would be woken for each batch,
//! by the one who puts it. So a consumer that finds nothing first dozes, with a timer: puts that
//! come meanwhile need not wake it, up to some bytes. Only then it sleeps, and the next put wakes
//! it: who waits for a single batch gets it at once.
//!
//! Pure bookkeeping, behind the channel's lock: whoever falls asleep has looked under the same one.

use std::time::Duration;

/// How long a consumer that has had everything looks by itself before it is woken by a put.
pub(crate) const DOZE: Duration = Duration::from_millis(1);
/// So much wakes also those who doze: a few of them fit into the tail.
const ENOUGH_BYTES: usize = 256 << 10;

/// Who sleeps, and what was put since somebody was woken.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    asleep: usize,
    bytes: usize,
}

impl Bell {
    /// A consumer has found nothing and sleeps, until [`Bell::rise`].
    pub(crate) fn sleep(&mut self) {
        self.asleep += 1;
    }

    /// It does not any more.
    pub(crate) fn rise(&mut self) {
        self.asleep -= 1;
    }

    /// So many bytes can be taken now; answers whether consumers are to be woken.
    pub(crate) fn rings(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let rings = self.bytes >= ENOUGH_BYTES || (self.asleep > 0 && self.bytes > 0);
        if rings {
            self.bytes = 0;
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_woken_by_the_next_byte_and_who_dozes_by_many() {
        let mut bell = Bell::default();
        assert!(!bell.rings(ENOUGH_BYTES - 1));
        assert!(bell.rings(1) && !bell.rings(1), "each byte counts once");
        bell.sleep();
        bell.sleep();
        bell.rise();
        assert!(bell.rings(0), "what came before it slept was not announced");
        assert!(!bell.rings(0) && bell.rings(1));
        bell.rise();
        assert!(!bell.rings(1));
    }
}
