//! The spill channel: memory while it lasts, then disk, in the order of the puts.
//!
//! ```text
//!  put ──► memory ── no room ──► disk: from here on, until it is empty
//!            │                    │
//!            └──── older ────┬────┘ newer
//!                            ▼
//!                          take
//! ```
//!
//! It has the guarantee of a memory channel: a crash loses the batches in memory. Batches on disk
//! survive. The channel therefore needs less memory, and loses nothing when sinks are down for a
//! long time.
//!
//! # Invariants
//!
//! 1. While the disk has batches that some consumer has not committed, puts go to disk. All batches
//!    in memory are therefore older than those on disk, and takes look into memory first.
//! 2. The position of a source is never written with a batch on disk, because older batches may
//!    exist only in memory. As in the memory channel, it is written when everything before it is
//!    committed.
//! 3. An identity is stored on one side only.

mod channel;

use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Channel, Component};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{durable, memory};

/// The spill channel keeps events in memory while they fit, then on disk. A crash loses what is in
/// memory.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Size limit of the batches in memory. Further batches go to the disk.
    pub memory: ByteSize,
    /// Channel on disk for the batches that do not fit in memory: settings of a durable channel.
    pub disk: durable::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self { memory: ByteSize::mib(64), disk: durable::Config::default() }
    }
}

impl Component for Config {
    const KIND: &'static str = "spill";
    const ANOMALIES: &[&str] = durable::ANOMALIES;
    type Role = dyn Channel;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Channel>, BuildError> {
        let below = |error: BuildError, name: &str| {
            BuildError::invalid(format!("{name}{}", error.setting), error.problem)
        };
        let mut disk_cx = cx.clone();
        disk_cx.directory = cx.directory.join("disk");
        let memory = memory::Config { capacity: self.memory, capacity_events: None };
        let memory =
            memory.build(cx).map_err(|error| BuildError::invalid("memory", error.problem))?;
        let disk = self.disk.build(&disk_cx).map_err(|error| below(error, "disk."))?;
        Ok(Box::new(channel::Spill::new(memory.into(), disk.into())))
    }
}
