//! What a stream says besides its answers: whether what is held here can be stored, the commit
//! ledgers behind the channels, and the largest batch. All of it is looked at once a second, and
//! one wait of each stream is for all of it: there are thousands of them.

use std::time::Duration;

use peers::limits::PeerLimit;
use support::notice;
use tokio::time::{MissedTickBehavior, interval};

use super::Service;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a stream has said last.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// This version of the notice that what is held here cannot be stored.
    pub(super) outlet: u64,
    /// This version of the commit ledgers.
    pub(super) ledgers: u64,
    /// This limit of a batch, in its Welcome; `None` before that, and once it is another one.
    pub(super) limit: Option<PeerLimit>,
}

impl Service {
    /// Waits until a stream that has said so much has to say more. Cancel safe.
    pub(super) fn news<'a>(&'a self, said: &'a Said) -> impl Future<Output = ()> + 'a {
        notice::until(&self.news, || {
            let is_old = self.outlet.is_newer_than(said.outlet)
                || self.ledgers.is_newer_than(said.ledgers)
                || said.limit.is_some_and(|limit| self.limit.is_other_than(limit));
            is_old.then_some(())
        })
    }

    /// Keeps the streams informed, for ever.
    pub(super) async fn watch(&self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Each of them looks, whatever the others have found.
            if self.look_at_outlet() | self.look_at_ledgers() {
                self.news.notify_waiters();
            }
            self.look_at_limit();
        }
    }
}
