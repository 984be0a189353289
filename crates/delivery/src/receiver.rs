//! The receiving half of the protocol for one stream, as a pure state machine: no clock, no I/O.
//!
//! It tracks how much the sender may still put, and which replies are due: `Stored` for each put
//! that the channels have stored, `Committed` for each batch that the sender asked about or put.
//! Replies that are due at the same time are combined into one message.
//!
//! # Rules
//!
//! 1. The receiver sends `Stored` for a batch only after [`Receiver::stored`] was called for it.
//! 2. If a batch is already committed when it is put (again), the receiver sends both replies
//!    immediately, because no later event would trigger the second one.
//! 3. The receiver sends `Committed` only for batches that this sender waits for. Its memory is
//!    therefore bounded by the number of batches that the sender holds.
//! 4. A floor takes effect after a batch of its origin has arrived on the same stream. Floors of
//!    origins that a sender does not carry are ignored.
//! 5. The receiver ends the stream of a sender that exceeds its window or waits for more batches
//!    than any correct sender can. The memory limit covers all senders.

mod contents;
mod declared;

use pipeline::{Epoch, Floors, Identity, KeySet, Known, Origin};
use thiserror::Error;
use wire::keys::Extent;

use crate::sender::Window;
use declared::Declared;

pub use contents::Contents;

/// Why a stream is ended: the sender does not keep to the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// A put arrived before the first Hello.
    #[error(
        "the sender sent batch {identity} before its handshake; the connection is closed; report \
         this as a bug of the sender"
    )]
    NotGreeted {
        /// The batch.
        identity: Identity,
    },
    /// The unanswered puts exceed the window.
    #[error(
        "the sender sent batch {identity} although {batches} batches and {bytes} bytes are \
         unacknowledged, which fills its window; the connection is closed; report this as a bug of \
         the sender"
    )]
    OverWindow {
        /// The batch.
        identity: Identity,
        /// Unanswered batches, without this one.
        batches: u32,
        /// Bytes of them.
        bytes: u64,
    },
    /// The sender waits for more than any real one can.
    #[error(
        "the numbers of the sender's unacknowledged batches form {runs} ranges, over the limit of \
         {RUNS_MAX}; the connection is closed; report this as a bug of the sender"
    )]
    Awaited {
        /// Runs of sequences.
        runs: usize,
    },
}

/// Maximum number of runs of sequences that one sender may wait for; batches in order add none.
const RUNS_MAX: usize = 1 << 20;

/// The batches of a Hello that Welcome reports as stored and committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Batches that are durable here or settled.
    pub stored: KeySet,
    /// Batches that are committed.
    pub committed: KeySet,
}

/// The next message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These puts are durable here.
    Stored(KeySet),
    /// These batches are committed.
    Committed(KeySet),
}

/// The receiving half of one stream.
#[derive(Debug)]
pub struct Receiver {
    window: Window,
    greeted: bool,
    batches: u32,
    bytes: u64,
    /// Batches whose `Committed` the sender waits for.
    awaited: KeySet,
    /// At least as many as the runs in `awaited`.
    runs: usize,
    stored: KeySet,
    committed: KeySet,
    declared: Declared,
}

