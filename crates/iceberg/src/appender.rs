//! Decides the next step to get the entries of a commit ledger into a table, for any answer of the
//! catalog. Pure: no clock, no I/O.
//!
//! ```text
//!  RECALL ─record─► LOAD ─table─► number: all entries below it are in the table
//!    ▲                             │ fewer than the ledger has
//!    │                             ▼
//!    │                           GATHER ─files─► APPEND: files and the new number, in one commit
//!    │                                             │     on the base that was loaded
//!    └──────────── no answer, conflict ────────────┤
//!                                                  └─ done ─► RECORD the number in the store
//! ```
//!
//! The number is a property of the table. A commit changes it together with the snapshot, and
//! requires that the snapshot is still the loaded one. So of two commits on one base, one wins, and
//! the number in a table always describes its rows. A rollback of the table keeps the number: the
//! removed rows stay removed.
//!
//! The record in the store has the identity of the table and a lower bound of the number. It shows
//! when a table was replaced, or lost its number. Before the first commit, it has no identity, and
//! the number is the end of the ledger when the table was configured.
//!
//! # Rules (each has a test that fails without it)
//!
//! 1. After a missing or negative answer to a commit, the table is loaded again: it decides.
//! 2. A commit sets the number.
//! 3. A table with another identity is not touched.
//! 4. A table without the number, or with a smaller one than recorded, is not touched.
//! 5. The record is read before the table, so its number is never the larger one. Before the first
//!    commit it is read after the table, too: another collector may have made that commit.

use ledger::TableRecord;
use support::mutant;

/// The part of a loaded table that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Identity of the table.
    pub uuid: String,
    /// The number, if the table has it.
    pub number: Option<u64>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the record in the store, and the end of the ledger.
    Recall,
    /// Load the table.
    Load,
    /// Create the table.
    Create,
    /// Read the ledger to its end.
    ReadLedger,
    /// Collect files of entries, from this index on.
    Gather(u64),
    /// Commit the files of these entries to the loaded table, and this number.
    Append {
        /// First entry.
        from: u64,
        /// Entry after the last one.
        to: u64,
        /// The new number.
        number: u64,
    },
    /// Record how far the table got.
    Record(TableRecord),
    /// Stop.
    Done(Verdict),
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The table has all entries below this index. Files of later ones are not visible yet.
    UpTo(u64),
    /// Other writers were faster, or no commit got an answer; retry later.
    Contended,
    /// An operator must decide.
    Stopped(Stop),
}

/// Why nothing is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The table does not exist.
    Missing {
        /// Whether it existed before.
        was_there: bool,
    },
    /// The table was dropped and created again.
    Replaced {
        /// The recorded identity.
        recorded: String,
        /// The identity of the table.
        found: String,
        /// The recorded number.
        number: u64,
    },
    /// The table has no number.
    NumberMissing {
        /// The recorded number.
        number: u64,
    },
    /// The number of the table is smaller than the recorded one.
    NumberFell {
        /// The number of the table.
        found: u64,
        /// The recorded number.
        number: u64,
    },
    /// The number of the table is larger than the ledger.
    LedgerShorter {
        /// The number of the table.
        found: u64,
        /// The end of the ledger.
        end: u64,
    },
    /// The ledger has forgotten entries that the table lacks.
    Forgotten {
        /// The number of the table.
        number: u64,
        /// The first entry that the ledger still has.
        kept_from: u64,
    },
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The record, and the end of the ledger.
    Recalled(TableRecord, u64),
    /// The table; `None` if it does not exist.
    Loaded(Option<Seen>),
    /// The table was created, or existed.
    Created,
    /// The new end of the ledger.
    LedgerRead(u64),
    /// The files of entries up to this index are visible, and known from the second one on.
    Gathered {
        /// Entry after the last one with visible files.
        to: u64,
        /// First entry that the ledger still has.
        kept_from: u64,
    },
    /// The commit succeeded.
    Appended,
    /// The commit failed, or has no answer.
    Unsettled,
    /// The number is recorded.
    Recorded,
}

/// Attempts to commit before it returns [`Verdict::Contended`].
const TRIES_MAX: u32 = 5;

/// The state machine.
#[derive(Debug)]
pub struct Appender {
    step: Step,
    record: TableRecord,
    /// The end of the ledger, as far as it was read.
    end: u64,
    /// Whether missing tables are created.
    creates: bool,
    /// The loaded table.
    seen: Option<Seen>,
    was_recalled_twice: bool,
    was_ledger_read: bool,
    was_created: bool,
    tries: u32,
}

