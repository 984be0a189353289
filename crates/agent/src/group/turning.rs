//! Members whose next agent cannot store what it holds: the group turns to others, and what behind
//! it says so too.
//!
//! ```text
//!   next agent ──"cannot store"──► sink ──NextHop──► group ──► the processor prefers others
//!                                    ▲                 │
//!                                    └─ others able? ──┘  then the sink gives back what is parked
//! ```
//!
//! A group works while some member is open and its next agent is able; the channel's board says
//! since when none is. That a member opens proves nothing where its store may refuse all the same,
//! so the outage ends when something is stored, or when there is nothing to try it with.

use std::sync::Arc;

use metrics::SinkLabel;
use peers::{NextHop, OutletBoard};
use pipeline::{Channel, Failure};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::member::Event;
use super::{Group, Member};

/// Where the sources of the channel see whether the group works.
pub(super) struct Outlet {
    pub(super) board: OutletBoard,
    pub(super) channel: Arc<dyn Channel>,
}

/// Passes on each change of what the next agent says of itself, until `end`.
pub(super) async fn watch(
    hop: NextHop,
    index: usize,
    events: mpsc::UnboundedSender<Event>,
    end: CancellationToken,
) {
    let changes = async {
        // As the group takes it to be before the first word.
        let (mut unable, mut batch_max) = (false, None);
        loop {
            tokio::select! {
                biased;
                now = hop.unable_otherwise(unable) => unable = now,
                now = hop.batch_max_otherwise(batch_max) => batch_max = now,
            }
            // The group listens until all its members have ended.
            let _ = events.send(Event::NextHop(index));
        }
    };
    end.run_until_cancelled(changes).await;
}

/// Whether what is given to it goes on to a store.
fn is_able(member: &Member) -> bool {
    member.open && !member.handle.is_unable()
}

impl Group {
    /// A member has opened.
    pub(super) fn outlet_opened(&mut self) {
        if self.outlet.channel.status().events == 0 {
            self.outlet.board.works(&self.name);
        }
        self.tell_others();
    }

    /// A member has failed.
    pub(super) fn outlet_failed(&mut self, failure: Failure, cause: Arc<str>) {
        if failure.retry_after.is_none() && !self.members.iter().any(is_able) {
            self.outlet.board.fails(&self.name, cause, Instant::now());
        }
        self.tell_others();
    }

    /// A next agent says otherwise of itself.
    pub(super) fn outlet_said(&mut self, index: usize) {
        let name = self.members[index].handle.name();
        let is_unable = self.members[index].handle.is_unable();
        let label = SinkLabel { sink: name.to_string() };
        self.metrics.sink_unable.get_or_create(&label).set(i64::from(is_unable));
        if is_unable && !self.members.iter().any(is_able) {
            let cause = format!("the next agent of `{name}` cannot store what it holds").into();
            self.outlet.board.fails(&self.name, cause, Instant::now());
        }
        self.tell_others();
    }

    /// The member has stored or delivered something.
    pub(super) fn outlet_proved(&self, index: usize) {
        if !self.members[index].handle.is_unable() {
            self.outlet.board.works(&self.name);
        }
    }

    /// Tells each sink whether another agent would take what it gives back, and can store it.
    /// Batches that one of them takes now are offered again.
    pub(super) fn tell_others(&mut self) {
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
