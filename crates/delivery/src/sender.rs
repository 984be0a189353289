//! The sending half of the protocol, as a pure state machine: no clock, no I/O.
//!
//! ```text
//!   offer ─► UNANSWERED ──Stored──► PARKED ──Committed──► Delivered
//!               │  ▲ put again on the next connection │
//!               │  └ that lacks it, within the courtesy│ Welcome lacks it, or the peer stays away
//!               ▼                                      ▼
//!            Unanswered (may be stored)             Missing (no agent is known to have it)
//! ```
//!
//! The bytes of a batch are kept only while it is unanswered, which the window bounds. A parked
//! batch costs its place in a run of sequences that lie under tickets in a row.
//!
//! # Rules
//!
//! 1. A batch is delivered when the peer says that it is committed, or with [`Retain::Stored`]
//!    that it is stored; nothing else delivers it.
//! 2. Puts without an answer never exceed the peer's window, also when they are put again.
//! 3. After a disconnect the same peer is asked first, for [`Options::courtesy`]: only then are
//!    unanswered batches given back, so that another collector rarely stores them a second time.
//! 4. A parked batch that the peer's Welcome does not know is given back at once, all of them when
//!    the peer stays away for [`Options::resend_after`].
//! 5. What was given back is not known here any more: a late answer changes nothing.
//! 6. A peer that is barred is put nothing, and its word about what it has counts as before.
//! 7. A peer that is not waited for any more is let go: all is given back.
//! 8. A peer that says that it cannot store is given back from after [`GIVE_BACK_AFTER`], where
//!    another one is able; where none is, it is waited for as ever.

mod parked;
mod timing;
mod unable;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin, Ticket};
use tokio::time::Instant;

use parked::Parked;
pub use unable::GIVE_BACK_AFTER;
use unable::Outlet;
use window::Load;
pub use window::Window;

/// Condition for the deletion of a batch from the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// When it is in the store for good: no disk but this agent's own has to survive.
    Committed,
    /// When the next agent has it on disk: the loss of that disk loses it.
    Stored,
}

/// How a sender behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Its own window; the peer's may be smaller.
    pub window: Window,
    /// When a batch may be forgotten.
    pub retain: Retain,
    /// How long a new connection may take to its Welcome.
    pub welcome_timeout: Duration,
    /// How long a put may be without an answer, and without the word that it waits for room.
    pub answer_timeout: Duration,
    /// How long the same peer is asked again for what it did not answer.
    pub courtesy: Duration,
    /// How long a peer may stay away before what it has stored is sent elsewhere.
    pub resend_after: Duration,
}

/// What the peer's Welcome said.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// Of the batches in the Hello that it answers, those that the peer has or has settled.
    pub stored: KeySet,
    /// Of the batches in that Hello, those that are committed.
    pub committed: KeySet,
    /// The peer's window.
    pub window: Window,
    /// Bytes of the largest batch that the peer takes.
    pub body_max: u64,
    /// Whether the peer takes zstd.
    pub zstd: bool,
}

/// What is to be sent next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing<P> {
    /// A Hello with these batches.
    Hello(KeySet),
    /// A batch, as it was offered.
    Put(P),
}

/// Whether a batch can be offered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Free,
    /// Soon: the window is full, or the connection is being made again.
    Wait,
    /// The peer asked to be left alone for this long.
    Busy(Duration),
    /// The peer is stopping.
    Draining,
    /// Nothing is to be sent to this peer.
    Barred,
    /// The peer never takes a batch over this many bytes.
    TooLarge(u64),
    /// There is no connection.
    Down,
}

/// What became of tickets. Between `Stored` and the end there is nothing; all others are the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The peer has it on disk.
    Stored,
    /// Where it belongs.
    Delivered,
    /// No agent is known to have it: the peer lost it, or stays away.
    Missing,
    /// It was put and not answered: the peer may have it or not.
    Unanswered,
    /// It was not waited for any longer: the peer may have it or not.
    LetGo,
    /// The peer did not take it and asked to come again after this.
    NotTaken(Duration),
    /// The peer could not read it: damaged on the way, or compressed in a way it does not know.
    Unreadable,
}

#[derive(Debug)]
enum Link {
    Down,
    /// Connected; the first Hello of the connection has no Welcome yet.
    Greeting {
        since: Instant,
    },
    Up(Peer),
}

