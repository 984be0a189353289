//! State that all conversations of one run share: limits, memory, and counters.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use delivery::receiver::Contents;
use delivery::sender::Window;
use kit::tenants::{Member, Sharing};
use metrics::Metrics;
use pipeline::{Batch, Env, Identity, SourceContext};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use wire::exchange::Gathering;

use super::admission::Admission;
use super::allowance::Allowance;
use super::binding::Binding;
use super::named_limit::NamedLimit;
use super::roster::Roster;
use super::subscriptions::Subscriptions;
use super::{ledgers, outlet};

/// Minimum share of a stream: with less, senders would wait for each reply.
const SHARE_MIN: u64 = 1 << 20;

/// State that all conversations of one run share.
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) env: Env,
    pub(super) metrics: Metrics,
    pub(super) cx: SourceContext,
    pub(super) limits: Limits,
    /// Memory for large messages that arrive, and for puts until the channels have copied them.
    pub(super) gathering: Arc<Gathering>,
    /// Memory limit for senders' state.
    pub(super) allowance: Arc<Allowance>,
    /// Decides which streams are admitted.
    pub(super) admission: Admission,
    /// Decides which sender may send which origin.
    pub(super) binding: Binding,
    pub(super) incarnation: u64,
    /// Hashes of recent batches, to detect different content under the same identity.
    pub(super) contents: Mutex<Contents>,
    /// Resources that tenants share, and each one's part.
    pub(super) sharing: Arc<Sharing>,
    /// Delivers commits of its batches to each stream.
    pub(super) subscriptions: Arc<Subscriptions>,
    /// Wakes the streams that wait for one of the next three.
    pub(super) news: Notify,
    /// Notice whether this agent can store events.
    pub(super) outlet: outlet::Notice,
    /// Notice of the downstream ledgers.
    pub(super) ledgers: ledgers::Notice,
    /// Ends streams that announced an outdated limit.
    pub(super) limit: NamedLimit,
    /// Connected senders.
    pub(super) roster: Arc<Roster>,
    /// Puts in work: they run to their end even if their connection breaks.
    pub(super) work: TaskTracker,
}

/// Configured limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) body_max: u64,
    pub(super) window: Window,
    pub(super) in_flight_max: u64,
    pub(super) linger: Duration,
    pub(super) zstd: bool,
}

impl Service {
    /// Returns the window of a stream of `member`: the configured one, or the tenant's share of the
    /// bytes in work. A full collector must not receive a thousand full windows from a thousand
    /// senders.
    pub(super) fn window(&self, member: &Member) -> Window {
        let share = member.share().max(SHARE_MIN);
        Window { bytes: self.limits.window.bytes.min(share), ..self.limits.window }
    }

    /// Returns false if the identity is known with different content.
    pub(super) fn admit(&self, identity: Identity, batch: &Batch) -> bool {
        let fingerprint = batch.fingerprint();
        // The value is consistent between calls, even if another task panicked.
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.admit(identity, fingerprint)
    }

    pub(super) fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.name, reason, 1);
    }
}
