//! Why files are not in the table yet.

use iceberg::TableError;
use iceberg::appender::Stop;
use ledger::LedgerError;
use storage::FsError;
use thiserror::Error;

use crate::iceberg::CatalogError;

/// Why files are not in the table yet.
#[derive(Debug, Error)]
pub(crate) enum AppendError {
    /// The store failed.
    #[error("cannot read or write files of the table")]
    Store(#[from] FsError),
    /// The ledger failed.
    #[error("cannot read the commit ledger")]
    Ledger(#[from] LedgerError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A committed file is not visible.
    #[error(
        "the committed file {file} is not at its place below `url`; if its directory rejects it, \
         make it writable; if the file was deleted, restore it"
    )]
    Hidden {
        /// Below the prefix.
        file: String,
    },
    /// No commit succeeded.
    #[error(
        "cannot append to the table, because other writers change it too often or the catalog does \
         not answer ({reason}); retrying; no event is lost; check the catalog, and the commits of \
         other writers"
    )]
    Contended {
        /// The reason of the last attempt.
        reason: String,
    },
    /// An operator must decide.
    #[error("{}", explained(stop, table, property, records))]
    Stopped {
        /// The cause.
        stop: Stop,
        /// Name of the table.
        table: String,
        /// The property with the number.
        property: String,
        /// The directory of the records.
        records: String,
    },
}

impl From<TableError> for AppendError {
    fn from(error: TableError) -> Self {
        Self::Catalog(error.into())
    }
}

/// Explains a stop, and what to do.
fn explained(stop: &Stop, table: &str, property: &str, records: &str) -> String {
    match stop {
        Stop::Missing { was_there: false } => {
            format!("the table {table} does not exist: create it, or set `iceberg.create = true`")
        }
        Stop::Missing { was_there: true } => format!(
            "the table {table} was dropped; restore it; to append later files to a new table \
             instead, create it and delete the directory {records}"
        ),
        Stop::Replaced { recorded, found, number } => format!(
            "the table {table} was dropped and created again: its identity was {recorded} and is \
             {found}; to append the files from ledger entry {number} on to the new table, set its \
             property `{property}` to {number} and delete the directory {records}"
        ),
        Stop::NumberMissing { number } => format!(
            "the table {table} has lost the property `{property}`, which shows the files that it \
             contains; if the table has all of its snapshots, set it to {number}; if some were \
             lost, or the commit ledger was rebuilt, add the files below `url` that the table \
             lacks with another tool, and then set it"
        ),
        Stop::NumberFell { found, number } => format!(
            "the property `{property}` of the table {table} fell from {number} to {found}; if the \
             table was restored from a backup, add the files of the ledger entries {found} to {} \
             with another tool, and set the property to {number}",
            number.saturating_sub(1)
        ),
        Stop::LedgerShorter { found, end } => format!(
            "the property `{property}` of the table {table} is {found}, but the commit ledger has \
             only {end} entries: restore the ledger, or correct the property"
        ),
        Stop::Forgotten { number, kept_from } => format!(
            "the commit ledger no longer has the files of the entries {number} to {}, which the \
             table {table} lacks; add them with another tool, and set its property `{property}` \
             to {kept_from}",
            kept_from.saturating_sub(1)
        ),
    }
}
