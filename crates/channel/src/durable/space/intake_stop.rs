//! Decides when a stop of the intake is logged: once when it stops and once when it resumes. A full
//! channel whose sinks drain it stops and resumes many times a second. These stops are logged once
//! a minute, or when one lasts for a while.
//!
//! Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two log lines about short stops.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// A stop of this length is always logged.
const LONG: Duration = Duration::from_secs(10);

/// The stop that lasts, if one does.
#[derive(Debug, Default)]
pub(crate) struct IntakeStop {
    since: Option<Instant>,
    /// True if this stop was logged.
    said: bool,
    /// Time of the last log line.
    last_said: Option<Instant>,
}

impl IntakeStop {
    /// Records that the intake is stopped `now`. Returns `true` if the caller must log it.
    pub(crate) fn stops(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let is_rare = self.last_said.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        let says = !self.said && (is_rare || now.duration_since(since) >= LONG);
        if says {
            (self.said, self.last_said) = (true, Some(now));
        }
        says
    }

    /// Records that the intake resumes `now`. Returns the length of the stop if it was logged.
    pub(crate) fn resumed(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        std::mem::take(&mut self.said).then(|| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_a_stop_and_its_end_once() {
        let (began, mut stop) = (Instant::now(), IntakeStop::default());
        let at = |second| began + Duration::from_secs(second);
        assert_eq!(stop.resumed(at(0)), None, "it was never stopped");
        assert!(stop.stops(at(1)) && !stop.stops(at(2)) && !stop.stops(at(500)));
        assert_eq!(stop.resumed(at(501)), Some(Duration::from_secs(500)));
        assert_eq!(stop.resumed(at(502)), None);
        assert!(stop.stops(at(503)), "the next one");
    }

    #[test]
    fn reports_short_stops_once_a_minute_and_long_ones_always() {
        let (began, mut stop) = (Instant::now(), IntakeStop::default());
        let at = |millis| began + Duration::from_millis(millis);
        let said = (0..60_000).step_by(10).filter(|millis| {
            let said = stop.stops(at(*millis));
            stop.resumed(at(millis + 5));
            said
        });
        assert_eq!(said.count(), 1);
        assert!(!IntakeStop::default().stops(at(0)) || !stop.stops(at(59_999)));
        assert!(!stop.stops(at(59_999)) && stop.stops(at(69_999)), "it does not go on");
        assert_eq!(stop.resumed(at(70_999)), Some(Duration::from_millis(11_000)));
    }
}
