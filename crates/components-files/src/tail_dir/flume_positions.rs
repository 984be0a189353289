//! The positions that a Flume agent left.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pipeline::file_position::FlumePosition;

use super::identity::Position;
use super::names::{may_be_renamed, name_of};

/// Entries of Flume's position file.
#[derive(Debug, Default)]
pub(super) struct FlumePositions(pub(super) Vec<FlumePosition>);

impl FlumePositions {
    /// Returns Flume's offset in the file of this position.
    pub(super) fn offset_in(&self, position: &Position) -> Option<u64> {
        let is_this = |entry: &&FlumePosition| {
            entry.inode == position.inode && is_of_name(&entry.file, &position.path)
        };
        let offset = self.0.iter().find(is_this)?.pos;
        (offset <= position.offset).then_some(offset)
    }

    /// Returns the paths that Flume read.
    pub(super) fn paths(&self) -> HashSet<PathBuf> {
        self.0.iter().map(|entry| entry.file.clone()).collect()
    }
}

/// Returns true if rotation may have given the file the name that `now` has.
pub(super) fn is_of_name(before: &Path, now: &Path) -> bool {
    let names = name_of(before).zip(name_of(now));
    names.is_some_and(|(before, now)| may_be_renamed(before, now))
}
