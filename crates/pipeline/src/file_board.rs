//! The status of a source that follows files, for status pages.

use std::sync::{Arc, Mutex, PoisonError};

/// The files that a source follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowedFiles {
    /// Files that it follows.
    pub followed: u64,
    /// Bytes in them that are not in every channel yet.
    pub unread_bytes: u64,
    /// Files and directories that it cannot read.
    pub unreadable: u64,
    /// The problem: a pattern without matches, or unreadable files.
    pub problem: Option<String>,
}

/// A place for [`FollowedFiles`]: the source writes it, status pages read it at any time. Empty for
/// a source that follows no files. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FileBoard(Arc<Mutex<Option<FollowedFiles>>>);

impl FileBoard {
    /// Shows these files.
    pub fn set(&self, files: Option<FollowedFiles>) {
        // The value is replaced as a whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Returns the current status.
    pub fn read(&self) -> Option<FollowedFiles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
