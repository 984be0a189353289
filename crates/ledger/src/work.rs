//! An attempt to append an entry, while it is under way.

use futures::future::BoxFuture;

use super::committer::{Attempt, Verdict};
use super::error::LedgerError;
use super::store::Roll;

/// The files of a roll on their way to being whole.
pub(super) type Closing<'a> = BoxFuture<'a, Result<(), LedgerError>>;

/// An attempt under way.
pub(super) struct Work<'a> {
    pub(super) attempt: Attempt,
    /// The files of a commit.
    pub(super) roll: &'a Roll,
    /// Work that must finish before an entry may win.
    pub(super) closing: Option<Closing<'a>>,
    /// The entry that may be on its way into the ledger.
    pub(super) prepared: Option<String>,
}

impl<'a> Work<'a> {
    pub(super) fn new(attempt: Attempt, roll: &'a Roll, closing: Option<Closing<'a>>) -> Self {
        Self { attempt, roll, closing, prepared: None }
    }

    /// Waits until the files are whole, unless they were found to be before.
    pub(super) async fn closed(&mut self) -> Result<(), LedgerError> {
        match self.closing.take() {
            Some(closing) => closing.await,
            None => Ok(()),
        }
    }

    /// The prepared entry, if there is one.
    pub(super) fn into_prepared(self) -> Option<String> {
        self.prepared
    }
}

/// Why an attempt ended without an entry or another's.
pub(super) fn stopped(verdict: &Verdict, prepared: Option<String>) -> LedgerError {
    match verdict {
        Verdict::Fenced => LedgerError::Fenced,
        _ => LedgerError::Withdrawn { path: prepared.unwrap_or_default() },
    }
}