#[derive(Debug)]
struct Peer {
    window: Window,
    body_max: u64,
    zstd: bool,
    busy_until: Option<Instant>,
    /// When the peer last said that what was put waits there for room.
    excused_at: Option<Instant>,
    draining: bool,
    barred: bool,
}

#[derive(Debug)]
struct Unanswered<P> {
    ticket: Ticket,
    parcel: P,
    bytes: u64,
    /// When it was put on this connection; `None` until then.
    put_at: Option<Instant>,
}

/// The sending half. `P` is what a put carries; it is handed out again when it is put again.
#[derive(Debug)]
pub struct Sender<P> {
    options: Options,
    link: Link,
    /// Since when there is no welcomed connection, once there was one.
    away_since: Option<Instant>,
    /// Since then an attempt to connect has failed, or the courtesy is over: it is not waited for.
    hopeless: bool,
    unanswered: BTreeMap<Identity, Unanswered<P>>,
    /// Bytes of all that is unanswered, and of the part that is put on this connection.
    held: Load,
    put: Load,
    /// What is unanswered and not put on this connection yet, in order.
    queue: VecDeque<Identity>,
    parked: Parked,
    outlet: Outlet,
    /// Lives that this connection has said Hello for.
    greeted: BTreeSet<(Origin, Epoch)>,
    hellos: VecDeque<KeySet>,
    /// For each Hello without Welcome, the batches of it that were parked when it was made.
    asked: VecDeque<KeySet>,
    settled: VecDeque<(Verdict, IntervalSet)>,
}

