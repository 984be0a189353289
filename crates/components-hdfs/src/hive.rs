//! Hive's metastore, as far as a sink needs it: its table, and partitions that are added to it.
//!
//! ```text
//!  Registry::add ─► client: get_table_req ─none─► create_database, create_table
//!                      │ the table's own descriptor
//!                      └─► add_partitions_req (if not there), each with its location
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `messages` | the calls and their answers: pure |
//! | `table` | how a table describes the files of an encoder: pure |
//! | `partition` | which partition a directory is: pure |
//! | `client` | one connection, timeouts, the next metastore |
//!
//! Everything may be done again: a partition that is there already is one that is added.

mod client;
mod error;
mod messages;
mod partition;
mod table;

use async_trait::async_trait;

pub(crate) use client::{Metastore, Places};
pub(crate) use error::MetastoreError;
pub(crate) use partition::{Keys, Partition};
pub(crate) use table::{Column, Reader, TableSpec};

/// Where partitions are registered.
#[async_trait]
pub(crate) trait Registry: Send + Sync {
    /// Adds these partitions, or finds that they are there. After an error some of them may be
    /// added; all of them may be added again.
    ///
    /// # Errors
    /// The metastore is not reached, or refuses.
    async fn add(&self, partitions: &[Partition]) -> Result<(), MetastoreError>;
}
