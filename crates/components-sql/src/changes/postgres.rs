//! Reads changes of PostgreSQL from a slot, which retains unconfirmed changes.
//!
//! | module | contents |
//! |---|---|
//! | `catalog` | queries about the database |
//! | `replaced` | tables replaced by another one with the same name |
//! | `slot` | decides the next step, from the channel and the database |
//! | `snapshot` | creates the slot, and reads the existing rows |
//! | `wire` | a replication connection |
//! | `pgoutput` | the messages of the slot |
//! | `follow` | streams events into the channel, and confirms them to the database |

mod catalog;
mod follow;
mod pgoutput;
mod replaced;
mod slot;
mod snapshot;
mod wire;

use super::config::Options;
use super::position::{Next, State};
use crate::error::SqlError;
use catalog::Catalog;
pub(super) use replaced::Names;
use wire::Replication;

/// Checks that changes can be read, and decides how to start.
///
/// # Errors
/// They cannot be read. The message contains a hint.
pub(super) async fn open(options: &Options, state: Option<State>) -> Result<Next, SqlError> {
    let catalog = Catalog::open(&options.target).await?;
    catalog.publication(options).await?;
    // Check the replication right before creating anything.
    let opened = Replication::open(&options.target).await;
    opened.map_err(|error| error.of_replication(&options.target))?;
    let slot = catalog.slot(&options.slot).await?;
    slot::next(options, state, slot)
}