impl Appender {
    /// Starts. `creates` allows it to create the table.
    pub fn new(creates: bool) -> Self {
        Self {
            step: Step::Recall,
            record: TableRecord { uuid: None, number: 0 },
            end: 0,
            creates,
            seen: None,
            was_recalled_twice: false,
            was_ledger_read: false,
            was_created: false,
            tries: 0,
        }
    }

    /// Returns the next step.
    pub fn step(&self) -> Step {
        self.step.clone()
    }

    /// Processes the outcome of the step.
    ///
    /// # Panics
    /// If the outcome belongs to another step, which is a bug of the caller.
    pub fn on(&mut self, outcome: Outcome) {
        self.step = match (self.step.clone(), outcome) {
            (Step::Recall, Outcome::Recalled(record, end)) => {
                (self.record, self.end) = (record, end.max(self.end));
                match self.record {
                    // The loaded table had no number, and no collector has recorded one.
                    TableRecord { uuid: None, number } if self.was_recalled_twice => {
                        self.append(number, number)
                    }
                    _ => Step::Load,
                }
            }
            (Step::Load, Outcome::Loaded(seen)) => {
                self.seen = seen;
                self.decide()
            }
            (Step::Create, Outcome::Created) => {
                self.was_created = true;
                Step::Load
            }
            (Step::ReadLedger, Outcome::LedgerRead(end)) => {
                (self.end, self.was_ledger_read) = (end.max(self.end), true);
                self.decide()
            }
            (Step::Gather(from), Outcome::Gathered { to, kept_from }) => {
                if from < kept_from {
                    stopped(Stop::Forgotten { number: from, kept_from })
                } else if to <= from {
                    Step::Done(Verdict::UpTo(from))
                } else {
                    self.append(from, to)
                }
            }
            (Step::Append { to, .. }, Outcome::Appended) => self.appended(to),
            (same, Outcome::Unsettled) if matches!(same, Step::Append { .. }) => {
                self.tries += 1;
                match self.tries {
                    TRIES_MAX.. => Step::Done(Verdict::Contended),
                    _ if mutant!("table_not_loaded_after_silence") => same,
                    _ => {
                        self.was_recalled_twice = false;
                        Step::Recall
                    }
                }
            }
            (Step::Record(record), Outcome::Recorded) => {
                self.record = record;
                self.recorded()
            }
            (step, outcome) => panic!("{outcome:?} is no outcome of {step:?}"),
        }
    }

    /// Decides after the table was loaded.
    fn decide(&mut self) -> Step {
        let TableRecord { uuid, number } = self.record.clone();
        let Some(Seen { uuid: found, number: has }) = self.seen.clone() else {
            let was_there = uuid.is_some();
            return match self.creates && !was_there && !self.was_created {
                true => Step::Create,
                false => stopped(Stop::Missing { was_there }),
            };
        };
        if let Some(recorded) = &uuid
            && *recorded != found
            && !mutant!("table_identity_unchecked")
        {
            return stopped(Stop::Replaced { recorded: recorded.clone(), found, number });
        }
        let checks = uuid.is_some() && !mutant!("table_number_unchecked");
        match has {
            Some(has) if checks && has < number => stopped(Stop::NumberFell { found: has, number }),
            Some(has) if has > self.end => match self.was_ledger_read {
                false => Step::ReadLedger,
                true => stopped(Stop::LedgerShorter { found: has, end: self.end }),
            },
            Some(has) if uuid.is_none() || has > number => {
                Step::Record(TableRecord { uuid: Some(found), number: has })
            }
            Some(has) => self.from(has),
            None if checks => stopped(Stop::NumberMissing { number }),
            // The first commit has no files: it only sets the number.
            None if mutant!("table_record_not_read_twice") => self.append(number, number),
            None => {
                self.was_recalled_twice = true;
                Step::Recall
            }
        }
    }

    fn append(&self, from: u64, to: u64) -> Step {
        Step::Append { from, to, number: if mutant!("table_number_not_set") { from } else { to } }
    }

    fn appended(&mut self, to: u64) -> Step {
        let uuid = self.seen.as_ref().map(|seen| seen.uuid.clone());
        self.seen = None;
        Step::Record(TableRecord { uuid, number: to })
    }

    /// Continues after a number was recorded.
    fn recorded(&mut self) -> Step {
        match (&self.seen, self.record.number) {
            // The loaded table is still the newest one that is known.
            (Some(_), number) => self.from(number),
            (None, number) if number < self.end => Step::Load,
            (None, number) => Step::Done(Verdict::UpTo(number)),
        }
    }

    fn from(&self, number: u64) -> Step {
        if number < self.end { Step::Gather(number) } else { Step::Done(Verdict::UpTo(number)) }
    }
}

fn stopped(stop: Stop) -> Step {
    Step::Done(Verdict::Stopped(stop))
}

#[cfg(test)]
mod tests;
