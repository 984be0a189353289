//! The decision: which address has which seat, and who is to leave. No clock, no I/O.
//!
//! ```text
//!            found                      not in an answer                 its sink has let go
//!   EMPTY ─────────► SEATED ───────────────────────────────► LEAVING ─────────────────────► EMPTY
//!                      ▲             found again                │
//!                      └───────────────────────────────────────┘
//! ```
//!
//! # Rules
//!
//! 1. An address has one seat at most, and keeps it as long as it is found.
//! 2. Only an answer with somebody in it makes anybody leave: a lookup that fails, or finds nobody,
//!    changes nothing.
//! 3. Whoever leaves keeps the seat until its sink has let go: nobody else gets it before.
//! 4. Whoever is found and has no seat waits for one, the best first: those with the lowest priority,
//!    among them in the order of their addresses. Nobody is turned out for another one.

use std::sync::Arc;

use pipeline::SeatView;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// An address that a lookup has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `host:port`.
    pub address: Arc<str>,
    /// Those with the lowest are used, as long as one of them works.
    pub priority: u16,
    /// Its share among those of the same priority.
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

/// What an answer has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This one has a seat now.
    Joined(Arc<str>),
    /// This one was leaving, and is back.
    Returned(Arc<str>),
    /// This one is leaving.
    Leaving(Arc<str>),
}

/// How many there are.
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
struct Chair {
    turn: u64,
    occupant: Option<Occupant>,
}

#[derive(Debug, Clone)]
struct Occupant {
    found: Found,
    key: u64,
    leaving_since: Option<Instant>,
}

/// Who sits where.
#[derive(Debug)]
pub struct Seating {
    chairs: Vec<Chair>,
    /// Found by the last answer, and without a seat; the best first.
    waiting: Vec<Found>,
}

impl Seating {
    /// So many empty seats.
    pub fn new(seats: usize) -> Self {
        Self { chairs: vec![Chair::default(); seats], waiting: Vec::new() }
    }

    /// Number of seats.
    pub fn seats(&self) -> usize {
        self.chairs.len()
    }

    /// A lookup has found these, and nobody else. Nobody at all changes nothing.
    pub fn found(&mut self, mut answer: Vec<Found>, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        if answer.is_empty() {
            return changes;
        }
        answer.sort();
        for occupant in self.chairs.iter_mut().filter_map(|chair| chair.occupant.as_mut()) {
            let address = &occupant.found.address;
            match answer.iter().find(|found| found.address == *address) {
                Some(found) => {
                    if occupant.leaving_since.take().is_some() {
                        changes.push(Change::Returned(address.clone()));
                    }
                    occupant.found = found.clone();
                }
                None if occupant.leaving_since.is_none() => {
                    occupant.leaving_since = Some(now);
                    changes.push(Change::Leaving(address.clone()));
                }
                None => {}
            }
        }
        self.waiting.clear();
        for found in answer {
            let is_known = |other: &Found| other.address == found.address;
            let mut seated = self.chairs.iter().filter_map(|chair| chair.occupant.as_ref());
            if !seated.any(|occupant| is_known(&occupant.found))
                && !self.waiting.iter().any(is_known)
            {
                self.waiting.push(found);
            }
        }
        changes.extend(self.seat_waiting().into_iter().map(Change::Joined));
        changes
    }

    /// The sink of this seat has let go of whoever was leaving it: the seat is empty. If that one was
    /// found again meanwhile, it sits there as a new one.
    pub fn left(&mut self, seat: usize) {
        let chair = &mut self.chairs[seat];
        chair.turn += 1;
        if chair.occupant.as_ref().is_some_and(|occupant| occupant.leaving_since.is_some()) {
            chair.occupant = None;
        }
        self.seat_waiting();
    }

    /// How this seat is.
    pub fn view(&self, seat: usize) -> SeatView {
        let Chair { turn, occupant } = &self.chairs[seat];
        let Some(Occupant { found, key, leaving_since }) = occupant else {
            return SeatView { turn: *turn, ..SeatView::default() };
        };
        SeatView {
            turn: *turn,
            is_present: leaving_since.is_none(),
            priority: found.priority,
            weight: found.weight,
            key: *key,
        }
    }

    /// Who sits there, also one that is leaving.
    pub fn occupant(&self, seat: usize) -> Option<&Found> {
        self.chairs[seat].occupant.as_ref().map(|occupant| &occupant.found)
    }

    /// Since when whoever sits there is leaving.
    pub fn leaving_since(&self, seat: usize) -> Option<Instant> {
        self.chairs[seat].occupant.as_ref().and_then(|occupant| occupant.leaving_since)
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        let occupants = || self.chairs.iter().filter_map(|chair| chair.occupant.as_ref());
        let leaving = occupants().filter(|occupant| occupant.leaving_since.is_some()).count();
        Counts { present: occupants().count() - leaving, leaving, waiting: self.waiting.len() }
    }

    /// Gives the empty seats to those who wait; their addresses.
    fn seat_waiting(&mut self) -> Vec<Arc<str>> {
        let mut joined = Vec::new();
        let empty = self.chairs.iter_mut().filter(|chair| chair.occupant.is_none());
        for chair in empty.take(self.waiting.len()) {
            let found = self.waiting.remove(0);
            joined.push(found.address.clone());
            let key = xxh3_64(found.address.as_bytes());
            chair.occupant = Some(Occupant { found, key, leaving_since: None });
        }
        joined
    }
}
