//! Members whose downstream agent cannot store its batches: the group uses others, and the sources
//! of the channel report the outage to their senders.
//!
//! ```text
//!   next agent ──"cannot store"──► sink ──NextHop──► group ──► the processor prefers others
//!                                    ▲                 │
//!                                    └─ others able? ──┘  then the sink returns parked batches
//! ```
//!
//! A group works while some member is open and its downstream agent is able; otherwise the
//! channel's board has the start of the outage. Opening a member does not prove that its store
//! accepts the next batch. The outage ends when
//!
//! - something is stored,
//! - the downstream agent of an open member reports that it stores again, or
//! - a member is open and able, and for [`IDLE_AFTER`] there has been no batch to prove it with.

use std::sync::Arc;

use metrics::SinkLabel;
use peers::NextHop;
use pipeline::Failure;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::member::Event;
use super::{Group, Member};

/// How long a group has no batch before an open and able member counts as working. A rolled back
/// batch is taken again within less time.
pub(super) const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Reports each change of the next agent's state, until `end`.
pub(super) async fn watch(
    hop: NextHop,
    index: usize,
    events: mpsc::UnboundedSender<Event>,
    end: CancellationToken,
) {
    let changes = async {
        // The group's initial assumption.
        let (mut unable, mut batch_max) = (None, None);
        loop {
            tokio::select! {
                biased;
                now = hop.unable_changed(unable.clone()) => unable = now,
                now = hop.batch_max_changed(batch_max) => batch_max = now,
            }
            // The group listens until all its members have ended.
            let _ = events.send(Event::NextHop(index));
        }
    };
    end.run_until_cancelled(changes).await;
}

/// Returns `true` if its batches reach a store.
fn is_able(member: &Member) -> bool {
    member.open && !member.handle.is_unable()
}

impl Group {
    /// Returns `true` if the outage may end without a batch: a member is open and able, and no
    /// member has an unsettled batch.
    pub(super) fn may_be_idle(&self) -> bool {
        self.outlet.outage_of(&self.name).is_some()
            && self.members.iter().any(is_able)
            && self.members.iter().all(|member| member.in_hand.is_empty())
    }

    /// A member has failed.
    pub(super) fn on_sink_failed(&mut self, failure: Failure, cause: Arc<str>) {
        if failure.retry_after.is_none() && !self.members.iter().any(is_able) {
            self.outlet.set_failing(&self.name, cause, Instant::now());
        }
        self.notify_sinks();
    }

    /// A next agent has changed its report.
    pub(super) fn on_next_hop_changed(&mut self, index: usize) {
        let member = &mut self.members[index];
        let (name, unable) = (member.handle.name().clone(), member.handle.outage());
        let was_unable = std::mem::replace(&mut member.was_unable, unable.is_some());
        let is_able_again = was_unable && is_able(member);
        let label = SinkLabel { sink: name.to_string() };
        self.metrics.sink_unable.get_or_create(&label).set(i64::from(unable.is_some()));
        if let Some(outage) = unable.filter(|_| !self.members.iter().any(is_able)) {
            self.outlet.set_failing_downstream(&self.name, outage);
        } else if is_able_again {
            // It reports this after its store has accepted something.
            self.outlet.set_working(&self.name);
        }
        self.notify_sinks();
    }

    /// The member has stored or delivered something.
    pub(super) fn on_sink_proved(&self, index: usize) {
        if !self.members[index].handle.is_unable() {
            self.outlet.set_working(&self.name);
        }
    }

    /// Notifies each sink whether another agent would accept and store the batches that it returns.
    /// Offers held batches again that one of the agents accepts now.
    pub(super) fn notify_sinks(&mut self) {
        let takes = |member: &&Member| member.handle.proves() && is_able(member);
        let able = self.members.iter().filter(takes).count();
        for member in &self.members {
            if let Some(hop) = member.handle.next_hop() {
                hop.set_others_able(able > usize::from(takes(&member)));
            }
        }
        self.release_held();
    }
}
