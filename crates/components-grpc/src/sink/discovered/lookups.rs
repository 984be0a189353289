//! DNS lookups of a discovered sink. [`peers::discovery::seating`] decides what to do with the
//! result.
//!
//! After a failure the next lookup follows sooner; the members found last stay in use.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Metrics, SinkState};
use peers::discovery::{Change, Counts, Found};
use peers::{LimitBoard, SeatBoard};
use pipeline::Env;
use support::backoff::{jittered, spread};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// Minimum interval of lookups.
pub(super) const EVERY_MIN: Duration = Duration::from_secs(1);

/// Time limit of a lookup: longer than the system takes to try two servers twice.
const PATIENCE: Duration = Duration::from_secs(25);

pub(super) struct Lookups {
    pub(super) sink: Arc<str>,
    pub(super) env: Env,
    pub(super) board: SeatBoard,
    pub(super) limits: LimitBoard,
    pub(super) every: Duration,
    pub(super) metrics: Metrics,
}

impl Lookups {
    /// Runs lookups. Never returns.
    pub(super) async fn run(self) {
        let (mut failures, mut waiting) = (0, 0);
        for state in ["answered", "failed"] {
            let label = SinkState { sink: self.sink.to_string(), state };
            drop(self.metrics.discovery_lookups.get_or_create(&label));
        }
        loop {
            match self.look_up().await {
                Ok(found) => {
                    if failures > 0 {
                        info!(sink = %self.sink, "looking up collectors works again");
                    }
                    failures = 0;
                    self.limits.found(&found.iter().map(|it| it.address.clone()).collect());
                    self.tell(&self.board.found(found, Instant::now()));
                }
                Err(problem) => {
                    failures += 1;
                    if failures == 1 {
                        let known = self.board.counts().present;
                        let query = &self.board.discovery().query;
                        warn!(
                            sink = %self.sink, %query, %problem, known,
                            "cannot look up collectors; retrying, and continuing with the known \
                             ones; fix the cause in `problem`, or correct `discover`",
                        );
                    }
                }
            }
            self.count(failures == 0, &mut waiting);
            let random = self.env.entropy.next_u64();
            sleep(match failures {
                // Spread the lookups of different edges.
                0 => spread(self.every, 0.1, random),
                _ => jittered(EVERY_MIN, self.every, failures, random),
            })
            .await;
        }
    }

    async fn look_up(&self) -> Result<Vec<Found>, String> {
        let discovery = self.board.discovery();
        let asked = discovery.query.look_up(&*self.env.names, discovery.server);
        match timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    fn tell(&self, changes: &[Change]) {
        let sink = &self.sink;
        for change in changes {
            match change {
                Change::Joined(address) => info!(%sink, %address, "collector found"),
                Change::Returned(address) => info!(%sink, %address, "collector found again"),
                Change::Leaving(address) => info!(
                    %sink, %address,
                    "the lookup no longer returns this collector; it gets no new batches; waiting \
                     for its pending ones",
                ),
            }
        }
    }

    fn count(&self, is_right: bool, waited: &mut usize) {
        let label = |state| SinkState { sink: self.sink.to_string(), state };
        let state = if is_right { "answered" } else { "failed" };
        self.metrics.discovery_lookups.get_or_create(&label(state)).inc();
        let Counts { present, leaving, waiting } = self.board.counts();
        for (state, count) in [("present", present), ("leaving", leaving), ("waiting", waiting)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.discovery_addresses.get_or_create(&label(state)).set(count);
        }
        if waiting > *waited {
            warn!(
                sink = %self.sink, waiting,
                "the lookup returned more collectors than `discover_max`, so `waiting` of them get \
                 no batches: raise `discover_max`",
            );
        }
        *waited = waiting;
    }
}
