//! Errors of a catalog.

use std::sync::Arc;

use iceberg::TableError;
use pipeline::{Classify, ErrorClass};
use storage::FsError;
use thiserror::Error;
use web::Failure;

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
            Self::Changed => ErrorClass::Transient,
            Self::Request(Failure::Status { status, .. }) if status.is_server_error() => {
                ErrorClass::Transient
            }
            _ => ErrorClass::Blocked,
        }
    }
}
