//! What a store can answer when it does not do what it was asked.

use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

/// Cause as another library gave it.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum FsError {
    /// There is nothing of that name, or no directory to put it in.
    #[error("{path} is not there")]
    NotFound {
        /// The name.
        path: String,
    },
    /// The name is taken.
    #[error("{path} is there already")]
    AlreadyExists {
        /// The name.
        path: String,
    },
    /// A directory cannot be made, and there is none to make it in.
    #[error("cannot make the directory {path}")]
    NoDirectory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The store was not reached, or is not the active one: nothing was done.
    #[error("the store is not reachable for {call} {path}")]
    Unavailable {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The NameNode takes no changes for now.
    #[error("the store is in safe mode and takes no {call} {path}")]
    SafeMode {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// What it said, and what helps.
        #[source]
        source: Cause,
    },
    /// No room is left: the disk is full, or a quota is used up.
    #[error("no room for {call} {path}")]
    NoRoom {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// This user may not.
    #[error("no permission for {call} {path}")]
    Denied {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The store cannot do it for this path, or the client lacks what it takes.
    #[error("{call} {path} is not possible")]
    Unfit {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// Why, and what helps.
        #[source]
        source: Cause,
    },
    /// No answer in time. It may have been done.
    #[error("no answer to {call} {path} within {limit:?}")]
    Timeout {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It went wrong on the way. It may have been done.
    #[error("{call} {path} failed")]
    Failed {
        /// What was asked.
        call: &'static str,
        /// Of which name.
        path: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The URL or the client's set-up is wrong.
    #[error("{url} is not a usable store: {problem}")]
    Unusable {
        /// The URL as it was given.
        url: String,
        /// What is wrong and what helps.
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
    /// What a store answers to a call that it does not have.
    pub(crate) fn lacks(call: &'static str, path: &str) -> Self {
        Self::Unfit { call, path: path.into(), source: "this store has no such call".into() }
    }

    /// Whether this says that a name is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether this says that a name is taken.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rename without an answer may have been done; taking it for refused makes duplicates.
    #[test]
    fn silence_is_not_a_refusal() {
        let limit = Duration::from_secs(15);
        let error = FsError::Timeout { call: "rename", path: "/a".into(), limit };
        assert_eq!(error.class(), ErrorClass::Indeterminate);
        assert_eq!(error.to_string(), "no answer to rename /a within 15s");
    }
}
