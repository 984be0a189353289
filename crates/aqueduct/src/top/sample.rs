//! An agent in which all is well, for tests of what is shown of it.

use agent::status::Snapshot;

/// What its admin address would say.
pub(crate) fn well() -> Snapshot {
    serde_json::from_str(include_str!("../../../agent/src/status/well.json")).unwrap()
}
