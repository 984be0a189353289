//! Assigns addresses to seats. No clock, no I/O.
//!
//! ```text
//!            found                      not in an answer                 its sink has closed
//!   EMPTY ─────────► SEATED ───────────────────────────────► LEAVING ─────────────────────► EMPTY
//!                      ▲             found again                │
//!                      └───────────────────────────────────────┘
//! ```
//!
//! # Rules
//!
//! 1. An address has at most one seat, and keeps it while it is found.
//! 2. Only an answer with addresses makes a member leave: a lookup that fails, or finds no address,
//!    changes nothing.
//! 3. A member that leaves keeps the seat until its sink has closed: no other address gets it
//!    before.
//! 4. An address without a seat waits for one. The addresses with the lowest priority come first,
//!    in the order of their addresses. No member is removed for another one.

use std::sync::Arc;

use pipeline::SeatView;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// An address that a lookup has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `host:port`.
    pub address: Arc<str>,
    /// The lowest priority with a working member is used.
    pub priority: u16,
    /// Relative share among members of the same priority.
    pub weight: u16,
}

impl Found {
    /// As good as all others.
    pub fn plain(address: &str) -> Self {
        Self { address: address.into(), priority: 0, weight: 1 }
    }

    fn rank(&self) -> (u16, &str, u16) {
        (self.priority, &self.address, self.weight)
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The best first.
impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A change caused by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This one has a seat now.
    Joined(Arc<str>),
    /// This one was leaving, and is back.
    Returned(Arc<str>),
    /// This one is leaving.
    Leaving(Arc<str>),
}

/// Number of members by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// With a seat, and not leaving.
    pub present: usize,
    /// Leaving.
    pub leaving: usize,
    /// Found, and without a seat.
    pub waiting: usize,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    generation: u64,
    assignment: Option<Assignment>,
}

#[derive(Debug, Clone)]
struct Assignment {
    found: Found,
    key: u64,
    leaving_since: Option<Instant>,
}

/// The member of each seat.
#[derive(Debug)]
pub struct Seating {
    slots: Vec<Slot>,
    /// Found by the last answer, and without a seat; the best first.
    waiting: Vec<Found>,
}

impl Seating {
    /// So many empty seats.
    pub fn new(seats: usize) -> Self {
        Self { slots: vec![Slot::default(); seats], waiting: Vec::new() }
    }

    /// Number of seats.
    pub fn seats(&self) -> usize {
        self.slots.len()
    }

    /// Handles the complete answer of a lookup. An empty one changes nothing.
    pub fn found(&mut self, mut answer: Vec<Found>, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        if answer.is_empty() {
            return changes;
        }
        answer.sort();
        for assignment in self.slots.iter_mut().filter_map(|slot| slot.assignment.as_mut()) {
            let address = &assignment.found.address;
            match answer.iter().find(|found| found.address == *address) {
                Some(found) => {
                    if assignment.leaving_since.take().is_some() {
                        changes.push(Change::Returned(address.clone()));
                    }
                    assignment.found = found.clone();
                }
                None if assignment.leaving_since.is_none() => {
                    assignment.leaving_since = Some(now);
                    changes.push(Change::Leaving(address.clone()));
                }
                None => {}
            }
        }
        self.waiting.clear();
        for found in answer {
            let is_known = |other: &Found| other.address == found.address;
            let mut seated = self.slots.iter().filter_map(|slot| slot.assignment.as_ref());
            if !seated.any(|assignment| is_known(&assignment.found))
                && !self.waiting.iter().any(is_known)
            {
                self.waiting.push(found);
            }
        }
        changes.extend(self.seat_waiting().into_iter().map(Change::Joined));
        changes
    }

    /// Records that the sink of this seat has released its leaving member: the seat is empty. If
    /// that address was found again in the meantime, it becomes a new member there.
    pub fn left(&mut self, seat: usize) {
        let slot = &mut self.slots[seat];
        slot.generation += 1;
        if slot.assignment.as_ref().is_some_and(|assignment| assignment.leaving_since.is_some()) {
            slot.assignment = None;
        }
        self.seat_waiting();
    }

    /// Returns the state of this seat.
    pub fn view(&self, seat: usize) -> SeatView {
        let Slot { generation, assignment } = &self.slots[seat];
        let Some(Assignment { found, key, leaving_since }) = assignment else {
            return SeatView { generation: *generation, ..SeatView::default() };
        };
        SeatView {
            generation: *generation,
            is_present: leaving_since.is_none(),
            priority: found.priority,
            weight: found.weight,
            key: *key,
        }
    }

    /// The member at the seat, also one that is leaving.
    pub fn assignment(&self, seat: usize) -> Option<&Found> {
        self.slots[seat].assignment.as_ref().map(|assignment| &assignment.found)
    }

    /// Since when the member at the seat is leaving.
    pub fn leaving_since(&self, seat: usize) -> Option<Instant> {
        self.slots[seat].assignment.as_ref().and_then(|assignment| assignment.leaving_since)
    }

    /// Returns the number of members by state.
    pub fn counts(&self) -> Counts {
        let assignments = || self.slots.iter().filter_map(|slot| slot.assignment.as_ref());
        let leaving = assignments().filter(|assignment| assignment.leaving_since.is_some()).count();
        Counts { present: assignments().count() - leaving, leaving, waiting: self.waiting.len() }
    }

    /// Assigns the empty seats to waiting addresses; returns these addresses.
    fn seat_waiting(&mut self) -> Vec<Arc<str>> {
        let mut joined = Vec::new();
        let empty = self.slots.iter_mut().filter(|slot| slot.assignment.is_none());
        for slot in empty.take(self.waiting.len()) {
            let found = self.waiting.remove(0);
            joined.push(found.address.clone());
            let key = xxh3_64(found.address.as_bytes());
            slot.assignment = Some(Assignment { found, key, leaving_since: None });
        }
        joined
    }
}
