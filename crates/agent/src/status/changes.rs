//! The results of the last changes: a reload and a drain.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::held::DrainStatus;
use super::reload::ReloadStatus;

/// The results of the last changes. Clones share them.
#[derive(Clone, Default)]
pub struct ChangeBoard {
    reload: Arc<Mutex<Option<(Instant, ReloadStatus)>>>,
    /// The last drain, with its begin.
    drain: Arc<Mutex<Option<(Instant, DrainStatus)>>>,
}

impl ChangeBoard {
    /// Returns the last drain, as of `now`.
    pub fn drain(&self, now: Instant) -> Option<DrainStatus> {
        let drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner).clone();
        drain.map(|(began, status)| DrainStatus {
            began_seconds_ago: now.saturating_duration_since(began).as_secs_f64(),
            ..status
        })
    }

    /// Shows a drain and its begin; `None` hides the last one.
    pub fn show_drain(&self, drain: Option<(Instant, DrainStatus)>) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = drain;
    }

    /// Returns the result of the last reload, as of `now`.
    pub fn reload(&self, now: Instant) -> Option<ReloadStatus> {
        let last = self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.map(|(ended, status)| ReloadStatus {
            finished_seconds_ago: now.saturating_duration_since(ended).as_secs_f64(),
            ..status
        })
    }

    /// Shows the result of a reload that has ended now.
    pub fn reloaded(&self, status: ReloadStatus) {
        let mut last = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), status));
    }
}
