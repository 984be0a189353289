//! Why a batch is not applied.

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

use crate::error::SqlError;

/// Why a batch is not applied, or the sink not open.
#[derive(Debug, Error)]
pub(super) enum SinkProblem {
    /// Database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The connection broke before COMMIT was answered: the ledger has to be asked.
    #[error("it is not known whether a batch is applied: COMMIT was not answered")]
    Unclear(#[source] SqlError),
    /// The table is not there.
    #[error(
        "the database has no table `{table}`, or its user does not see it: make it, or set `table`"
    )]
    NoTable { table: String },
    /// The tables of the ledger are not there.
    #[error("the ledger is not there; set `ledger.create`, or make its tables:\n{statements}")]
    NoLedger { statements: String },
    /// The table and the settings do not go together.
    #[error("{problem}")]
    Table { problem: String },
    /// The table is another one than before: the batch is read again by what it is now.
    #[error("the table has changed while a batch was applied")]
    Changed,
    /// A row of the ledger cannot be read.
    #[error(
        "the ledger `{table}` has no set of batches for the origin {origin}: bring the row back \
         from a backup; without it, batches may be applied twice"
    )]
    Damaged { table: String, origin: String },
}

impl Classify for SinkProblem {
    fn class(&self) -> ErrorClass {
        match self {
            // What is wrong with rows never comes here: they are taken out. Elsewhere such an error
            // is one of the set-up.
            Self::Sql(error) if error.class() == ErrorClass::Poison => ErrorClass::Blocked,
            Self::Sql(error) => error.class(),
            Self::Unclear(_) => ErrorClass::Indeterminate,
            Self::Changed => ErrorClass::Transient,
            Self::NoTable { .. }
            | Self::NoLedger { .. }
            | Self::Table { .. }
            | Self::Damaged { .. } => ErrorClass::Blocked,
        }
    }
}
