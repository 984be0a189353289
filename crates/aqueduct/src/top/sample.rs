//! A healthy agent, for display tests.

use agent::status::Snapshot;

/// Returns the snapshot of a healthy agent.
pub(crate) fn well() -> Snapshot {
    serde_json::from_str(include_str!("../../../agent/src/status/well.json")).unwrap()
}
