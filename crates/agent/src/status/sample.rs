//! An agent in which all is well, for tests of what is said of it.

use super::Snapshot;

/// What its admin address would say.
pub(super) fn well() -> Snapshot {
    serde_json::from_str(include_str!("well.json")).unwrap()
}
