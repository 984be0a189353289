//! What is stored with the changes: how far they are.
//!
//! ```text
//!   log of the server   ──[ transaction ]──[ transaction ]──[ tra|nsaction ]──►
//!                                                           ▲    ▲
//!                                                         done   part: its commit, and how many
//!                                                                of its changes are stored
//! ```
//!
//! 1. Everything that was committed before `done` is stored, or is not of these tables.
//! 2. The server hears of no place behind the `done` that the channel has: what it throws away is
//!    stored.
//! 3. A transaction comes again with the same changes in the same order, since both are read from
//!    the same log. So the number of its stored changes says which ones to drop.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::change::Lsn;

/// Key of the position.
pub(super) const KEY: &str = "state";

/// How far the source is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Rises with each batch.
    pub(super) number: u64,
    /// Digest of what is read.
    pub(super) of: u64,
    pub(super) phase: Phase,
    pub(super) done: Lsn,
    /// The transaction that is stored in part.
    #[serde(default)]
    pub(super) part: Option<Part>,
    /// The log that `done` is a place of, where a server does not keep that by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<Log>,
}

/// A log without a slot, and what it has to have for `done` to be a place of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    /// Name of its files without their numbers.
    pub(super) base: String,
    /// What a server that is asked for it has to say, too.
    #[serde(alias = "gtids")]
    pub(super) proof: String,
}

/// What the source is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Nothing is made.
    #[default]
    New,
    /// The slot is made, perhaps, and rows are read. Not ended: it begins anew.
    Snapshot {
        /// Rows of it are stored, which a new one makes void.
        has_rows: bool,
    },
    /// Changes are read.
    Changes,
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Changes are read on from here.
    Changes(State),
    /// A place in the log is taken, and perhaps a snapshot read.
    Make {
        /// What is stored is void: a `truncate` event comes first.
        is_void: bool,
        /// Changes were lost.
        is_lost: bool,
    },
}

/// A transaction that is stored in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) commit: Lsn,
    /// So many of its changes.
    pub(super) changes: u64,
}

impl State {
    /// As the channel knows it.
    ///
    /// # Errors
    /// It is of another version.
    pub(super) fn read(known: &[(Bytes, Bytes)]) -> Result<Option<Self>, String> {
        let value = known.iter().find(|(key, _)| *key == KEY).map(|(_, value)| value);
        let state = value.map(|value| serde_json::from_slice(value)).transpose();
        state.map_err(|error| format!("the position `{KEY}` cannot be read: {error}"))
    }

    /// How many changes of the transaction with this commit are stored; all of them: `None`.
    pub(super) fn stored(&self, commit: Lsn) -> Option<u64> {
        if commit < self.done {
            return None;
        }
        Some(self.part.filter(|part| part.commit == commit).map_or(0, |part| part.changes))
    }
}

/// Whether a channel lacks the batch of this number.
pub(super) fn lacks(known: &[(Bytes, Bytes)], number: u64) -> bool {
    State::read(known).ok().flatten().is_none_or(|state| state.number < number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_of_a_transaction_is_known_by_its_commit() {
        let part = Some(Part { commit: Lsn(120), changes: 3 });
        let state = State { done: Lsn(100), part, ..State::default() };
        // The record of a commit begins at its place: the one at `done` is not stored.
        for (commit, stored) in [(99, None), (100, Some(0)), (120, Some(3)), (121, Some(0))] {
            assert_eq!(state.stored(Lsn(commit)), stored, "{commit}");
        }
        let value = serde_json::to_vec(&state).unwrap();
        let known = [(Bytes::from(KEY), Bytes::from(value))];
        // As it was written before there were other proofs.
        let earlier =
            r#"{"number":1,"of":2,"phase":"changes","done":3,"log":{"base":"b","gtids":"0-1-7"}}"#;
        let earlier = State::read(&[(Bytes::from(KEY), Bytes::from(earlier))]).unwrap().unwrap();
        assert_eq!(earlier.log.unwrap().proof, "0-1-7");
        assert_eq!(State::read(&known), Ok(Some(state)));
        assert_eq!((lacks(&known, 0), lacks(&known, 1), lacks(&[], 1)), (false, true, true));
    }
}
