//! Batches that are larger than the working downstream agents accept.
//!
//! ```text
//!   taken ──some open member accepts it────────► that member
//!     │ no member accepts it                          │ it reports `HeldBack`
//!     ▼                                              ▼
//!   HELD: parked in the channel ◄────────────────────┘
//!     └── a member that accepts it opens, is able again, or raises its limit ──► offered again
//! ```
//!
//! A batch cannot be split after the channel. Therefore it is held back, only by its ticket, while
//! smaller ones overtake it. A batch of one event that no member accepts is not held back: it is
//! sent, and its sink puts it into the dead letters.
//!
//! If a member's downstream agent refuses a batch within its announced limit, the member does not
//! get that batch again until it is reopened.

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Gauge, GroupLabel, Metrics};
use pipeline::{HeldBack, IntervalSet, MemberView, Taken, Ticket};
use support::mutant;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Group, Member};

/// Maximum number of batches that are held back. One more waits before all others.
pub(super) const HELD_MAX: usize = 1024;

/// The action for a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The processor chooses among all members.
    Any,
    /// Choose among the members that accept the batch.
    Fitting,
    /// The batch is held back.
    Hold,
}

/// The state of a member for one batch.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    present: bool,
    open: bool,
    able: bool,
    /// As far as is known, its downstream agent accepts batches of this size.
    fits: bool,
}

/// Returns the action for a batch; `single`: it has one event.
fn action(members: &[Candidate], single: bool) -> Action {
    let present = || members.iter().filter(|member| member.present);
    let open = || present().filter(|member| member.open);
    let is_any_able = open().any(|member| member.able);
    // If no agent of an open member can store, each of them is a buffer.
    let mut pool = open().filter(|member| member.able || !is_any_able).peekable();
    if pool.peek().is_none() || present().all(|member| member.fits) {
        return Action::Any;
    }
    if pool.any(|member| member.fits) {
        return Action::Fitting;
    }
    if single && !present().any(|member| member.fits) {
        return Action::Any;
    }
    Action::Hold
}

/// The batches that are held back, and the members that refused them.
pub(super) struct Held {
    batches: BTreeMap<Ticket, HeldBack>,
    /// Members whose downstream agent has refused a batch as too large since they were opened.
    refused_by: BTreeMap<Ticket, BTreeSet<usize>>,
    is_crowded: bool,
    events: Gauge,
    bytes: Gauge,
}

impl Held {
    /// Creates the empty state of the group with this name.
    pub(super) fn new(group: &str, metrics: &Metrics) -> Self {
        let label = GroupLabel { group: group.to_owned() };
        Self {
            batches: BTreeMap::new(),
            refused_by: BTreeMap::new(),
            is_crowded: false,
            events: metrics.group_held_events.get_or_create(&label).clone(),
            bytes: metrics.group_held_bytes.get_or_create(&label).clone(),
        }
    }

    fn insert(&mut self, ticket: Ticket, held: HeldBack) {
        self.batches.insert(ticket, held);
        self.show();
    }

    fn remove(&mut self, tickets: &BTreeSet<Ticket>) {
        self.batches.retain(|ticket, _| !tickets.contains(ticket));
        self.is_crowded = false;
        self.show();
    }

    fn show(&self) {
        let sum = |of: fn(&HeldBack) -> u64| {
            i64::try_from(self.batches.values().map(of).sum::<u64>()).unwrap_or(i64::MAX)
        };
        self.events.set(sum(|held| held.events));
        self.bytes.set(sum(|held| held.bytes));
    }

    fn refused(&mut self, ticket: Ticket, member: usize) {
        self.refused_by.entry(ticket).or_default().insert(member);
        if self.refused_by.len() > HELD_MAX {
            // The oldest is asked for once more.
            self.refused_by.pop_first();
        }
    }

    /// The member is another one, as far as refusals go.
    pub(super) fn opened(&mut self, member: usize) {
        self.refused_by.retain(|_, by| {
            by.remove(&member);
            !by.is_empty()
        });
    }

    /// Removes tickets that leave the channel.
    pub(super) fn left(&mut self, tickets: &IntervalSet) {
        if !self.refused_by.is_empty() {
            self.refused_by.retain(|ticket, _| !tickets.contains(*ticket));
        }
    }

    /// Returns `true` if a member accepts a batch, as far as is known.
    fn fits(&self, (at, member): (usize, &Member), ticket: Ticket, bytes: u64) -> bool {
        let limit = member.handle.next_hop().and_then(peers::NextHop::batch_max);
        let has_refused = || self.refused_by.get(&ticket).is_some_and(|by| by.contains(&at));
        limit.is_none_or(|limit| bytes <= limit) && !has_refused()
    }

    /// Returns the action for a batch.
    fn action(&self, members: &[Member], ticket: Ticket, bytes: u64, single: bool) -> Action {
        let candidate = |(at, member): (usize, &Member)| Candidate {
            present: member.seat.is_none_or(|seat| seat.is_present),
            open: member.open,
            able: !member.handle.is_unable(),
            fits: self.fits((at, member), ticket, bytes),
        };
        let members: Vec<Candidate> = members.iter().enumerate().map(candidate).collect();
        action(&members, single)
    }
}

