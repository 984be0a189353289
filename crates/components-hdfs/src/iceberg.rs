//! Iceberg's catalogs: load and create a table, and commit to it. [`RestCatalog`] is the client of
//! a server, [`MetastoreCatalog`] uses Hive's metastore, and [`DirectoryCatalog`] needs no server.
//!
//! Whether a commit without an answer has happened is decided by the caller, which loads the table
//! again: a catalog never repeats a request.

mod catalog;
mod directory;
mod error;
pub(crate) mod metastore;
mod stores;

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::TableError;
use iceberg::metadata::Table;
use pipeline::Env;
use serde_json::Value;
use storage::{CreateOptions, FileSystem, FsError};
use support::hex::hex;

pub(crate) use catalog::{Access, RestCatalog, TableName};
pub(crate) use directory::DirectoryCatalog;
pub(crate) use error::CatalogError;
pub(crate) use metastore::MetastoreCatalog;
pub(crate) use stores::Stores;

/// Versions that one commit deletes at most.
const DELETED_MAX: usize = 100;

/// Loads a table without a catalog server: its directory has this URL, and this path in `fs`.
///
/// # Errors
/// The directory cannot be read, or its newest version is malformed.
pub async fn table_in(
    fs: Arc<dyn FileSystem>,
    env: &Env,
    url: &str,
    path: &str,
) -> Result<Option<Table>, Box<dyn Error + Send + Sync>> {
    Ok(DirectoryCatalog::new(fs, env.clone(), url, path).load().await?)
}

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

/// Writes a new file of a table's metadata, and its directory if it is missing.
///
/// # Errors
/// The file exists, or the store failed. It may be incomplete.
pub(crate) async fn write_new(
    fs: &dyn FileSystem,
    path: &str,
    content: Vec<u8>,
) -> Result<(), FsError> {
    let length = content.len() as u64;
    let created = match fs.create(path, CreateOptions::default()).await {
        Err(FsError::NotFound { .. }) => {
            fs.mkdirs(storage::split(path).0).await?;
            fs.create(path, CreateOptions::default()).await
        }
        created => created,
    };
    let mut writer = created?;
    writer.write(content.into()).await?;
    writer.close().await?;
    check_length(fs, path, length).await
}

/// Checks that a file of a table's metadata is complete.
async fn check_length(fs: &dyn FileSystem, path: &str, expected: u64) -> Result<(), FsError> {
    let found = fs.stat(path).await?.len;
    if found == expected {
        return Ok(());
    }
    let source = format!("it has {found} bytes instead of {expected}").into();
    Err(FsError::Failed { call: "write", path: path.to_owned(), source })
}

/// Returns the error of a table whose newest version is compressed.
fn compressed(version: &str) -> CatalogError {
    let problem = format!(
        "has compressed metadata; set its property `write.metadata.compression-codec` to `none`, \
         and change it once with the program that wrote {version}"
    );
    TableError::Unsupported { problem }.into()
}

/// Returns a random UUID in its text form.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes);
    let (a, b, c, d, e) = (&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}
