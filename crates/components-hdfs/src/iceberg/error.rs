//! Errors of a catalog.

use std::sync::Arc;
use std::time::Duration;

use iceberg::TableError;
use pipeline::{Classify, ErrorClass};
use storage::FsError;
use thiserror::Error;
use web::Failure;

use crate::hive::MetastoreError;

/// Why a catalog did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum CatalogError {
    /// No answer, or an error status.
    #[error("the catalog request failed; see the log of the catalog")]
    Request(#[from] Failure),
    /// The token server failed.
    #[error(
        "cannot fetch a token for the catalog from `iceberg.oauth.url`; check this URL and the \
         credentials"
    )]
    Token(#[source] Failure),
    /// The table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The store failed, which has the metadata of the table.
    #[error("cannot read or write the metadata of the table")]
    Store(#[from] FsError),
    /// Another writer was faster.
    #[error("another writer changed the table first; retrying, no action needed")]
    Changed,
    /// The metastore failed.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    /// The table in the metastore is of another type.
    #[error(
        "the table `{table}` in the metastore is not an Iceberg table: set `iceberg.table` to \
         another name, or migrate the table to Iceberg"
    )]
    OtherType {
        /// Database and name.
        table: String,
    },
    /// The metastore does not lock the table.
    #[error(
        "cannot lock the table in the metastore; if the metastore has no tables for locks, create \
         its schema with `schematool`; with Hive 4, all writers can also do without locks if the \
         property `engine.hive.lock-enabled` of the table is `false`"
    )]
    NoLock {
        /// The cause.
        source: MetastoreError,
    },
    /// Another program holds the lock of the table.
    #[error(
        "waited {} s for the table, which is locked by {holder}; retrying; if the holder has \
         ended, the metastore removes its lock after `metastore.txn.timeout`, but only with \
         `metastore.housekeeping.threads.on`",
        waited.as_secs()
    )]
    Locked {
        /// How long.
        waited: Duration,
        /// The holder.
        holder: String,
    },
    /// The metastore has removed the lock during the commit.
    #[error("the metastore removed the lock of the table during a commit; retrying")]
    LostLock,
    /// The answer is not one of a REST catalog.
    #[error("{url} is not an Iceberg REST catalog: {problem}; check `iceberg.catalog`")]
    Foreign {
        /// The URL.
        url: Arc<str>,
        /// The problem with its answer.
        problem: String,
    },
}

impl Classify for CatalogError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Request(Failure::Network { .. }) | Self::Token(Failure::Network { .. }) => {
                ErrorClass::Transient
            }
            Self::Store(error) => error.class(),
            Self::Changed | Self::Locked { .. } | Self::LostLock => ErrorClass::Transient,
            Self::Metastore(error) if error.is_of_one() => ErrorClass::Transient,
            Self::Request(Failure::Status { status, .. }) if status.is_server_error() => {
                ErrorClass::Transient
            }
            _ => ErrorClass::Blocked,
        }
    }
}
