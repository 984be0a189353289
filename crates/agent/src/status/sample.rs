//! A healthy agent, for tests of its findings.

use super::Snapshot;

/// Returns the status of a healthy agent.
pub(super) fn healthy() -> Snapshot {
    serde_json::from_str(include_str!("well.json")).unwrap()
}
