//! Changes of PostgreSQL: a slot sends them, and keeps what is not confirmed.
//!
//! | module | what it does |
//! |---|---|
//! | `catalog` | what the database says of itself |
//! | `replaced` | tables that another one of the same name replaces |
//! | `slot` | what is to be done, by what channel and database have |
//! | `snapshot` | the slot is made, and the rows that are there are read |
//! | `wire` | a connection for replication |
//! | `pgoutput` | what the slot sends |
//! | `follow` | the stream: events into the channel, and word of it to the database |

mod catalog;
mod follow;
mod pgoutput;
mod replaced;
mod slot;
mod snapshot;
mod wire;

use pipeline::{Intake, SourceError};

use super::Changes;
use super::config::Options;
use super::position::{Next, State};
use crate::error::SqlError;
use catalog::Catalog;
pub(super) use replaced::Names;
use wire::Replication;

/// Looks whether changes can be read, and what comes next.
///
/// # Errors
/// They cannot, and what helps.
pub(super) async fn open(options: &Options, state: Option<State>) -> Result<Next, SqlError> {
    let catalog = Catalog::open(&options.target).await?;
    catalog.publication(options).await?;
    // The right to replicate is looked at before anything is made.
    let opened = Replication::open(&options.target).await;
    opened.map_err(|error| error.of_replication(&options.target))?;
    let slot = catalog.slot(&options.slot).await?;
    slot::next(options, state, slot)
}

impl Changes {
    /// Reads until something fails.
    ///
    /// # Errors
    /// The database, or the channel.
    pub(super) async fn read_postgres(
        &mut self,
        state: State,
        next: Next,
        intake: &dyn Intake,
    ) -> Result<(), SourceError> {
        let state = match next {
            Next::Changes(from) => from,
            Next::Make { is_void, .. } => self.snapshot(state, is_void, intake).await?,
        };
        self.follow(state, intake).await
    }
}