impl Group {
    /// Returns whether to send this batch now, and the members as the processor should see them.
    pub(super) fn place(&self, taken: &Taken) -> (Action, Vec<MemberView>) {
        let (ticket, bytes) = (taken.ticket, taken.batch.size().bytes);
        let mut views: Vec<MemberView> = self.members.iter().map(Member::view).collect();
        let action = self.held.action(&self.members, ticket, bytes, taken.batch.len() <= 1);
        if action == Action::Fitting {
            for (at, view) in views.iter_mut().enumerate() {
                view.is_too_small = !self.held.fits((at, &self.members[at]), ticket, bytes);
            }
        }
        (action, views)
    }

    /// Returns `true` if one more batch can be held back. Otherwise the group stops until some
    /// member accepts large batches, and logs that.
    pub(super) fn can_hold(&mut self) -> bool {
        if self.held.batches.len() < HELD_MAX {
            return true;
        }
        let cause = format!(
            "{HELD_MAX} batches are larger than `message_max` of the next agents; raise it in \
             their sources `grpc`"
        );
        self.outlet.set_failing(&self.name, cause.into(), Instant::now());
        if !std::mem::replace(&mut self.held.is_crowded, true) {
            warn!(
                group = %self.name, held = HELD_MAX,
                "too many batches are larger than `message_max` of the collectors; the sink group \
                 delivers nothing, and its events wait in the channel; raise `message_max` at the \
                 collectors",
            );
        }
        false
    }

    /// Holds back the pending batch, which no working member accepts.
    pub(super) fn hold_pending(&mut self) {
        let Some(Taken { ticket, batch }) = self.pending.take() else { return };
        let (bytes, events) = (batch.size().bytes, batch.len() as u64);
        self.hold_back(ticket, HeldBack { bytes, events, refused: false });
    }

    /// Holds a batch back.
    fn hold_back(&mut self, ticket: Ticket, held: HeldBack) {
        let bytes = held.bytes;
        if self.held.batches.is_empty() {
            let limits = self.members.iter().filter_map(|member| {
                let limit = member.handle.next_hop()?.batch_max()?;
                Some(format!("{} accepts {limit}", member.handle.name()))
            });
            let limits = limits.collect::<Vec<_>>().join(", ");
            warn!(
                group = %self.name, bytes, %limits,
                "a batch is larger than `message_max` of every collector that works now; holding \
                 back batches of this size and sending smaller ones; raise `message_max` there to \
                 at least `bytes`",
            );
        }
        self.held.insert(ticket, held);
        self.take.park(&IntervalSet::from(ticket..ticket + 1));
    }

    /// Handles a member's report that its downstream agent does not accept a batch.
    pub(super) fn is_too_large_for(&mut self, index: usize, tickets: &IntervalSet, held: HeldBack) {
        for ticket in tickets.iter() {
            if held.refused {
                self.held.refused(ticket, index);
            }
            self.hold_back(ticket, held);
        }
        // Another member may accept it, or the limit was raised just now.
        self.release_held();
    }

    /// Offers batches again that some member accepts now, after a change of the members.
    pub(super) fn release_held(&mut self) {
        if self.held.batches.is_empty() || mutant!("held_back_for_good") {
            return;
        }
        let goes = |(ticket, batch): (&Ticket, &HeldBack)| {
            let fits = |member| self.held.fits(member, *ticket, batch.bytes);
            let mut open = self.members.iter().enumerate().filter(|(_, member)| member.open);
            let goes =
                match self.held.action(&self.members, *ticket, batch.bytes, batch.events <= 1) {
                    Action::Fitting => true,
                    Action::Any if batch.refused => open.any(fits),
                    Action::Any => open.next().is_some(),
                    Action::Hold => false,
                };
            goes.then_some(*ticket)
        };
        let go: BTreeSet<Ticket> = self.held.batches.iter().filter_map(goes).collect();
        if !go.is_empty() {
            info!(group = %self.name, batches = go.len(), "sending held-back batches");
            self.held.remove(&go);
            self.take.rollback(&go.into_iter().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a member from letters: present and able; open and fitting.
    fn member(letters: &str) -> Candidate {
        let has = |letter| letters.contains(letter);
        Candidate { present: !has('a'), open: has('o'), able: !has('u'), fits: has('f') }
    }

    #[test]
    fn batch_goes_where_it_fits_or_waits_and_is_never_sent_in_vain() {
        for (members, several, single) in [
            ("of of", Action::Any, Action::Any),
            ("of o", Action::Fitting, Action::Fitting),
            ("f o", Action::Hold, Action::Hold),
            ("o o", Action::Hold, Action::Any),
            // No member is open: it waits for the first one that opens.
            ("f ", Action::Any, Action::Any),
            // An agent that cannot store is used only if no other one can.
            ("ofu o", Action::Hold, Action::Hold),
            ("ofu ou", Action::Fitting, Action::Fitting),
            ("ofu of", Action::Any, Action::Any),
            // A free seat does not count.
            ("of a", Action::Any, Action::Any),
            ("o fa", Action::Hold, Action::Any),
        ] {
            let members: Vec<Candidate> = members.split(' ').map(member).collect();
            assert_eq!(action(&members, false), several, "{members:?}");
            assert_eq!(action(&members, true), single, "{members:?}");
        }
    }
}
