//! Notices that a stream sends in addition to replies: whether this agent can store events, the
//! downstream ledgers, and a changed batch limit. One task checks all of them once per second, and
//! each stream waits for all of them with one future: there are thousands of streams.

use std::time::Duration;

use peers::limits::PeerLimit;
use support::notice;
use tokio::time::{MissedTickBehavior, interval};

use super::Service;

/// Interval of the checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Notices that a stream has sent.
#[derive(Debug, Default)]
pub(super) struct SentNotices {
    /// Version of the notice whether this agent can store events.
    pub(super) outlet: u64,
    /// Version of the ledgers.
    pub(super) ledgers: u64,
    /// Batch limit of its Welcome; `None` before that, and after the limit changed.
    pub(super) limit: Option<PeerLimit>,
}

impl Service {
    /// Waits until a stream that has sent these notices must send more. Cancel safe.
    pub(super) fn news<'a>(&'a self, sent: &'a SentNotices) -> impl Future<Output = ()> + 'a {
        notice::until(&self.news, || {
            let is_old = self.outlet.is_newer_than(sent.outlet)
                || self.ledgers.is_newer_than(sent.ledgers)
                || sent.limit.is_some_and(|limit| self.limit.is_other_than(limit));
            is_old.then_some(())
        })
    }

    /// Checks for changes and notifies the streams. Never returns.
    pub(super) async fn watch(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Run both checks, whatever the first one finds.
            if self.look_at_outlet() | self.look_at_ledgers() {
                self.news.notify_waiters();
            }
            self.look_at_limit();
        }
    }
}
