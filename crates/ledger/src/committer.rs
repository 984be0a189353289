//! What to do next to get an entry into the ledger, whatever the store answers. Pure: no clock, no
//! I/O.
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
//! Where the generation is sealed, or gone, RELOADING takes the newest one and reads that to its
//! end. What is in its checkpoint is published: if some of mine is, it was won, and the winner
//! does not matter. A fence that its checkpoint has stands, whatever put it up.
//!
//! # Rules (each has a test that fails without it)
//!
//! 1. An index that is taken is read before another is tried: what it holds decides.
//! 2. A batch that an earlier entry holds is left out.
//! 3. No answer is neither yes nor no: the index is looked at.
//! 4. An entry of this very attempt is a win, however late it is noticed.
//! 5. "Not found" decides nothing: after a win whose answer was lost, the prepared entry is missing
//!    just so.
//! 6. A writer that was taken for dead stops: what it staged may be gone.
//! 7. A batch of an epoch that the ledger has closed counts as held by an earlier entry.
//! 8. Files that another entry may have merged since they were listed are not merged.

use pipeline::KeySet;
use support::mutant;

use crate::{Entry, Merge, Token, Totals, View, WriterId};

/// One try to get one entry into the ledger.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The writer that tries.
    pub author: WriterId,
    /// Names the try; stands in its entry.
    pub token: Token,
    /// What the entry is to say.
    pub kind: AttemptKind,
}

/// What an entry is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptKind {
    /// These staged files hold these batches.
    Commit {
        /// The batches.
        keys: KeySet,
        /// What the files come to.
        volume: Totals,
    },
    /// This author is taken for dead.
    Fence(WriterId),
    /// Nothing follows in this generation.
    Seal(u64),
    /// These files become one.
    Merge {
        /// The files.
        merge: Merge,
        /// Generation and index up to which the ledger was read before they were listed.
        at: (u64, u64),
    },
}

/// What the loop around does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write the entry for this index and close it.
    Prepare(u64),
    /// Rename the prepared entry to this index, replacing nothing.
    Win(u64),
    /// Read what stands at this index.
    Read(u64),
    /// Look up the newest generation, and read its checkpoint.
    Reload,
    /// Stop.
    Done(Verdict),
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stands as this entry. Files of a commit are to be published.
    Won(u64),
    /// Other entries say all of it, or make it void. Files of a commit are to be deleted.
    Settled,
    /// Other entries hold these batches; write the rest anew.
    Overlap(KeySet),
    /// This author was taken for dead; go on as a new one.
    Fenced,
    /// The generation is sealed, and its successor is not made yet.
    Sealed,
    /// The prepared entry is gone and won nothing.
    Withdrawn,
}

/// What came of a step.
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
    /// This entry stands there.
    Entry(Box<Entry>),
    /// Nothing stands there.
    NoEntry,
    /// What is known at the beginning of the newest generation.
    Reloaded(Box<View>),
}

/// Which rules are in force: all of them, but in the tests that show what each is for.
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
    /// All of them, but for the one that a planted bug breaks.
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
    /// A rename to this index did not say yes; whether it found something missing.
    Asking(u64, bool),
    /// The index that was tried is another's; what follows it is read to the end.
    Reading,
    /// The generation ends here, or is not there any more.
    Reloading,
    Done(Verdict),
}

/// One try on its way through the ledger.
#[derive(Debug)]
pub struct Committer {
    attempt: Attempt,
    state: State,
    rules: Rules,
}

impl Committer {
    /// Begins a try, on what is known of the ledger.
    pub fn new(attempt: Attempt, view: &View) -> Self {
        Self::with_rules(attempt, view, Rules::in_force())
    }

    fn with_rules(attempt: Attempt, view: &View, rules: Rules) -> Self {
        let mut committer = Self { attempt, state: State::Reading, rules };
        committer.decide(view);
        committer
    }

    /// What is to be done now. `view` is the one that [`Committer::on`] is given.
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

    /// Takes in what came of the step. Entries that were read are added to `view`.
    ///
    /// # Panics
    /// If the outcome is of another step than the one asked for: that is a bug of the loop.
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
            // Nothing else but the same rename: the first one may still be under way.
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

    /// A newer generation was found: what it holds decides, and nothing before that is read.
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

    /// With everything read: is there still something to say, and where?
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
