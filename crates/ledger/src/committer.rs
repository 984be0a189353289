//! Decides the next step to get an entry into the ledger, for any answer of the store. Pure: no
//! clock, no I/O.
//!
//! ```text
//!             ┌────────────────────── at the end, none of mine: same files, next index ──┐
//!             ▼                                                                          │
//!  new ─► PREPARING ─prepared─► WINNING ─won─► Won                                       │
//!                                │  ▲                                                    │
//!       taken, missing, no answer│  │nothing there: the same rename again                │
//!                                ▼  │                                                    │
//!                               ASKING ─another's entry─► READING ─entry─► READING ──────┘
//!                                │                           └─ some of mine are in it:
//!                                └─mine─► Won                   Overlap or Settled
//! ```
//!
//! If the generation is sealed or deleted, RELOADING loads the newest one and reads it to its end.
//! Everything in its checkpoint is published: if it contains some of my batches, they were
//! committed, and the author does not matter. A fence in its checkpoint is in force, whichever
//! collector set it.
//!
//! # Rules (each has a test that fails without it)
//!
//! 1. If an index is taken, its entry is read before another index is tried: the entry decides.
//! 2. Batches in an earlier entry are left out.
//! 3. A missing answer means neither success nor failure: the index is read.
//! 4. An entry of this very attempt is a win, however late it is noticed.
//! 5. "Not found" decides nothing: after a win whose answer was lost, the prepared entry is missing
//!    too.
//! 6. A fenced writer stops, because its staged files may be deleted.
//! 7. A batch of an epoch that the ledger has closed counts as part of an earlier entry.
//! 8. Files that another entry may have merged since they were listed are not merged.

use pipeline::KeySet;
use support::mutant;

use crate::{Entry, Merge, Token, Totals, View, WriterId};

/// An attempt to get one entry into the ledger.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The writer that tries.
    pub author: WriterId,
    /// Identifies the attempt; part of its entry.
    pub token: Token,
    /// The kind of entry to write.
    pub kind: AttemptKind,
}

/// The kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptKind {
    /// These staged files contain these batches.
    Commit {
        /// The batches.
        keys: KeySet,
        /// Totals of the files.
        volume: Totals,
    },
    /// This author is taken for dead.
    Fence(WriterId),
    /// Closes the generation.
    Seal(u64),
    /// Merges these files into one.
    Merge {
        /// The files.
        merge: Merge,
        /// Generation and index up to which the ledger was read before they were listed.
        at: (u64, u64),
    },
}

/// The next step of the loop around the committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the entry for this index and close it.
    Prepare(u64),
    /// Rename the prepared entry to this index, replacing nothing.
    Win(u64),
    /// Read the entry at this index.
    Read(u64),
    /// Look up the newest generation, and read its checkpoint.
    Reload,
    /// Stop.
    Done(Verdict),
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It won this index. Files of a commit must be published.
    Won(u64),
    /// Other entries contain all of it, or make it void. Files of a commit must be deleted.
    Settled,
    /// Other entries contain these batches; roll the rest again.
    Overlap(KeySet),
    /// This author was fenced; continue as a new incarnation.
    Fenced,
    /// The generation is sealed, and its successor does not exist yet.
    Sealed,
    /// The prepared entry is missing and has not won.
    Withdrawn,
}

/// The outcome of a step.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The entry is prepared.
    Prepared,
    /// The rename was done.
    Won,
    /// The index is taken.
    Taken,
    /// The rename found something missing.
    Missing,
    /// The rename may or may not have been done.
    Unknown,
    /// The entry at that index.
    Entry(Box<Entry>),
    /// The index is free.
    NoEntry,
    /// The view at the beginning of the newest generation.
    Reloaded(Box<View>),
}

/// The rules in force: all, except in tests that show the purpose of each.
#[derive(Debug, Clone, Copy)]
struct Rules {
    read_what_is_taken: bool,
    leave_out_what_is_known: bool,
    look_after_silence: bool,
    know_own_entry: bool,
    missing_decides_nothing: bool,
    heed_own_fence: bool,
}

impl Rules {
    /// Returns all rules, except the one that a planted bug breaks.
    fn in_force() -> Self {
        Self {
            read_what_is_taken: !mutant!("taken_not_read"),
            leave_out_what_is_known: !mutant!("known_not_left_out"),
            look_after_silence: !mutant!("silence_is_success"),
            know_own_entry: !mutant!("own_entry_unknown"),
            missing_decides_nothing: true,
            heed_own_fence: !mutant!("fence_not_heeded"),
        }
    }
}

#[derive(Debug)]
enum State {
    Preparing(u64),
    Winning(u64),
    /// A rename to this index did not succeed; the flag is true if it found something missing.
    Asking(u64, bool),
    /// The index belongs to another author; the entries after it are read to the end.
    Reading,
    /// The generation is sealed or deleted.
    Reloading,
    Done(Verdict),
}

/// The state machine of one attempt.
#[derive(Debug)]
pub struct Committer {
    attempt: Attempt,
    state: State,
    rules: Rules,
}

impl Committer {
    /// Starts an attempt from the known part of the ledger.
    pub fn new(attempt: Attempt, view: &View) -> Self {
        Self::with_rules(attempt, view, Rules::in_force())
    }