impl Receiver {
    /// Creates the receiver of a new stream whose sender gets this window.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            greeted: false,
            batches: 0,
            bytes: 0,
            awaited: KeySet::default(),
            runs: 0,
            stored: KeySet::default(),
            committed: KeySet::default(),
            declared: Declared::default(),
        }
    }

    /// Handles a Hello: the sender holds `keys` and asks for their state. Calls `known` once for
    /// each life among them.
    ///
    /// # Errors
    /// The sender violates the protocol; the caller must end the stream.
    pub fn hello(
        &mut self,
        keys: &KeySet,
        known: impl Fn(Origin, Epoch) -> Known,
    ) -> Result<Answer, Violation> {
        self.greeted = true;
        let mut answer = Answer::default();
        for (origin, epoch, held) in keys.iter() {
            let known = known(origin, epoch);
            let committed = known.committed.intersection(held);
            let mut stored = known.stored.intersection(held);
            stored.insert_all(&committed);
            answer.stored.insert_set(origin, epoch, &stored);
            answer.committed.insert_set(origin, epoch, &committed);
        }
        self.awaited.insert_all(keys);
        self.awaited.remove_all(&answer.committed);
        self.grown_by(runs(keys))?;
        Ok(answer)
    }

    /// Records the floors that the sender declares in the Hello with this answer. Returns the
    /// floors that take effect now: stored batches of an origin have arrived on an earlier stream.
    pub fn declared(&mut self, floors: &Floors, answer: &Answer) -> Floors {
        let mut counting = self.declared.declare(floors);
        for (origin, ..) in answer.stored.iter() {
            counting.raise_all(&self.declared.carried(origin).unwrap_or_default());
        }
        counting
    }

    /// Records that a batch of `origin` from this stream is stored. Returns the floor that takes
    /// effect now, if one was waiting for such a batch.
    pub fn carried(&mut self, origin: Origin) -> Option<Floors> {
        self.declared.carried(origin)
    }

    /// Adds to the upper bound of runs, and counts them exactly when the bound exceeds the limit.
    fn grown_by(&mut self, added: usize) -> Result<(), Violation> {
        self.runs += added;
        if self.runs > RUNS_MAX {
            self.runs = runs(&self.awaited);
        }
        if self.runs > RUNS_MAX { Err(Violation::Awaited { runs: self.runs }) } else { Ok(()) }
    }

    /// Handles a put with a body of `bytes` bytes.
    ///
    /// # Errors
    /// The sender violates the protocol; the caller must end the stream.
    pub fn put(&mut self, identity: Identity, bytes: u64) -> Result<(), Violation> {
        if !self.greeted {
            return Err(Violation::NotGreeted { identity });
        }
        let admitted = self.batches == 0
            || (self.batches < self.window.batches && self.bytes + bytes <= self.window.bytes);
        if !admitted {
            let Self { batches, bytes, .. } = *self;
            return Err(Violation::OverWindow { identity, batches, bytes });
        }
        self.batches += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Records that the channels have stored a put of `bytes` bytes. `known` is the current state
    /// of its life.
    ///
    /// # Errors
    /// The sender violates the protocol; the caller must end the stream.
    pub fn stored(
        &mut self,
        identity: Identity,
        bytes: u64,
        known: &Known,
    ) -> Result<(), Violation> {
        self.answered(bytes);
        self.stored.insert(identity);
        if known.committed.contains(identity.sequence.0) {
            self.awaited.remove(identity);
            self.committed.insert(identity);
            Ok(())
        } else {
            self.awaited.insert(identity);
            self.grown_by(1)
        }
    }

    /// Records that a put of `bytes` bytes was refused or returned to the sender.
    pub fn answered(&mut self, bytes: u64) {
        self.batches = self.batches.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Batches have become committed.
    pub fn committed(&mut self, keys: &KeySet) {
        let ours = keys.intersection(&self.awaited);
        self.awaited.remove_all(&ours);
        self.committed.insert_all(&ours);
    }

    /// Asks for the state of all awaited batches again, after some commit notifications were
    /// missed.
    pub fn recount(&mut self, known: impl Fn(Origin, Epoch) -> Known) {
        let mut committed = KeySet::default();
        for (origin, epoch, held) in self.awaited.iter() {
            let ours = known(origin, epoch).committed.intersection(held);
            committed.insert_set(origin, epoch, &ours);
        }
        self.committed(&committed);
    }

    /// Puts that have no answer yet.
    pub fn unanswered(&self) -> u32 {
        self.batches
    }

    /// Returns `true` if the sender still waits for a `Committed`.
    pub fn owes(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Returns how many lives and runs the sender waits for, in time proportional to the lives.
    pub fn awaited(&self) -> Extent {
        let mut extent = Extent::default();
        for (_, _, sequences) in self.awaited.iter() {
            extent.lives += 1;
            extent.runs += sequences.runs().len() as u64;
        }
        extent
    }

    /// Returns the next reply: `Stored` before `Committed`.
    pub fn next_reply(&mut self) -> Option<Reply> {
        if !self.stored.is_empty() {
            return Some(Reply::Stored(std::mem::take(&mut self.stored)));
        }
        let due = !self.committed.is_empty();
        due.then(|| Reply::Committed(std::mem::take(&mut self.committed)))
    }
}

/// Runs of sequences in all lives together.
fn runs(keys: &KeySet) -> usize {
    keys.iter().map(|(_, _, sequences)| sequences.runs().len()).sum()
}

#[cfg(test)]
mod tests;
