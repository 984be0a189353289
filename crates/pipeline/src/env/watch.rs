//! Changes of directories, reported by the system.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

/// Reports changes in directories when they happen, so that no task has to poll.
///
/// It may miss changes (by other machines in a shared file system, or through a name elsewhere), so
/// a task that must not miss any still polls occasionally.
#[async_trait]
pub trait Watch: Send + Sync {
    /// Watches exactly these directories from now on; `true` = also the contents of the files in
    /// them, `false` = only the directories in them. Skips directories that do not exist.
    ///
    /// # Errors
    /// The system's error, for example because there are too many. Notifications are unreliable
    /// then.
    fn set_directories(&self, directories: &BTreeMap<PathBuf, bool>) -> io::Result<Coverage>;

    /// Returns the changes since the last call; waits for at least one. Cancel safe.
    async fn changed(&self) -> BTreeSet<Change>;
}

/// The coverage of a watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Some directory was not watched before: its changes until now were not reported.
    pub new: bool,
    /// Content may change without a notification: the system may not support it, or other machines
    /// write there too.
    pub blind: bool,
}

/// A change that a watch reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The bytes of this file.
    Content(PathBuf),
    /// This name was created, removed or replaced.
    Name(PathBuf),
    /// A file was renamed; reported in addition to the changes of names. Known only of files, from
    /// a watched directory of files to another one.
    Moved {
        /// Increases from one move to the next, so that moves reported together are ordered.
        nth: u64,
        /// The name that it had.
        from: PathBuf,
        /// The name that it has now.
        to: PathBuf,
    },
    /// Too many changes to list.
    Uncounted,
}
