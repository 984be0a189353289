//! Schedule of surveys. Pure: the caller passes the time.

use std::time::Duration;

use tokio::time::Instant;

/// Divisor of the time that surveys may take, for any number of files.
const SHARE: u32 = 20;

/// Pauses between two surveys.
pub(super) struct Pauses {
    /// After a survey that found something to read.
    pub(super) busy: Duration,
    /// The maximum.
    pub(super) longest: Duration,
    /// True if the system reports every change.
    pub(super) told: bool,
}

/// When surveys are due.
#[derive(Debug)]
pub(super) struct Schedule {
    next: Instant,
    /// Earliest time of a survey because of a notification.
    earliest: Instant,
    pause: Duration,
    /// The minimum pause.
    poll_min: Duration,
}

impl Schedule {
    /// Creates a schedule whose first survey is due immediately.
    pub(super) fn new(now: Instant, poll_min: Duration) -> Self {
        Self { next: now, earliest: now, pause: poll_min, poll_min }
    }

    /// Returns when the next survey is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Makes the next survey due immediately, because something moved.
    pub(super) fn soon(&mut self, now: Instant) {
        self.next = now;
    }

    /// Makes the next survey due as early as the cost limit allows, because a change was notified.
    pub(super) fn when_allowed(&mut self, now: Instant) {
        self.next = self.next.min(self.earliest.max(now));
    }

    /// Schedules the survey after one that took `cost`; the pause doubles while there is nothing to
    /// read.
    pub(super) fn after(&mut self, now: Instant, cost: Duration, busy: bool, pauses: &Pauses) {
        let pause = if busy { pauses.busy } else { self.pause * 2 };
        let least = self.poll_min.max(cost * SHARE);
        self.pause = pause.min(pauses.longest).max(least);
        self.next = now + self.pause;
        self.earliest = now + least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pauses_grow_when_idle_and_a_notification_shortens_them() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, millis(20));
        assert_eq!(schedule.next(), now);
        let pauses = Pauses { busy: millis(20), longest: millis(250), told: false };
        for pause in [40, 80, 160, 250, 250] {
            schedule.after(now, Duration::ZERO, false, &pauses);
            assert_eq!(schedule.next() - now, millis(pause));
        }
        schedule.when_allowed(now);
        assert_eq!(schedule.next() - now, millis(20));
        schedule.after(now, millis(30), true, &pauses);
        assert_eq!(schedule.next() - now, millis(600), "a twentieth of the time at most");
        schedule.when_allowed(now);
        assert_eq!(schedule.next() - now, millis(600));
        schedule.soon(now);
        assert_eq!(schedule.next(), now);
    }
}
