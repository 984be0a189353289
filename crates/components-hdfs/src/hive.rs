//! A client of Hive's metastore: finds or creates the sink's table, and adds partitions; and the
//! entries of Iceberg tables.
//!
//! ```text
//!  Registry::add ─► client: get_table_req ─none─► create_database, create_table
//!                      │ the table's own descriptor
//!                      └─► add_partitions_req (if not there), each with its location
//!  Registry::describe ─► client: get_partition ─► alter_partition, if a property differs
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `messages`, `properties` | the calls and their responses: pure |
//! | `table` | the table description for an encoder's files: pure |
//! | `partition` | maps directories to partitions: pure |
//! | `client` | the registry of one table |
//! | `entry`, `locks` | the entry of an Iceberg table, and its locks: pure |
//! | `tables` | reads, creates, replaces and locks this entry |
//! | `connection` | one connection, timeouts, failover |
//!
//! All calls of the registry can be repeated: an existing partition counts as added. A lock, and
//! the replacement of an entry, are attempted once: the caller finds out what happened.

mod client;
mod connection;
mod entry;
mod error;
mod locks;
mod messages;
#[cfg(test)]
pub(crate) mod model;
mod partition;
mod properties;
mod table;
mod tables;

use async_trait::async_trait;
use pipeline::address;

pub(crate) use client::Metastore;
pub(crate) use connection::Places;
pub(crate) use entry::Entry;
pub(crate) use error::{MetastoreError, SettingNames};
pub(crate) use locks::{LockState, ShownLock};
pub(crate) use partition::{Keys, Partition};
pub(crate) use table::{Column, Reader, TableSpec};
pub(crate) use tables::TableEntry;

/// Parses the addresses of the metastores of one database: `thrift://host:9083`, separated by
/// commas.
///
/// # Errors
/// The problem with an address, and the fix.
pub(crate) fn addresses(text: &str) -> Result<Vec<String>, String> {
    let parse = |one: &str| {
        let Some(address) = one.strip_prefix("thrift://") else {
            return Err(format!("`{one}` is not an address; write for example thrift://host:9083"));
        };
        address::check(address, "thrift://host:9083", false)?;
        Ok(address.to_owned())
    };
    text.split(',').map(|one| parse(one.trim())).collect()
}

/// Returns whether this is a name of a database or a table.
pub(crate) fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.len() <= 128 && name.chars().all(is_letter)
}

/// Registers partitions.
#[async_trait]
pub(crate) trait Registry: Send + Sync {
    /// Finds or creates the table, and adds these partitions, unless they exist. After an error,
    /// some may have been added; the call can be repeated.
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call.
    async fn add(&self, partitions: &[Partition]) -> Result<(), MetastoreError>;

    /// Sets properties of a partition, and keeps its other ones. Adds the partition if it is
    /// missing.
    ///
    /// # Errors
    /// The metastore is unreachable, or rejects the call.
    async fn describe(
        &self,
        partition: &Partition,
        properties: &[(String, String)],
    ) -> Result<(), MetastoreError>;
}
