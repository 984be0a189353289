//! The memory channel: fast, bounded by bytes, empty after a restart.
//!
//! ```text
//!  put ─► batches in a map by ticket ─► take ─► commit ─► gone once every consumer has it
//!                                                  │
//!                                                  ▼  all older ones are gone too
//!                          positions.json: where the sources may take up again
//! ```
//!
//! # Invariants
//!
//! 1. The position of a source reaches the file only after every consumer has committed the batch
//!    that it came with and all batches before that one. So a restart reads again, and never skips,
//!    what was in memory: the path is at least once.
//! 2. Its origin is new at every start: what was in memory before can never be taken for what is
//!    in memory now.
//! 3. The file is replaced whole (written aside, synced, renamed), at most every quarter second,
//!    and before the channel closes.

mod channel;
mod positions_file;
mod transactions;

use std::io;
use std::path::Path;

use pipeline::env::Disk;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Channel, Component, SourcePosition};
use schemars::JsonSchema;
use serde::Deserialize;

/// The memory channel keeps events in memory; a crash loses what no sink has committed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Size limit of the batches in memory. When it is full, puts wait.
    pub capacity: ByteSize,
    /// Limit of the number of events. Default: no limit.
    pub capacity_events: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self { capacity: ByteSize::mib(64), capacity_events: None }
    }
}

impl Component for Config {
    const KIND: &'static str = "memory";
    const ANOMALIES: &[&str] = &["duplicate_event"];
    type Role = dyn Channel;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Channel>, BuildError> {
        if self.capacity.0 == 0 {
            return Err(BuildError::invalid("capacity", "it must be more than 0"));
        }
        if self.capacity_events == Some(0) {
            return Err(BuildError::invalid("capacity_events", "it must be at least 1"));
        }
        Ok(Box::new(channel::Memory::new(&self, cx)))
    }
}

/// The positions in the directory of such a channel; none where there is no channel.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn stored_positions(
    disk: &dyn Disk,
    directory: &Path,
) -> io::Result<Vec<SourcePosition>> {
    positions_file::read(disk, &directory.join(positions_file::NAME))
}
