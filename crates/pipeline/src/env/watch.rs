//! Changes of directories, reported by the system.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

/// Tells what changes in directories when it changes, so that no task has to look all the time.
///
/// It may miss something (what others write to a shared file system, what is written through a name
/// elsewhere), so a task that must not miss it looks now and then all the same.
#[async_trait]
pub trait Watch: Send + Sync {
    /// Looks at these directories from now on, and at no others; `true` = also at the content of
    /// the files in them, `false` = only at the directories in them. What is not there is passed
    /// over.
    ///
    /// # Errors
    /// As the system says, for instance that there are too many. Nothing is notified reliably then.
    fn look_at(&self, directories: &BTreeMap<PathBuf, bool>) -> io::Result<Sight>;

    /// What changed since the last call; waits until something has. Cancel safe.
    async fn changed(&self) -> BTreeSet<Change>;
}

/// What a watch can see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sight {
    /// Some directory was not looked at before: what changed in it until now was not told.
    pub new: bool,
    /// Content may change without a notification: the system may not look, or others write there
    /// too.
    pub blind: bool,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The bytes of this file.
    Content(PathBuf),
    /// This name came, went, or means something else now.
    Name(PathBuf),
    /// What had one name has another; reported in addition to what it changes about its names.
    /// Known only of files, from a directory whose files are looked at to one that is looked at.
    Moved {
        /// Rises from one move to the next, so that those told together stand in order.
        nth: u64,
        /// The name that it had.
        from: PathBuf,
        /// The name that it has now.
        to: PathBuf,
    },
    /// More than was kept count of.
    Uncounted,
}
