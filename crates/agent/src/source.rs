//! The runner of a source: runs it, and starts it again with back-off when it gives up.

use std::sync::Arc;

use pipeline::backoff::jittered;
use pipeline::{Class, Env, Source, SourceContext};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::chain;
use crate::intake::AgentIntake;
use crate::stop::Failure;

/// First and longest pause between two runs of a source.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// A run this long shows that the source works; the next pause is short again.
const HEALTHY_RUN: Duration = Duration::from_secs(60);

/// Runs one source.
pub(crate) struct Runner {
    /// Its name in the configuration.
    pub(crate) name: Arc<str>,
    /// Where its batches go.
    pub(crate) intake: Arc<AgentIntake>,
    /// Randomness for back-off.
    pub(crate) env: Env,
    /// Told when the source can do nothing until somebody acts.
    pub(crate) failure: Failure,
}

impl Runner {
    /// Runs `source` until `stop`.
    pub(crate) async fn run(self, mut source: Box<dyn Source>, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let cx = SourceContext { intake: self.intake.clone(), stop: stop.clone() };
            let error = match source.run(cx).await {
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => {
                    info!(source = %self.name, "source has nothing more to read");
                    return;
                }
                Err(error) => error,
            };
            if error.class == Class::Fatal {
                self.failure.of_source(&self.name, chain(&error));
                return;
            }
            failures = if began.elapsed() > HEALTHY_RUN { 1 } else { failures + 1 };
            let (base, limit) = RESTART;
            let pause = jittered(base, limit, failures, self.env.entropy.next_u64());
            warn!(source = %self.name, ?pause, error = %chain(&error), "source failed, starts again");
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }
}
