//! What all conversations of one run share: limits, memory, and what they count.

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

/// The smallest share of a stream: below it, senders would wait for each answer.
const SHARE_MIN: u64 = 1 << 20;

/// What all conversations of one run share.
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) env: Env,
    pub(super) metrics: Metrics,
    pub(super) cx: SourceContext,
    pub(super) limits: Limits,
    /// Where large messages arrive, and puts lie until the channels have copied them.
    pub(super) gathering: Arc<Gathering>,
    /// What senders may make this agent remember.
    pub(super) allowance: Arc<Allowance>,
    /// Which streams are let in.
    pub(super) admission: Admission,
    /// Which sender may speak for which origin.
    pub(super) binding: Binding,
    pub(super) incarnation: u64,
    /// What came lately, so that another content under the same identity is noticed.
    pub(super) contents: Mutex<Contents>,
    /// What senders share, and each one's part of it.
    pub(super) sharing: Arc<Sharing>,
    /// Brings each stream what became committed of what it sent.
    pub(super) subscriptions: Arc<Subscriptions>,
    /// Wakes the streams that wait for one of the next three.
    pub(super) news: Notify,
    /// Tells each stream whether what is held here can be stored.
    pub(super) outlet: outlet::Notice,
    /// Brings each stream the commit ledgers behind.
    pub(super) ledgers: ledgers::Notice,
    /// Ends each stream that has named another limit.
    pub(super) limit: NamedLimit,
    /// The senders that are connected.
    pub(super) roster: Arc<Roster>,
    /// Puts in work: they run to their end, whatever becomes of their connection.
    pub(super) work: TaskTracker,
}

/// What is taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) body_max: u64,
    pub(super) window: Window,
    pub(super) in_flight_max: u64,
    pub(super) linger: Duration,
    pub(super) zstd: bool,
}

impl Service {
    /// What the stream of `member` may have without an answer: the settings' window, or its share
    /// of what may be in work at all. A full collector with a thousand senders must not be sent a
    /// thousand windows.
    pub(super) fn window(&self, member: &Member) -> Window {
        let share = member.share().max(SHARE_MIN);
        Window { bytes: self.limits.window.bytes.min(share), ..self.limits.window }
    }

    /// Whether this is the content that its identity came with before, if it did.
    pub(super) fn admit(&self, identity: Identity, batch: &Batch) -> bool {
        let fingerprint = batch.fingerprint();
        // What is known is whole between two calls, whichever task panicked in between.
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.admit(identity, fingerprint)
    }

    pub(super) fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.name, reason, 1);
    }
}
