//! The position stored with the changes.
//!
//! ```text
//!   log of the server   ──[ transaction ]──[ transaction ]──[ tra|nsaction ]──►
//!                                                           ▲    ▲
//!                                                         done   part: its commit, and how many
//!                                                                of its changes are stored
//! ```
//!
//! 1. Everything committed before `done` is stored, or does not concern these tables.
//! 2. The server learns only positions up to the `done` in the channel, so that it deletes nothing
//!    that is not stored.
//! 3. A repeated transaction has the same changes in the same order, because both reads use the
//!    same log. The number of its stored changes therefore tells which ones to drop.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::change::Lsn;

/// Key of the position.
pub(super) const KEY: &str = "state";

/// Progress of the source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Incremented with each batch. Earlier versions read it.
    pub(super) number: u64,
    /// Digest of the captured tables.
    pub(super) of: u64,
    pub(super) phase: Phase,
    pub(super) done: Lsn,
    /// The partially stored transaction.
    #[serde(default)]
    pub(super) part: Option<Part>,
    /// The log that `done` belongs to, if the server does not track it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<Log>,
}

/// A log without a slot, and the proof that `done` belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    /// Name of its files without their numbers.
    pub(super) base: String,
    /// The proof that the server must confirm.
    #[serde(alias = "gtids")]
    pub(super) proof: String,
}

/// Phase of the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Nothing has been created.
    #[default]
    New,
    /// The slot may exist, and rows are being read. If unfinished, it starts again.
    Snapshot {
        /// Whether rows are stored, which a new snapshot makes void.
        has_rows: bool,
    },
    /// Changes are being read.
    Changes,
}

/// The next step.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Continue with changes from here.
    Changes(State),
    /// Take a position in the log, and maybe a snapshot.
    Make {
        /// Stored rows are void: send a `truncate` event first.
        is_void: bool,
        /// Changes were lost.
        is_lost: bool,
    },
}

/// A partially stored transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) commit: Lsn,
    /// Number of its stored changes.
    pub(super) changes: u64,
}

impl State {
    /// Reads the position from the channel.
    ///
    /// # Errors
    /// It has an unknown version.
    pub(super) fn read(known: &[(Bytes, Bytes)]) -> Result<Option<Self>, String> {
        let value = known.iter().find(|(key, _)| *key == KEY).map(|(_, value)| value);
        let state = value.map(|value| serde_json::from_slice(value)).transpose();
        state.map_err(|error| {
            format!(
                "cannot decode the position `{KEY}` in the channel: {error}; another version wrote \
                 it: run that version, or rename the source to start again"
            )
        })
    }

    /// Returns how many changes of the transaction with this commit are stored; `None` for all.
    pub(super) fn stored(&self, commit: Lsn) -> Option<u64> {
        if commit < self.done {
            return None;
        }
        Some(self.part.filter(|part| part.commit == commit).map_or(0, |part| part.changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_shows_which_changes_are_stored() {
        let part = Some(Part { commit: Lsn(120), changes: 3 });
        let state = State { done: Lsn(100), part, ..State::default() };
        // The record of a commit starts at its position, so the one at `done` is not stored.
        for (commit, stored) in [(99, None), (100, Some(0)), (120, Some(3)), (121, Some(0))] {
            assert_eq!(state.stored(Lsn(commit)), stored, "{commit}");
        }
        let value = serde_json::to_vec(&state).unwrap();
        let known = [(Bytes::from(KEY), Bytes::from(value))];
        // The format before there were other proofs.
        let earlier =
            r#"{"number":1,"of":2,"phase":"changes","done":3,"log":{"base":"b","gtids":"0-1-7"}}"#;
        let earlier = State::read(&[(Bytes::from(KEY), Bytes::from(earlier))]).unwrap().unwrap();
        assert_eq!(earlier.log.unwrap().proof, "0-1-7");
        assert_eq!(State::read(&known), Ok(Some(state)));
    }
}
