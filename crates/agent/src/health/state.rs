//! The health of one source or sink, without lock and clock.

use std::time::SystemTime;

use tokio::time::{Duration, Instant};

use crate::recent_failures::cut;

/// Maximum size of an error: a server may answer with a page.
const ERROR_MAX: usize = 4_096;

/// A sink that has been open for this time works, even if it had nothing to store.
const STEADY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The member does not exist now: its place is free.
    Absent,
    Starting,
    Open(Instant),
    Failed,
    /// It has nothing more to do, or was stopped.
    Ended,
    /// Its task has panicked and is not restarted.
    Died(Instant),
}

#[derive(Debug, Clone)]
struct Failing {
    began: Instant,
    began_at: SystemTime,
    error: String,
    next_try: Instant,
    /// It has only failed to open.
    at_opening: bool,
    /// It was opened in the meantime, and failed again before it had done any work.
    is_repeated: bool,
    /// It does not recover until an operator acts.
    needs_operator: bool,
}

/// The health of one component.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    failing: Option<Failing>,
    /// The failure before it was opened, of a source that has done no work since. If it fails
    /// again, that failure continues.
    unproven: Option<Failing>,
}

/// The state of a component for display.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum View {
    Absent,
    Starting,
    Works,
    Ended,
    Died {
        lasts: Duration,
    },
    Failing {
        since: SystemTime,
        lasts: Duration,
        error: String,
        next_try: Option<Duration>,
        needs_operator: bool,
    },
}

impl State {
    pub(super) fn new(phase: Phase) -> Self {
        Self { phase, failing: None, unproven: None }
    }

    /// Records that it is open; returns the length of its failure, if that is over now.
    pub(super) fn opened(&mut self, now: Instant, works: bool) -> Option<Duration> {
        self.phase = Phase::Open(now);
        let failing = self.failing.take()?;
        let lasted = now - failing.began;
        match (failing.at_opening, works) {
            (true, _) => Some(lasted),
            (false, true) => {
                let is_news = !failing.is_repeated;
                self.unproven = Some(failing);
                is_news.then_some(lasted)
            }
            (false, false) => {
                self.failing = Some(failing);
                None
            }
        }
    }

    /// Records that it has done its work; returns the length of its failure.
    pub(super) fn worked(&mut self, now: Instant) -> Option<Duration> {
        self.unproven = None;
        self.failing.take().map(|failing| now - failing.began)
    }

    pub(super) fn failed(
        &mut self,
        (now, at): (Instant, SystemTime),
        (error, needs_operator): (&str, bool),
        pause: Duration,
    ) {
        self.forget_old(now);
        let was_open = matches!(self.phase, Phase::Open(_));
        let is_unproven = self.unproven.is_some();
        let before = self.failing.take().or_else(|| self.unproven.take());
        let is_repeated = is_unproven || before.as_ref().is_some_and(|it| it.is_repeated);
        let (began, began_at, at_opening) = match before {
            Some(before) => (before.began, before.began_at, before.at_opening && !was_open),
            None => (now, at, !was_open),
        };
        // It is shown line by line.
        let error = cut(error, ERROR_MAX).replace(char::is_control, " ");
        let next_try = now + pause;
        self.failing = Some(Failing {
            began,
            began_at,
            error,
            next_try,
            at_opening,
            is_repeated,
            needs_operator,
        });
        self.phase = Phase::Failed;
    }

    /// Drops a failure that was followed by a long time without one.
    fn forget_old(&mut self, now: Instant) {
        if let Phase::Open(since) = self.phase
            && now - since >= STEADY
        {
            (self.failing, self.unproven) = (None, None);
        }
    }

    pub(super) fn view(&mut self, now: Instant) -> View {
        self.forget_old(now);
        match (&self.failing, self.phase) {
            (_, Phase::Absent) => View::Absent,
            (_, Phase::Ended) => View::Ended,
            (_, Phase::Died(at)) => View::Died { lasts: now - at },
            (Some(failing), phase) => View::Failing {
                since: failing.began_at,
                lasts: now - failing.began,
                error: failing.error.clone(),
                next_try: (phase == Phase::Failed)
                    .then(|| failing.next_try.saturating_duration_since(now)),
                needs_operator: failing.needs_operator,
            },
            (None, Phase::Open(_)) => View::Works,
            (None, Phase::Starting | Phase::Failed) => View::Starting,
        }
    }
}
