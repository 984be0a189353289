//! Parts that an operator has stopped, and drains.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ReloadResult;
use super::words::seconds;

/// A part that an operator has stopped. It stays so over reloads and restarts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// Its place in the configuration: `sources.in`, `groups.store`.
    pub part: String,
    /// When it was stopped.
    pub since_seconds_ago: f64,
    /// The operator.
    pub by: String,
    /// A drain has stopped it.
    pub by_drain: bool,
}

/// The state of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// The sources are stopped, and the channels are not empty yet.
    Draining,
    /// The channels are empty.
    Drained,
    /// They were not in time; the sources stay stopped.
    TimedOut,
    /// A part was started, or the configuration changed: the channels may fill again.
    Ended,
}

/// The last drain that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Its state.
    pub state: DrainState,
    /// The channel that drains; `null`: all of them.
    pub channel: Option<String>,
    /// True if the agent ends when they are empty.
    pub exit: bool,
    /// The operator.
    pub by: String,
    /// When it was asked for.
    pub began_seconds_ago: f64,
    /// Its time limit.
    pub time_limit_seconds: f64,
    /// Events that are not delivered yet.
    pub left_events: u64,
    /// The reason why it waits, or has ended.
    pub why: Option<String>,
}

/// The result of a request to stop, start or drain parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartsStatus {
    /// Its result.
    pub result: ReloadResult,
    /// Why it was refused or rolled back.
    pub error: Option<String>,
    /// Parts that were stopped or started, by their places in the configuration.
    pub changed: Vec<String>,
    /// All parts that an operator has stopped.
    pub held: Vec<HeldStatus>,
    /// The drain that was asked for.
    #[serde(default)]
    pub drain: Option<DrainStatus>,
}

impl fmt::Display for PartsStatus {
    /// Line by line, as the commands print it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.result {
            ReloadResult::Applied => "done",
            ReloadResult::Unchanged => "nothing has changed",
            ReloadResult::Refused => "refused, nothing was changed",
            ReloadResult::RolledBack => "not done, all parts run as before",
            ReloadResult::RollbackFailed => {
                "failed, and rolling back failed too: some parts are stopped; remove the cause and \
                 reload"
            }
        };
        match self.changed.is_empty() {
            true => writeln!(f, "{word}")?,
            false => writeln!(f, "{word}: {}", self.changed.join(", "))?,
        }
        if let Some(error) = &self.error {
            writeln!(f, "{error}")?;
        }
        for HeldStatus { part, since_seconds_ago, by, .. } in &self.held {
            writeln!(f, "stopped  {part}, for {}, by {by}", seconds(Some(*since_seconds_ago)))?;
        }
        Ok(())
    }
}
