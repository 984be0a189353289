//! The receiving half of the protocol for one stream, as a pure state machine: no clock, no I/O.
//!
//! It keeps account of what the sender may still put, and of what it is owed: `Stored` for each put
//! that the channels have, `Committed` for each batch that it asked about or put. Answers that are
//! due at the same time become one message.
//!
//! # Rules
//!
//! 1. `Stored` is said of a batch only after [`Receiver::stored`] was called for it.
//! 2. A batch that was committed before it was put (again) is answered with both words at once:
//!    no message would say the second one later.
//! 3. `Committed` is said of what this sender waits for and of nothing else: what it costs is
//!    bounded by what the sender holds.
//! 4. A floor counts once a batch of its origin has come on the same stream: what a sender says of
//!    origins that it does not carry is not kept.
//! 5. A sender that puts more than its window, or waits for more than any real one can, is cut off:
//!    memory is promised to others as well.

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
    /// A put came before the first Hello.
    #[error("the sender put batch {identity} before it said Hello")]
    NotGreeted {
        /// The batch.
        identity: Identity,
    },
    /// More is without an answer than the window allows.
    #[error(
        "the sender put batch {identity} with {batches} batches and {bytes} bytes unanswered, over \
         its window"
    )]
    OverWindow {
        /// The batch.
        identity: Identity,
        /// Batches without an answer, this one not counted.
        batches: u32,
        /// Bytes of them.
        bytes: u64,
    },
    /// The sender waits for more than any real one can.
    #[error("the sender holds unsettled batches in {runs} separate runs, over {RUNS_MAX}")]
    Awaited {
        /// Runs of sequences.
        runs: usize,
    },
}

/// Runs of sequences that one sender may wait for; a batch in order makes no new one.
const RUNS_MAX: usize = 1 << 20;

/// What Welcome says of the batches in a Hello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Those that are durable here or settled.
    pub stored: KeySet,
    /// Those that are committed.
    pub committed: KeySet,
}

/// What is to be said next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These puts are durable here.
    Stored(KeySet),
    /// These are where they belong.
    Committed(KeySet),
}

/// The receiving half of one stream.
#[derive(Debug)]
pub struct Receiver {
    window: Window,
    greeted: bool,
    batches: u32,
    bytes: u64,
    /// What the sender waits to hear `Committed` of.
    awaited: KeySet,
    /// At least as many as the runs in `awaited`.
    runs: usize,
    stored: KeySet,
    committed: KeySet,
    declared: Declared,
}

impl Receiver {
    /// The receiver of a new stream whose sender gets this window.
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

    /// The sender holds `keys` and asks what is known of them. `known` is asked once for each life
    /// among them.
    ///
    /// # Errors
    /// The sender breaks the protocol; the stream is to be ended.
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

    /// The sender declares these floors in the Hello with this answer; answers those that count by
    /// now. What is stored of its batches came on an earlier stream of it.
    pub fn declared(&mut self, floors: &Floors, answer: &Answer) -> Floors {
        let mut counting = self.declared.declare(floors);
        for (origin, ..) in answer.stored.iter() {
            counting.raise_all(&self.declared.carried(origin).unwrap_or_default());
        }
        counting
    }

    /// A batch of `origin` that came on this stream is stored here; answers the floor that counts
    /// from now on, if one waited for that.
    pub fn carried(&mut self, origin: Origin) -> Option<Floors> {
        self.declared.carried(origin)
    }

    /// Counts the runs anew when the sum of what was added says that there may be too many.
    fn grown_by(&mut self, added: usize) -> Result<(), Violation> {
        self.runs += added;
        if self.runs > RUNS_MAX {
            self.runs = runs(&self.awaited);
        }
        if self.runs > RUNS_MAX { Err(Violation::Awaited { runs: self.runs }) } else { Ok(()) }
    }

    /// A put has arrived, with `bytes` of body.
    ///
    /// # Errors
    /// The sender breaks the protocol; the stream is to be ended.
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

    /// The channels have a put of `bytes`, and `known` is what they know of its life by now.
    ///
    /// # Errors
    /// The sender breaks the protocol; the stream is to be ended.
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

    /// A put of `bytes` is answered otherwise: refused, or given back.
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

    /// Some word of what became committed was missed: everything awaited is asked for anew.
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

    /// Whether the sender is still owed the word that something is committed.
    pub fn owes(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// How much the sender waits for. Takes as long as there are lives.
    pub fn awaited(&self) -> Extent {
        let mut extent = Extent::default();
        for (_, _, sequences) in self.awaited.iter() {
            extent.lives += 1;
            extent.runs += sequences.runs().len() as u64;
        }
        extent
    }

    /// What to say next: `Stored` before `Committed`.
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
