//! The files that a checkpoint keeps for a table of an external catalog.

use std::collections::BTreeMap;

use super::entry::StagedFile;

/// Files of entries that a checkpoint has replaced, for a table that lacks them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Every commit from this index on is known.
    pub(super) from: u64,
    /// Files of these commits.
    pub(super) commits: BTreeMap<u64, Vec<StagedFile>>,
}
