//! The sending half of the protocol, as a pure state machine: no clock, no I/O.
//!
//! ```text
//!   offer ─► UNANSWERED ──Stored──► PARKED ──Committed──► Delivered
//!               │  ▲ put again on the next connection │
//!               │  └ that lacks it, within the courtesy│ Welcome lacks it, or the peer stays down
//!               ▼                                      ▼
//!            Unanswered (may be stored)             Missing (no agent is known to have it)
//! ```
//!
//! The sender keeps the bytes of a batch only while it is unanswered; the window bounds them. A
//! parked batch costs one place in a run of consecutive sequences under consecutive tickets.
//!
//! # Rules
//!
//! 1. A batch is delivered when the peer reports it as committed, or with [`Retain::Stored`] as
//!    stored. Nothing else delivers it.
//! 2. Unanswered puts never exceed the peer's window, even when they are resent.
//! 3. After a disconnect the sender asks the same peer first, for [`Options::courtesy`]. Then it
//!    returns unanswered batches; so another collector rarely stores them a second time.
//! 4. If the peer's Welcome lacks a parked batch, the sender returns the batch immediately. It
//!    returns all parked batches when the peer stays down for [`Options::resend_after`].
//! 5. The sender forgets a batch that it has returned: a late answer has no effect.
//! 6. The sender puts no batch to a barred peer, but the peer's reports about its batches count.
//! 7. When the sender stops waiting for a peer, it returns all batches.
//! 8. If a peer reports that it cannot store, the sender returns its batches after
//!    [`RETURN_AFTER`], provided that another peer is able. Otherwise it keeps waiting.

mod parked;
mod timing;
mod unable;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin, Ticket};
use tokio::time::Instant;

use parked::Parked;
use unable::Outlet;
pub use unable::RETURN_AFTER;
use window::Load;
pub use window::Window;

/// Condition for the deletion of a batch from the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// When it is committed to the store: only the disk of this agent has to survive.
    Committed,
    /// When the next agent has it on disk: the batch is lost if that disk is lost.
    Stored,
}

/// Settings of a sender.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Its own window; the peer's may be smaller.
    pub window: Window,
    /// The point at which the sender may forget a batch.
    pub retain: Retain,
    /// Time from a new connection to its Welcome.
    pub welcome_timeout: Duration,
    /// Time for the answer to a put, counted from the put or from the last report that it waits for
    /// room.
    pub answer_timeout: Duration,
    /// Time for which the sender asks the same peer again about unanswered batches.
    pub courtesy: Duration,
    /// Time that a peer may be down before the sender sends its stored batches elsewhere.
    pub resend_after: Duration,
}

/// The contents of the peer's Welcome.
#[derive(Debug, Clone)]
pub struct Welcome {
    /// The batches of the answered Hello that the peer has or has settled.
    pub stored: KeySet,
    /// The batches of that Hello that are committed.
    pub committed: KeySet,
    /// The peer's window.
    pub window: Window,
    /// Size of the largest batch that the peer accepts, in bytes.
    pub body_max: u64,
    /// True if the peer accepts zstd.
    pub zstd: bool,
}

/// The next message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing<P> {
    /// A Hello with these batches.
    Hello(KeySet),
    /// A batch, as it was offered.
    Put(P),
}

/// Room for another batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// A batch can be offered now.
    Free,
    /// Soon: the window is full, or the connection is being restored.
    Wait,
    /// The peer asked the sender to wait for this long.
    Busy(Duration),
    /// The peer is stopping.
    Draining,
    /// The sender must not send to this peer.
    Barred,
    /// The peer never accepts a batch of more than this many bytes.
    TooLarge(u64),
    /// Not connected.
    Down,
}

/// The state of tickets. `Stored` is intermediate; all other verdicts are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The peer has it on disk.
    Stored,
    /// The batch is delivered.
    Delivered,
    /// No agent is known to have it: the peer lost it, or stays down.
    Missing,
    /// It was put and not answered: the peer may have it.
    Unanswered,
    /// The sender stopped waiting for it: the peer may have it.
    LetGo,
    /// The peer did not accept it and asked for a retry after this time.
    NotTaken(Duration),
    /// The peer could not read it: damaged in transit, or compressed with an unknown algorithm.
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
    /// When the peer last reported that puts wait there for room.
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

/// The sending half. `P` is the payload of a put; each resend returns a clone of it.
#[derive(Debug)]
pub struct Sender<P> {
    options: Options,
    link: Link,
    /// When the last welcomed connection was lost; `None` before the first one and while connected.
    away_since: Option<Instant>,
    /// Set after a failed attempt to connect, or after the courtesy: the sender no longer waits.
    hopeless: bool,
    unanswered: BTreeMap<Identity, Unanswered<P>>,
    /// Bytes of all that is unanswered, and of the part that is put on this connection.
    held: Load,
    put: Load,
    /// Unanswered batches that are not put on this connection yet, in order.
    queue: VecDeque<Identity>,
    parked: Parked,
    outlet: Outlet,
    /// Lives for which this connection has sent a Hello.
    greeted: BTreeSet<(Origin, Epoch)>,
    hellos: VecDeque<KeySet>,
    /// For each Hello without a Welcome, the batches that were parked when it was made.
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

    /// Returns `true` if the peer has sent Welcome on this connection.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    fn is_barred(&self) -> bool {
        matches!(&self.link, Link::Up(peer) if peer.barred)
    }

    /// Returns `true` if the peer accepts bodies compressed with zstd.
    pub fn takes_zstd(&self) -> bool {
        matches!(&self.link, Link::Up(peer) if peer.zstd)
    }

    /// Bytes that were offered and are not stored anywhere yet.
    pub fn unanswered_bytes(&self) -> u64 {
        self.held.bytes
    }

    /// Returns `true` if every offered batch is settled and the caller has taken every verdict.
    pub fn is_idle(&self) -> bool {
        self.unanswered.is_empty() && self.parked.is_empty() && self.settled.is_empty()
    }

    /// Returns whether a batch of `bytes`, uncompressed, can be offered.
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

    /// Adds a batch; `bytes` is the size of the body of its put.
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
        // The peer may have been barred after the caller asked for room.
        self.bar(self.is_barred());
    }

    /// Returns `true` if there is a message to send.
    pub fn has_outgoing(&self) -> bool {
        !self.hellos.is_empty() || self.next_put().is_some()
    }

    /// Returns the next message and counts it as sent.
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

    /// Returns verdicts since the last call.
    pub fn next_settled(&mut self) -> Option<(Verdict, IntervalSet)> {
        self.settled.pop_front()
    }

    /// Returns the smaller one of the peer's window and this sender's.
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
            // The peer has room again.
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

    /// These batches are committed.
    pub fn committed(&mut self, keys: &KeySet) {
        for (_, ticket) in self.answered_in(keys) {
            self.settle(Verdict::Delivered, ticket);
        }
        let tickets = self.parked.take(keys);
        self.settle_all(Verdict::Delivered, &tickets);
    }

    /// Returns the ticket of a batch that is unanswered or parked.
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

    /// The peer will never accept this batch. Returns it, or `None` if it is not unanswered here:
    /// then it was returned before, or is stored, and the refusal has no effect.
    pub fn refused(&mut self, identity: Identity) -> Option<(Ticket, P)> {
        self.remove(identity).map(|entry| (entry.ticket, entry.parcel))
    }

    /// Removes the unanswered and parked batches in `keys`. Iterates over the batches held here,
    /// never over the set that the peer sent.
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

    /// Removes a batch that is offered again because its caller stopped waiting for it.
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
