//! Why a batch is not applied.

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

use crate::error::SqlError;

/// Why a batch is not applied, or the sink cannot open.
#[derive(Debug, Error)]
pub(super) enum SinkProblem {
    /// An error of the database.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The connection broke before COMMIT was answered: ask the ledger.
    #[error(
        "the database did not acknowledge COMMIT, so the batch may be applied; a retry first \
         checks the ledger table, so no row is applied twice; if this repeats, see the log of the \
         database"
    )]
    Unclear(#[source] SqlError),
    /// The table does not exist.
    #[error(
        "the database has no table `{table}`, or its user may not see it: create the table, set \
         `table`, or grant access"
    )]
    NoTable { table: String },
    /// The tables of the ledger do not exist.
    #[error(
        "the ledger tables do not exist; set `ledger.create = true`, or create them:\n{statements}"
    )]
    NoLedger { statements: String },
    /// The table and the settings do not match.
    #[error("{problem}")]
    Table { problem: String },
    /// The table has changed: read the batch again.
    #[error(
        "the columns of the table changed while a batch was applied; the batch is retried with the \
         new columns; no action needed"
    )]
    Changed,
    /// A ledger row cannot be parsed.
    #[error(
        "the ledger table `{table}` has an invalid row for the sender (origin) {origin}, so its \
         batches wait: correct the row; if you delete it, batches that the sender resends are \
         applied a second time"
    )]
    Damaged { table: String, origin: String },
}

impl Classify for SinkProblem {
    fn class(&self) -> ErrorClass {
        match self {
            // Errors of rows never get here, because the rows are removed. Elsewhere such an error
            // means a wrong setup.
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
