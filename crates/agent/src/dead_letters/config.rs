//! Settings of the dead letters and of their channel.

use std::path::Path;

use channel::durable::{Encryption, IndexKind, Overflow};
use metrics::Metrics;
use pipeline::env::resolved;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, Channel, Component, Env, Settings, SettingsError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use tokio::time::Duration;

use super::directory;

/// Less than this has no room for a large batch.
const CAPACITY_MIN: ByteSize = ByteSize::mib(8);

/// Bytes of a segment: letters are few.
const SEGMENT: ByteSize = ByteSize::mib(4);

/// Settings of the dead letters: the table `[dead_letters]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Size limit of the dead letters on disk.
    pub(super) capacity: ByteSize,
    /// Behaviour when the dead letters are full: undeliverable events wait in their channel, or
    /// letters are lost and counted.
    overflow: Overflow,
    /// Encryption of the data on disk. Default: none.
    pub(super) encryption: Option<Encryption>,
}

impl Default for Config {
    fn default() -> Self {
        let (capacity, overflow) = (ByteSize::mib(256), Overflow::Block);
        Self { capacity, overflow, encryption: None }
    }
}

impl Config {
    /// Reads the settings from the table.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn read(table: &Settings) -> Result<Self, SettingsError> {
        let config: Self = table.read()?;
        if config.capacity < CAPACITY_MIN {
            let problem = format!("must be at least \"{CAPACITY_MIN}\"");
            return Err(table.invalid("capacity", &problem));
        }
        if let Some(encryption) = &config.encryption {
            let valid = encryption.validate();
            valid.map_err(|error| table.invalid(&error.setting, &error.problem))?;
        }
        Ok(config)
    }

    pub(super) fn build(&self, data_dir: &Path, env: &Env, metrics: &Metrics) -> Box<dyn Channel> {
        let config = channel::durable::Config {
            capacity: self.capacity,
            overflow: self.overflow,
            encryption: self.encryption.clone(),
            ..settings()
        };
        let cx = BuildContext { metrics: metrics.clone(), ..context(data_dir, env) };
        config.build(&cx).expect("what was read is valid")
    }
}

/// The schema of the table `[dead_letters]`.
pub fn schema(generator: &mut SchemaGenerator) -> Schema {
    Config::json_schema(generator)
}

/// Settings of the channel of dead letters, except those that the agent sets.
pub fn settings() -> channel::durable::Config {
    channel::durable::Config {
        capacity: ByteSize::mib(256),
        segment_bytes: SEGMENT,
        tail_memory: ByteSize(0),
        pool: 0,
        pool_idle_max: Period(Duration::ZERO),
        index: IndexKind::None,
        ..channel::durable::Config::default()
    }
}

/// Returns the build context for the channel of dead letters of the agent in `data_dir`.
pub fn context(data_dir: &Path, env: &Env) -> BuildContext {
    let directory = directory(&resolved(&*env.disk, data_dir));
    BuildContext::alone("dead-letters", &directory, env.clone())
}
