//! The runner of a source: opens it, runs it, and repeats both with back-off when either fails.
//!
//! ```text
//!   open ──Ok──► ready ─► run ──Ok──► ended
//!    ▲ └─Err─┐             └─Err─┐
//!    └─ pause, 100 ms to 30 s ◄──┘      or as long as the source says
//! ```
//!
//! Pauses grow from failure to failure, and are short again after a run that worked. A connection
//! that breaks repeatedly therefore costs less time than it is used. A run that fails soon after
//! its first batch does not count as such: it may store that batch each time. The pause after it is
//! at most ten times as long as the run, so that data in short runs keeps arriving.
//!
//! It is opened only when all of its channels are open.

use std::sync::Arc;

use metrics::{Metrics, SourceLabel};
use pipeline::{Env, ErrorClass, Source, SourceContext, SourceError};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::{FailureLog, millis, seconds};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::failure::Failure;
use crate::health::{ComponentHealth, Health};
use crate::intake::AgentIntake;

/// First and longest pause between two runs of a source.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A run of this length shows that the source works, even without input.
const HEALTHY_RUN: Duration = Duration::from_secs(60);

/// Maximum ratio of a pause to the run before it, if that run has stored a batch.
const PAUSE_TIMES: u32 = 10;

/// Consecutive failed runs that did not work.
#[derive(Debug, Default)]
struct FailedRuns {
    failures: u32,
    /// The longest pause after the last of them.
    pause_max: Duration,
    /// The pause after the last of them.
    pause: Duration,
}

impl FailedRuns {
    /// Records a failure after this time; returns whether the run has worked: it is a
    /// [`HEALTHY_RUN`], or it has stored a batch and lasted at least as long as the previous pause.
    fn failed(&mut self, lasted: Duration, has_stored: bool) -> bool {
        let has_worked = lasted > HEALTHY_RUN || has_stored && lasted >= self.pause;
        self.failures = if has_worked { 1 } else { self.failures + 1 };
        let (base, limit) = RESTART;
        let of_run = if has_stored { lasted.saturating_mul(PAUSE_TIMES) } else { limit };
        self.pause_max = of_run.clamp(base, limit);
        has_worked
    }

    /// The pause after the last failure, by `random` (any 64 bits).
    fn pause(&self, random: u64) -> Duration {
        jittered(RESTART.0, self.pause_max, self.failures, random)
    }
}

/// Runs one source.
pub(crate) struct Runner {
    /// Its name in the configuration.
    pub(crate) name: Arc<str>,
    /// The intake for its batches.
    pub(crate) intake: Arc<AgentIntake>,
    /// Randomness for back-off.
    pub(crate) env: Env,
    /// Raised when the source can do nothing until an operator acts.
    pub(crate) failure: Failure,
    /// Shows whether the source works.
    pub(crate) component_health: ComponentHealth,
    /// Shows whether all sources work.
    pub(crate) health: Health,
    /// The metrics.
    pub(crate) metrics: Metrics,
}

impl Runner {
    /// Opens `source`, once.
    ///
    /// # Errors
    /// It cannot be opened; nothing is held.
    pub(crate) async fn open(
        &self,
        source: &mut dyn Source,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        source.open(&SourceContext::new(self.intake.clone(), stop.clone())).await
    }

    /// Runs `source` until `stop`; one that `is_open` is not opened before.
    pub(crate) async fn run(
        self,
        mut source: Box<dyn Source>,
        stop: CancellationToken,
        mut is_open: bool,
    ) {
        let (mut row, mut failure_log) = (FailedRuns::default(), FailureLog::default());
        let label = SourceLabel { source: self.name.to_string() };
        if stop.run_until_cancelled(self.intake.opened()).await.is_none() {
            self.component_health.ended();
            return;
        }
        self.intake.report_progress();
        loop {
            let (began, before) = (Instant::now(), self.intake.flow().batches);
            let error = match self.run_once(&mut *source, &stop, std::mem::take(&mut is_open)).await
            {
                Ok(()) if stop.is_cancelled() => {
                    self.component_health.ended();
                    return;
                }
                Ok(()) => {
                    info!(source = %self.name, "the source has read everything and stops");
                    self.intake.leave_progress(None);
                    self.health.source_ended(&self.component_health);
                    return;
                }
                Err(error) => error,
            };
            if error.class == ErrorClass::Fatal {
                self.failure.source_failed(&self.name, chain(&error));
                return;
            }
            // A run that fails as the one before, and has stored nothing new, is the same
            // failure_log.
            if row.failed(began.elapsed(), self.intake.flow().batches > before) {
                failure_log = FailureLog::default();
                self.component_health.worked();
            }
            let own = || row.pause(self.env.entropy.next_u64());
            row.pause = source.retry_after().unwrap_or_else(own);
            self.failed(&error, row.pause, &mut failure_log);
            if stop.run_until_cancelled(sleep(row.pause)).await.is_none() {
                self.component_health.ended();
                return;
            }
            self.metrics.source_restarts.get_or_create(&label).inc();
        }
    }

    /// Opens the source and runs it. `Ok`: it was stopped, or has nothing more to do.
    async fn run_once(
        &self,
        source: &mut dyn Source,
        stop: &CancellationToken,
        is_open: bool,
    ) -> Result<(), SourceError> {
        let cx = SourceContext::new(self.intake.clone(), stop.clone());
        if !is_open {
            match stop.run_until_cancelled(self.open(source, stop)).await {
                Some(opened) => opened?,
                None => return Ok(()),
            }
        }
        self.health.source_opened(&self.component_health);
        source.run(cx).await
    }

    fn failed(&self, error: &SourceError, pause: Duration, failure_log: &mut FailureLog) {
        let (class, error) = (error.class, chain(error));
        self.component_health.failed(&error, class, pause);
        let now = Instant::now();
        failure_log.count(now);
        if let Some((failures, lasts)) = failure_log.should_log(now, &error) {
            warn!(
                source = %self.name, error, failures, lasts_seconds = seconds(lasts),
                pause_ms = millis(pause),
                "source failed; it receives no events until it works again; retrying; fix the \
                 cause in `error`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_that_stores_as_long_as_its_pause_resets_the_row_of_failures() {
        let mut row = FailedRuns::default();
        let ms = Duration::from_millis;
        for (lasted, has_stored, failures) in [
            (ms(0), false, 1),
            (ms(90), true, 2),
            (ms(900), false, 3),
            (ms(100), true, 1),
            (ms(59_000), false, 2),
            (ms(60_001), false, 1),
        ] {
            row.failed(lasted, has_stored);
            assert_eq!(row.failures, failures, "after a run of {lasted:?}");
            row.pause = ms(100);
        }
    }

    #[test]
    fn short_runs_that_store_do_not_lengthen_the_pause_without_end() {
        let ms = Duration::from_millis;
        let mut row = FailedRuns { failures: 20, pause: ms(30_000), ..FailedRuns::default() };
        for (lasted, has_stored, pause) in [
            (ms(200), true, ms(2_000)),
            (ms(1), true, ms(100)),
            (ms(20_000), true, ms(30_000)),
            (ms(200), false, ms(30_000)),
        ] {
            row.failed(lasted, has_stored);
            assert_eq!(row.pause(u64::MAX), pause, "after a run of {lasted:?}");
        }
    }
}
