//! Why the sink could not store what it was given.

use delivery::ledger::LedgerError;
use pipeline::{Class, Classify};
use storage::FsError;
use thiserror::Error;

/// Why the sink could not store what it was given.
#[derive(Debug, Error)]
pub enum HdfsSinkError {
    /// The store failed while a file was written.
    #[error("cannot write to the store")]
    Store(#[from] FsError),
    /// The store failed, or is damaged, where the commits are kept.
    #[error("cannot commit to the store")]
    Commit(#[from] LedgerError),
    /// The sink could not be opened.
    #[error("cannot open the dataset `{dataset}`{unreached}")]
    Opening {
        /// The sink and its store.
        dataset: String,
        /// That the store cannot be connected to, if so.
        unreached: String,
        /// What failed.
        #[source]
        source: Box<HdfsSinkError>,
    },
    /// The number of this collector cannot be kept with its data.
    #[error("cannot keep the identity of this collector in {path}")]
    Identity {
        /// The file.
        path: String,
        /// What the disk said.
        #[source]
        source: std::io::Error,
    },
    /// The roll that this batch was in failed, with the cause that is told for another batch.
    #[error("the sink has failed and must be opened again")]
    NotOpen,
}

impl Classify for HdfsSinkError {
    fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            Self::Commit(error) => error.class(),
            Self::Opening { source, .. } => source.class(),
            Self::Identity { .. } => Class::Fatal,
            Self::NotOpen => Class::Transient,
        }
    }
}