impl<P: Clone> Sender<P> {
    /// A sender without connection.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            link: Link::Down,
            away_since: None,
            hopeless: false,
            unanswered: BTreeMap::new(),
            held: Load::default(),
            put: Load::default(),
            queue: VecDeque::new(),
            parked: Parked::default(),
            outlet: Outlet::default(),
            greeted: BTreeSet::new(),
            hellos: VecDeque::new(),
            asked: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    /// Whether the peer has said Welcome on this connection.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    fn is_barred(&self) -> bool {
        matches!(&self.link, Link::Up(peer) if peer.barred)
    }

    /// Whether the peer takes bodies compressed by zstd.
    pub fn takes_zstd(&self) -> bool {
        matches!(&self.link, Link::Up(peer) if peer.zstd)
    }

    /// Bytes taken over and not stored anywhere yet.
    pub fn unanswered_bytes(&self) -> u64 {
        self.held.bytes
    }

    /// Whether every batch that was offered is settled, and every settlement asked for.
    pub fn is_idle(&self) -> bool {
        self.unanswered.is_empty() && self.parked.is_empty() && self.settled.is_empty()
    }

    /// Whether a batch of `bytes`, uncompressed, can be offered.
    pub fn room(&self, bytes: u64, now: Instant) -> Room {
        let peer = match &self.link {
            Link::Up(peer) => peer,
            Link::Down | Link::Greeting { .. } => {
                let hopeful = self.away_since.is_some() && !self.hopeless;
                return if hopeful { Room::Wait } else { Room::Down };
            }
        };
        let busy = peer.busy_until.and_then(|until| until.checked_duration_since(now));
        match busy {
            _ if peer.barred => Room::Barred,
            _ if peer.draining => Room::Draining,
            _ if bytes > peer.body_max => Room::TooLarge(peer.body_max),
            Some(rest) if !rest.is_zero() => Room::Busy(rest),
            _ if self.held.admits(bytes, self.window()) => Room::Free,
            _ => Room::Wait,
        }
    }

    /// Takes a batch over; `bytes` are those of its put's body.
    pub fn offer(&mut self, ticket: Ticket, identity: Identity, parcel: P, bytes: u64) {
        self.forget(identity);
        let life = (identity.origin, identity.epoch);
        if self.is_up() && self.greeted.insert(life) {
            self.hellos.push_back(KeySet::from_iter([identity]));
            self.asked.push_back(KeySet::default());
        }
        self.held.add(bytes);
        self.queue.push_back(identity);
        self.unanswered.insert(identity, Unanswered { ticket, parcel, bytes, put_at: None });
        // It may have been barred after it was asked for room.
        self.bar(self.is_barred());
    }

    /// Whether there is something to send.
    pub fn has_outgoing(&self) -> bool {
        !self.hellos.is_empty() || self.next_put().is_some()
    }

    /// What to send next; it counts as sent.
    pub fn next_outgoing(&mut self, now: Instant) -> Option<Outgoing<P>> {
        if let Some(keys) = self.hellos.pop_front() {
            return Some(Outgoing::Hello(keys));
        }
        let identity = self.next_put()?;
        self.queue.pop_front();
        let entry = self.unanswered.get_mut(&identity)?;
        entry.put_at = Some(now);
        self.put.add(entry.bytes);
        Some(Outgoing::Put(entry.parcel.clone()))
    }

    fn next_put(&self) -> Option<Identity> {
        let identity = self.queue.front()?;
        let fits = self.put.admits(self.unanswered.get(identity)?.bytes, self.window());
        (self.is_up() && !self.is_barred() && fits).then_some(*identity)
    }

    /// What became of tickets since the last call.
    pub fn next_settled(&mut self) -> Option<(Verdict, IntervalSet)> {
        self.settled.pop_front()
    }

    /// The peer's window or the own one, whichever is smaller.
    fn window(&self) -> Window {
        let Link::Up(peer) = &self.link else { return self.options.window };
        let own = self.options.window;
        own.smaller(peer.window)
    }

    /// The peer has these on disk.
    pub fn stored(&mut self, keys: &KeySet) {
        let answered = self.answered_in(keys);
        if let Link::Up(peer) = &mut self.link
            && !answered.is_empty()
        {
            // There was room again.
            peer.busy_until = None;
        }
        for (identity, ticket) in answered {
            match self.options.retain {
                Retain::Stored => self.settle(Verdict::Delivered, ticket),
                Retain::Committed => {
                    self.parked.insert(identity, ticket);
                    self.settle(Verdict::Stored, ticket);
                }
            }
        }
    }

    /// These are where they belong.
    pub fn committed(&mut self, keys: &KeySet) {
        for (_, ticket) in self.answered_in(keys) {
            self.settle(Verdict::Delivered, ticket);
        }
        let tickets = self.parked.take(keys);
        self.settle_all(Verdict::Delivered, &tickets);
    }

    /// The ticket of a batch that is neither settled nor given back.
    pub fn ticket(&self, identity: Identity) -> Option<Ticket> {
        let unanswered = self.unanswered.get(&identity).map(|entry| entry.ticket);
        unanswered.or_else(|| self.parked.ticket(identity))
    }

    /// The peer could not read a put; another try may do better.
    pub fn unreadable(&mut self, identity: Identity) {
        if let Some(entry) = self.remove(identity) {
            self.settle(Verdict::Unreadable, entry.ticket);
        }
    }

    /// The peer will never take this one, which is handed back. What is not unanswered here was
    /// given back before, or is stored: then the refusal changes nothing.
    pub fn refused(&mut self, identity: Identity) -> Option<(Ticket, P)> {
        self.remove(identity).map(|entry| (entry.ticket, entry.parcel))
    }

    /// Takes those of the unanswered batches out that are in `keys`. Walks over what is held here,
    /// never over what the peer's set claims to hold.
    fn answered_in(&mut self, keys: &KeySet) -> Vec<(Identity, Ticket)> {
        let named: Vec<Identity> =
            self.unanswered.keys().filter(|identity| keys.contains(**identity)).copied().collect();
        let removed = named.into_iter().filter_map(|id| self.remove(id).map(|e| (id, e.ticket)));
        removed.collect()
    }

    fn remove(&mut self, identity: Identity) -> Option<Unanswered<P>> {
        let entry = self.unanswered.remove(&identity)?;
        self.held.remove(entry.bytes);
        match entry.put_at {
            Some(_) => self.put.remove(entry.bytes),
            None => self.queue.retain(|queued| *queued != identity),
        }
        Some(entry)
    }

    /// A batch that is offered again was given back by a caller that lost its patience.
    fn forget(&mut self, identity: Identity) {
        self.remove(identity);
        self.parked.take(&KeySet::from_iter([identity]));
    }

    fn settle(&mut self, verdict: Verdict, ticket: Ticket) {
        self.settle_all(verdict, &IntervalSet::from(ticket..ticket + 1));
    }

    /// Verdicts of one kind in a row become one.
    fn settle_all(&mut self, verdict: Verdict, tickets: &IntervalSet) {
        match self.settled.back_mut() {
            _ if tickets.is_empty() => {}
            Some((last, set)) if *last == verdict => set.insert_all(tickets),
            _ => self.settled.push_back((verdict, tickets.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
