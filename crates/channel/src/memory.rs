//! The memory channel: fast, bounded by bytes, empty after a restart.
//!
//! ```text
//!  put ─► batches in a map by ticket ─► take ─► commit ─► removed once every consumer has it
//!                                                  │
//!                                                  ▼  all older ones are removed too
//!                          positions.json: where the sources may resume
//! ```
//!
//! # Invariants
//!
//! 1. The position of a source reaches the file only after every consumer has committed its batch
//!    and all batches before it. A restart therefore rereads the batches that were in memory and
//!    never skips them: the path is at least once.
//! 2. The origin is new at every start: batches of an earlier life cannot be mistaken for current
//!    ones.
//! 3. The file is replaced as a whole (written aside, synced, renamed), at most every quarter
//!    second, and before the channel closes.

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
            return Err(BuildError::invalid("capacity", "must be greater than 0"));
        }
        if self.capacity_events == Some(0) {
            return Err(BuildError::invalid("capacity_events", "must be at least 1"));
        }
        Ok(Box::new(channel::Memory::new(&self, cx)))
    }
}

/// Reads the positions from the directory of such a channel; empty if there is no channel.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn stored_positions(
    disk: &dyn Disk,
    directory: &Path,
) -> io::Result<Vec<SourcePosition>> {
    positions_file::read(disk, &directory.join(positions_file::NAME))
}
