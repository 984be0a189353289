//! Iceberg's catalogs: load and create a table, and commit to it. [`RestCatalog`] is the client of
//! a server, [`DirectoryCatalog`] needs none.
//!
//! Whether a commit without an answer has happened is decided by the caller, which loads the table
//! again: a catalog never repeats a request.

mod catalog;
mod directory;
mod error;

use async_trait::async_trait;
use iceberg::metadata::Table;
use serde_json::Value;

pub(crate) use catalog::{Access, RestCatalog, TableName};
pub(crate) use directory::DirectoryCatalog;
pub(crate) use error::CatalogError;

/// The answer to a commit.
#[derive(Debug)]
pub(crate) enum CommitAnswer {
    /// It is in the table.
    Done,
    /// The table has changed, or the result is unknown: the reason.
    Unsettled(CatalogError),
}

/// A catalog with one table.
#[async_trait]
pub(crate) trait Catalog: Send + Sync {
    /// Loads the table; `None` if it does not exist.
    ///
    /// # Errors
    /// The catalog is unreachable, or rejects the request.
    async fn load(&self) -> Result<Option<Table>, CatalogError>;

    /// Creates the table and its namespace with this request, unless they exist.
    ///
    /// # Errors
    /// The catalog is unreachable, or rejects the request.
    async fn create(&self, request: &Value) -> Result<(), CatalogError>;

    /// Commits this request.
    ///
    /// # Errors
    /// The catalog rejects the request. It is not in the table.
    async fn commit(&self, request: &Value) -> Result<CommitAnswer, CatalogError>;
}
