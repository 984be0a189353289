//! Why the ledger could not be read or advanced.

use pipeline::{Classify, ErrorClass};
use storage::FsError;
use thiserror::Error;

use super::change::Change;
use super::frame::EntryError;

/// Why the ledger could not be read or advanced.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The store failed.
    #[error("cannot read or write the commit ledger; check the file system or bucket")]
    Store(#[from] FsError),
    /// This program cannot read an entry. Skipping it could repeat its batches.
    #[error("cannot read the file {path} of the commit ledger")]
    Entry {
        /// The file.
        path: String,
        /// The reason.
        #[source]
        source: EntryError,
    },
    /// The ledger is not as its collectors have left it: it was changed from outside.
    #[error("the commit ledger {path} was changed from outside, so nothing is stored: {change}")]
    Changed {
        /// The directory.
        path: String,
        /// The change.
        change: Change,
    },
    /// The ledger's directory contains no generation: it was damaged from outside.
    #[error(
        "the commit ledger {path} has no directory g0, g1, …, so its commit records are lost; \
         restore it from a backup, because an empty ledger would store all events again"
    )]
    NoGeneration {
        /// The directory.
        path: String,
    },
    /// A staged file has another length than what was written to it.
    #[error(
        "the uncommitted file {path} is {actual} bytes long instead of {expected}, so another \
         program changed it; its batches are written again; no event is lost; find the program \
         that writes below `_aqueduct`"
    )]
    Length {
        /// The file.
        path: String,
        /// Bytes that the store shows.
        actual: u64,
        /// Bytes that were written.
        expected: u64,
    },
    /// A committed file is neither staged nor published: it was removed from outside.
    #[error(
        "the committed file {path} was deleted, and its events are lost; restore it, for example \
         from the trash of HDFS or a snapshot"
    )]
    Vanished {
        /// The name it was to be published under.
        path: String,
    },
    /// A file that this program did not write has the name of a committed one.
    #[error(
        "a file of another program has the name {path}; move it away: the committed file waits as \
         {staged}"
    )]
    Occupied {
        /// The name.
        path: String,
        /// Path of the staged file.
        staged: String,
    },
    /// Directories refuse committed files, and too many of them wait, or a seal waits for them.
    #[error(
        "cannot publish {files} committed files to {path}: {cause}; make the directory writable \
         for this user, or remove the file in its place"
    )]
    Refused {
        /// Number of waiting files.
        files: usize,
        /// The directory, or one of them.
        path: String,
        /// The error of the store.
        cause: String,
    },
    /// Another collector has fenced this author; its staged files may be deleted.
    #[error(
        "another collector considered this one stopped and excluded it from the commit ledger \
         (fencing); no event is lost: the sink reopens and writes uncommitted batches again; no \
         action needed unless this repeats"
    )]
    Fenced,
    /// The prepared entry is missing, and the index is free: nothing was committed.
    #[error(
        "the prepared commit record {path} was deleted before the commit; no event is lost, its \
         batches are written again; if this repeats, find the program that deletes files below \
         `_aqueduct`"
    )]
    Withdrawn {
        /// The prepared entry.
        path: String,
    },
    /// The generation is sealed, and its successor could not be created.
    #[error(
        "the directory g{generation} of the commit ledger is complete, but the next one does not \
         exist yet; retrying; no event is lost; if this lasts, check that the collectors can write \
         to the ledger"
    )]
    Sealed {
        /// The generation.
        generation: u64,
    },
}

impl LedgerError {
    /// Returns `true` if the ledger was damaged or changed from outside, so that an operator has to
    /// decide how to continue.
    pub fn wants_decision(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Entry { .. } | Self::NoGeneration { .. })
    }
}

impl Classify for LedgerError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Length { .. }
            | Self::Refused { .. }
            | Self::Fenced
            | Self::Withdrawn { .. }
            | Self::Sealed { .. } => ErrorClass::Transient,
            Self::Changed { .. }
            | Self::Entry { .. }
            | Self::NoGeneration { .. }
            | Self::Vanished { .. }
            | Self::Occupied { .. } => ErrorClass::Blocked,
        }
    }
}
