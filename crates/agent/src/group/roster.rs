//! The members of a group as the group sees them.

use std::collections::BTreeSet;

use pipeline::{IntervalSet, MemberView, SeatView, SinkBoard, Ticket};

use super::member::Handle;
use crate::health::ComponentHealth;

/// A member as the group sees it.
pub(super) struct Member {
    pub(super) handle: Handle,
    /// The reasons of its dead letters.
    pub(super) letters: &'static [&'static str],
    /// Its seat, if it is discovered.
    pub(super) seat: Option<SeatView>,
    pub(super) open: bool,
    /// Its state at the group's last check.
    pub(super) was_unable: bool,
    /// Tickets in its hand that it has not stored anywhere yet.
    pub(super) in_hand: BTreeSet<Ticket>,
    /// Shows whether it works.
    pub(super) component_health: ComponentHealth,
    /// The board of the sink.
    pub(super) board: Option<SinkBoard>,
}

impl Member {
    /// A member that is not open yet.
    pub(super) fn new(
        (handle, letters): (Handle, &'static [&'static str]),
        component_health: ComponentHealth,
        board: Option<SinkBoard>,
    ) -> Self {
        let (seat, in_hand) = (handle.seat(), BTreeSet::new());
        Self {
            handle,
            letters,
            seat,
            open: false,
            was_unable: false,
            in_hand,
            component_health,
            board,
        }
    }

    pub(super) fn view(&self) -> MemberView {
        MemberView {
            has_room: self.open && self.handle.has_room(),
            unacknowledged_bytes: self.handle.unacknowledged_bytes(),
            is_open: self.open,
            unproved: self.in_hand.len(),
            proves: self.handle.proves(),
            is_unable: self.handle.is_unable(),
            is_too_small: false,
            seat: self.seat,
        }
    }

    /// Takes the tickets out of its hand.
    pub(super) fn release(&mut self, tickets: &IntervalSet) {
        for run in tickets.runs() {
            self.in_hand.retain(|ticket| !run.contains(ticket));
        }
    }
}
