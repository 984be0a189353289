//! The result of a reload, part by part.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadResult {
    /// The changed parts run as configured.
    Applied,
    /// The file equals the running configuration.
    Unchanged,
    /// The file is invalid, or the change needs a restart. Nothing was touched.
    Refused,
    /// A part could not be started or stopped: all runs as before.
    RolledBack,
    /// A part could not be started or stopped, and the previous configuration could not be restored
    /// either: some parts are stopped.
    RollbackFailed,
}

/// The result of the last reload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// The trigger: `SIGHUP`, `POST /reload` or `file change`.
    pub asked_by: String,
    /// When it ended.
    pub finished_seconds_ago: f64,
    /// How long it took.
    pub took_seconds: f64,
    /// The result.
    pub result: ReloadResult,
    /// Why it was refused or rolled back, with the place in the file if known.
    pub error: Option<String>,
    /// New parts.
    pub started: Vec<PartChange>,
    /// Parts that are no longer configured.
    pub stopped: Vec<PartChange>,
    /// Parts that were stopped and started.
    pub restarted: Vec<PartChange>,
    /// Parts that were not touched.
    pub kept: Vec<String>,
    /// Sources that resend events, because their positions have another name or are in another
    /// channel: the amount, the cause and the remedy.
    #[serde(default)]
    pub resends: Vec<String>,
    /// Closed channels with events on disk; the events are delivered when the channel is configured
    /// again.
    pub left_behind: Vec<LeftBehind>,
}

/// A part, and the reason for its change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartChange {
    /// Its place in the configuration: `sources.in`.
    pub part: String,
    /// The reason.
    pub why: String,
}

/// A closed channel that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Its name.
    pub channel: String,
    /// Its number of events.
    pub events: u64,
}

impl fmt::Display for ReloadStatus {
    /// Line by line, as `aqueduct reload` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.result {
            ReloadResult::Applied => "applied",
            ReloadResult::Unchanged => "nothing has changed",
            ReloadResult::Refused => "refused, nothing was changed",
            ReloadResult::RolledBack => "rolled back, all parts run as before",
            ReloadResult::RollbackFailed => {
                "failed, and rolling back failed too: some parts are stopped; remove the cause and \
                 reload again"
            }
        };
        writeln!(f, "{word} ({:.1} s)", self.took_seconds)?;
        if let Some(error) = &self.error {
            writeln!(f, "{error}")?;
        }
        for (what, parts) in
            [("started", &self.started), ("stopped", &self.stopped), ("restarted", &self.restarted)]
        {
            for PartChange { part, why } in parts {
                writeln!(f, "{what:9}  {part}: {why}")?;
            }
        }
        if !self.kept.is_empty() {
            writeln!(f, "{:9}  {}", "kept", self.kept.join(", "))?;
        }
        for resend in &self.resends {
            writeln!(f, "warning: {resend}")?;
        }
        for LeftBehind { channel, events } in &self.left_behind {
            writeln!(
                f,
                "channel `{channel}` was removed and still has {events} events on disk; \
                 configure it again to deliver them, unless a source resends them"
            )?;
        }
        Ok(())
    }
}
