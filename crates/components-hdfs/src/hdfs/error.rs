//! Errors of the sink.

use ledger::LedgerError;
use pipeline::{Classify, ErrorClass, SinkError};
use storage::FsError;
use thiserror::Error;

/// Why the sink could not store events.
#[derive(Debug, Error)]
pub enum HdfsSinkError {
    /// The store failed while a file was written.
    #[error("cannot write a file below `url`; no event is lost: its batches are written again")]
    Store(#[from] FsError),
    /// The encoder runs outside this process, and failed.
    #[error("cannot encode a file below `url`; its batches are written again later")]
    Encode(#[from] SinkError),
    /// The store of the commit ledger failed or is damaged.
    #[error(
        "cannot commit files below `url`; no event is lost: uncommitted batches are written again"
    )]
    Commit(#[from] LedgerError),
    /// The ledger was changed from outside: continuing could store committed batches again.
    #[error(
        "the commit ledger was deleted or changed from outside, so the sink stores nothing; to see \
         the change and repair it, run `{command}`"
    )]
    Undecided {
        /// The command that shows the change.
        command: String,
        /// The change.
        #[source]
        source: LedgerError,
    },
    /// The memory of the ledger cannot be read.
    #[error(
        "cannot read {path}, the local copy of the commit ledger, so the sink stores nothing; \
         check the disk and the permissions of the file"
    )]
    Memory {
        /// The file.
        path: String,
        /// The error of the disk.
        #[source]
        source: std::io::Error,
    },
    /// The number of this collector cannot be stored with its data.
    #[error(
        "cannot write the identity of this collector to {path}, so the sink stores nothing; make \
         the data directory writable"
    )]
    Identity {
        /// The file.
        path: String,
        /// The error of the disk.
        #[source]
        source: std::io::Error,
    },
    /// The table does not fit the files.
    #[error("cannot append files to the table {table}, so the sink stores nothing")]
    Table {
        /// Name of the table.
        table: String,
        /// The problem.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The roll of this batch failed; another batch reports the cause.
    #[error(
        "an earlier write of this sink failed; the batch is written again when the sink has \
         reopened; no action needed"
    )]
    NotOpen,
}

impl Classify for HdfsSinkError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Encode(error) => error.class,
            Self::Commit(error) | Self::Undecided { source: error, .. } => error.class(),
            Self::Identity { .. } | Self::Table { .. } => ErrorClass::Blocked,
            Self::Memory { .. } | Self::NotOpen => ErrorClass::Transient,
        }
    }
}
