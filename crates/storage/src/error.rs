//! Errors of a store.

use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

/// The cause from another library.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error of a store.
#[derive(Debug, Error)]
pub enum FsError {
    /// The name does not exist, or its directory does not.
    #[error("{path} does not exist")]
    NotFound {
        /// The name.
        path: String,
    },
    /// The name is taken.
    #[error("{path} already exists")]
    AlreadyExists {
        /// The name.
        path: String,
    },
    /// A directory cannot be created because its parent does not exist.
    #[error("cannot create the directory {path}")]
    NoDirectory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The store was not reached, or is not the active one: nothing was done.
    #[error("cannot {call} {path}: the file system or bucket is unreachable")]
    Unavailable {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The NameNode accepts no changes for now.
    #[error("cannot {call} {path}: HDFS is in safe mode")]
    SafeMode {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// The answer, and the remedy.
        #[source]
        source: Cause,
    },
    /// No room is left: the disk is full, or a quota is used up.
    #[error("cannot {call} {path}: no space or quota left")]
    NoRoom {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// This user may not.
    #[error("cannot {call} {path}: permission denied")]
    Denied {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The store does not support it for this path, or the client lacks a requirement.
    #[error("cannot {call} {path}")]
    Unfit {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// The cause and the remedy.
        #[source]
        source: Cause,
    },
    /// No answer in time. It may have been done.
    #[error(
        "no response to {call} {path} within {limit:?}, so it may be done or not; check the file \
         system or bucket"
    )]
    Timeout {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// The time limit.
        limit: Duration,
    },
    /// The call failed. It may have been done.
    #[error("{call} {path} failed")]
    Failed {
        /// The call.
        call: &'static str,
        /// The name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The URL or the client's set-up is wrong.
    #[error("cannot use the file system or bucket {url}: {problem}")]
    Unusable {
        /// The URL as it was given.
        url: String,
        /// The problem and the remedy.
        problem: String,
    },
}

impl Classify for FsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::NoDirectory { .. }
            | Self::Unavailable { .. }
            | Self::SafeMode { .. }
            | Self::NoRoom { .. } => ErrorClass::Transient,
            Self::Timeout { .. } | Self::Failed { .. } => ErrorClass::Indeterminate,
            Self::Denied { .. } | Self::Unfit { .. } | Self::Unusable { .. } => ErrorClass::Blocked,
        }
    }
}

impl FsError {
    /// Returns the error of a call that a store does not support.
    pub(crate) fn lacks(call: &'static str, path: &str) -> Self {
        Self::Unfit {
            call,
            path: path.into(),
            source: "this store does not support the call".into(),
        }
    }

    /// Returns `true` if the error means that a name is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Returns `true` if the error means that a name is taken.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rename without an answer may have been done; treating it as refused causes duplicates.
    #[test]
    fn silence_is_not_a_refusal() {
        let limit = Duration::from_secs(15);
        let error = FsError::Timeout { call: "rename", path: "/a".into(), limit };
        assert_eq!(error.class(), ErrorClass::Indeterminate);
        assert_eq!(
            error.to_string(),
            "no response to rename /a within 15s, so it may be done or not; check the file system \
             or bucket"
        );
    }
}
