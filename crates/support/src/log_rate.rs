//! A limit for log lines of one kind: the first ones of each minute are written, the others are
//! counted, and the next written line has their number.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Length of a period.
const PERIOD: Duration = Duration::from_secs(60);

/// Lets the first lines of each minute through.
#[derive(Debug)]
pub struct LogRate {
    lines_max: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    began: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LogRate {
    /// At most `lines_max` lines in a minute.
    pub const fn new(lines_max: u32) -> Self {
        let state = State { began: None, written: 0, left_out: 0 };
        Self { lines_max, state: Mutex::new(state) }
    }

    /// Returns whether a line may be written now, with the number of lines omitted since the last
    /// one, if any. As a field of the line the number is shown only then.
    pub fn allow(&self, now: Instant) -> Option<Option<u64>> {
        // Each change is complete, so a panic elsewhere does no harm here.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.began.is_none_or(|began| now.duration_since(began) >= PERIOD) {
            (state.began, state.written) = (Some(now), 0);
        }
        if state.written >= self.lines_max {
            state.left_out += 1;
            return None;
        }
        state.written += 1;
        let left_out = std::mem::take(&mut state.left_out);
        Some((left_out > 0).then_some(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_minute_are_written_and_the_rest_is_counted() {
        let (rate, began) = (LogRate::new(2), Instant::now());
        let allowed = |second| rate.allow(began + Duration::from_secs(second));
        let said = [0, 1, 2, 59, 60, 61, 62, 200].map(allowed);
        let (first, not) = (Some(None), None);
        assert_eq!(said, [first, first, not, not, Some(Some(2)), first, not, Some(Some(1))]);
    }
}
