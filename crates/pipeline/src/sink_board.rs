//! The status of a sink for status pages, in addition to the knowledge of its group.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// A directory that is not complete, because edges have not reported yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The directory, below the prefix of the dataset.
    pub directory: String,
    /// Names of the edges.
    pub waits_for: String,
    /// When it could have been complete at the earliest.
    pub since: Instant,
}

/// The status of a sink. All fields are optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// Files that are being written.
    pub open_files: Option<u64>,
    /// The data that the last commit in the store made visible, in words.
    pub last_commit: Option<String>,
    /// Address of the agent or server that it sends to.
    pub peer: Option<String>,
    /// A problem that does not prevent delivery, in a sentence.
    pub trouble: Option<String>,
    /// The oldest incomplete directory.
    pub incomplete: Option<Incomplete>,
}

/// A place for a [`SinkStatus`]: the sink writes it, status pages read it at any time, also while
/// the sink is opening or waits for its store. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SinkBoard {
    status: Arc<Mutex<SinkStatus>>,
}

impl SinkBoard {
    fn status(&self) -> MutexGuard<'_, SinkStatus> {
        // Each change is one assignment.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many files are being written.
    pub fn set_open_files(&self, files: u64) {
        self.status().open_files = Some(files);
    }

    /// Records the data that a commit in the store has made visible.
    pub fn set_last_commit(&self, what: String) {
        self.status().last_commit = Some(what);
    }

    /// Sets the address to which it sends; `None` without a connection.
    pub fn set_peer(&self, address: Option<String>) {
        self.status().peer = address;
    }

    /// This does not work, although events are delivered; `None`: it works.
    pub fn set_trouble(&self, what: Option<String>) {
        self.status().trouble = what;
    }

    /// Sets the oldest incomplete directory; `None` if no directory waits for edges.
    pub fn set_incomplete(&self, oldest: Option<Incomplete>) {
        self.status().incomplete = oldest;
    }

    /// As it is now.
    pub fn read(&self) -> SinkStatus {
        self.status().clone()
    }
}
