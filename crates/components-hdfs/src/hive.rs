//! A client of Hive's metastore: finds or creates the sink's table, and adds partitions.
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
//! | `client` | one connection, timeouts, failover |
//!
//! All calls can be repeated: an existing partition counts as added.

mod client;
mod error;
mod messages;
mod partition;
mod properties;
mod table;

use async_trait::async_trait;

pub(crate) use client::{Metastore, Places};
pub(crate) use error::MetastoreError;
pub(crate) use partition::{Keys, Partition};
pub(crate) use table::{Column, Reader, TableSpec};

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
