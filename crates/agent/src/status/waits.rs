//! Conditions beyond a sink that it cannot change.

use serde::{Deserialize, Serialize};

use super::AgentStatus;

/// A directory of a sink that is not complete, because edges have not reported yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncompleteStatus {
    /// The directory, below the prefix of the dataset.
    pub directory: String,
    /// Names of the edges.
    pub waits_for: String,
    /// When it could have been complete at the earliest.
    pub since_seconds_ago: f64,
}

/// A downstream agent that cannot store events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnableStatus {
    /// When that began.
    pub since_seconds_ago: f64,
    /// Why.
    pub cause: String,
    /// The agent that has the problem.
    pub agent: AgentStatus,
}