    fn with_rules(attempt: Attempt, view: &View, rules: Rules) -> Self {
        let mut committer = Self { attempt, state: State::Reading, rules };
        committer.decide(view);
        committer
    }

    /// Returns the next step. `view` must be the one that is passed to [`Committer::on`].
    pub fn step(&self, view: &View) -> Step {
        match &self.state {
            State::Preparing(index) => Step::Prepare(*index),
            State::Winning(index) => Step::Win(*index),
            State::Asking(index, _) => Step::Read(*index),
            State::Reading => Step::Read(view.next()),
            State::Reloading => Step::Reload,
            State::Done(verdict) => Step::Done(verdict.clone()),
        }
    }

    /// Processes the outcome of the step. Adds entries that were read to `view`.
    ///
    /// # Panics
    /// If the outcome belongs to another step than the requested one, which is a bug of the loop.
    pub fn on(&mut self, outcome: Outcome, view: &mut View) {
        match (&self.state, outcome) {
            (State::Preparing(index), Outcome::Prepared) => self.state = State::Winning(*index),
            (State::Winning(index), Outcome::Won) => self.won(*index, view),
            (State::Winning(index), Outcome::Taken) if !self.rules.read_what_is_taken => {
                view.absorb_commit(*index, &KeySet::default(), Totals::default());
                self.state = State::Preparing(*index + 1);
            }
            (State::Winning(index), Outcome::Unknown) if !self.rules.look_after_silence => {
                self.won(*index, view);
            }
            (State::Winning(_), Outcome::Missing) if !self.rules.missing_decides_nothing => {
                self.state = State::Done(Verdict::Withdrawn);
            }
            (State::Winning(index), Outcome::Taken | Outcome::Unknown) => {
                self.state = State::Asking(*index, false);
            }
            (State::Winning(index), Outcome::Missing) => self.state = State::Asking(*index, true),
            (State::Asking(index, _), Outcome::Entry(entry)) => {
                if entry.attempt == self.attempt.token && self.rules.know_own_entry {
                    self.won(*index, view);
                } else {
                    view.absorb(&entry);
                    self.state = State::Reading;
                }
            }
            // The prepared entry is missing, or the generation.
            (State::Asking(_, true), Outcome::NoEntry) => self.state = State::Reloading,
            // Only the same rename is allowed here: the first one may still be in progress.
            (State::Asking(index, false), Outcome::NoEntry) => self.state = State::Winning(*index),
            (State::Reading, Outcome::Entry(entry)) => view.absorb(&entry),
            (State::Reading, Outcome::NoEntry) => self.decide(view),
            (State::Reloading, Outcome::Reloaded(newest)) => {
                if newest.generation() > view.generation() {
                    *view = *newest;
                    self.state = self.reloaded(view);
                } else if view.is_sealed() {
                    self.state = State::Done(Verdict::Sealed);
                } else {
                    self.state = State::Done(Verdict::Withdrawn);
                }
            }
            (state, outcome) => panic!("{outcome:?} is no outcome of {state:?}"),
        }
    }

    /// Handles a newer generation: its contents decide, and earlier entries are not read.
    fn reloaded(&self, view: &View) -> State {
        let AttemptKind::Commit { keys, .. } = &self.attempt.kind else { return State::Reading };
        if mutant!("checkpoint_not_searched") {
            return State::Preparing(view.next());
        }
        if mutant!("checkpoint_is_own_win") && view.settled_of(keys) == *keys {
            return State::Done(Verdict::Won(view.next()));
        }
        State::Reading
    }

    fn won(&mut self, index: u64, view: &mut View) {
        match &self.attempt.kind {
            AttemptKind::Commit { keys, volume } => view.absorb_commit(index, keys, *volume),
            AttemptKind::Fence(author) => view.absorb_fence(index, *author),
            AttemptKind::Seal(_) => view.absorb_seal(index),
            AttemptKind::Merge { merge, .. } => view.absorb_merge(index, merge),
        }
        self.state = State::Done(Verdict::Won(index));
    }

    /// Decides, after all entries were read, whether an entry is still needed, and at which index.
    fn decide(&mut self, view: &View) {
        let said = match &self.attempt.kind {
            _ if view.is_fenced(self.attempt.author) && self.rules.heed_own_fence => {
                Some(Verdict::Fenced)
            }
            AttemptKind::Commit { keys, .. } => self.held_elsewhere(keys, view),
            AttemptKind::Fence(author) => view.is_fenced(*author).then_some(Verdict::Settled),
            AttemptKind::Seal(generation) => {
                let sealed = view.is_sealed() || view.generation() > *generation;
                sealed.then_some(Verdict::Settled)
            }
            AttemptKind::Merge { merge, at } => {
                view.is_stale(merge.directory(), *at).then_some(Verdict::Settled)
            }
        };
        self.state = match said {
            Some(verdict) => State::Done(verdict),
            None if view.is_sealed() && !mutant!("behind_the_seal") => State::Reloading,
            None => State::Preparing(view.next()),
        };
    }

    fn held_elsewhere(&self, keys: &KeySet, view: &View) -> Option<Verdict> {
        let known = view.settled_of(keys);
        if known.is_empty() || !self.rules.leave_out_what_is_known {
            None
        } else if known == *keys {
            Some(Verdict::Settled)
        } else {
            Some(Verdict::Overlap(known))
        }
    }
}

#[cfg(test)]
mod tests;
