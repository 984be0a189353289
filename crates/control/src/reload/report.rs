//! The result of a reload, in the log of the agent and in the audit log.

use agent::status::{PartChange, ReloadResult, ReloadStatus};
use tracing::{error, info};

use crate::audit::Outcome;

/// Returns the result as the audit log has it.
pub(super) fn outcome(result: ReloadResult) -> Outcome {
    match result {
        ReloadResult::Applied => Outcome::Done,
        ReloadResult::Unchanged => Outcome::Unchanged,
        _ => Outcome::Failed,
    }
}

/// Logs the result of a reload.
pub(super) fn log(status: &ReloadStatus) {
    let of = |parts: &[PartChange]| {
        let names: Vec<&str> = parts.iter().map(|change| &*change.part).collect();
        names.join(", ")
    };
    let (by, took_seconds) = (&status.asked_by, status.took_seconds);
    match (&status.error, status.result) {
        (Some(error), ReloadResult::RolledBack) => {
            error!(
                by,
                took_seconds,
                error,
                "cannot apply the new configuration, so the previous one stays in effect; fix \
                 `error` and reload again"
            );
        }
        (Some(error), ReloadResult::RollbackFailed) => {
            error!(
                by,
                took_seconds,
                error,
                "a reload and its rollback failed, so some parts are stopped; fix `error` and \
                 reload again"
            );
        }
        (Some(error), _) => {
            error!(
                by,
                error,
                "rejected the new configuration, so the previous one stays in effect; fix `error` \
                 and reload again"
            );
        }
        (None, ReloadResult::Unchanged) => {
            info!(by, "reload: the configuration has not changed; no action needed");
        }
        (None, _) => info!(
            by,
            took_seconds,
            started = of(&status.started),
            stopped = of(&status.stopped),
            restarted = of(&status.restarted),
            kept = status.kept.len(),
            "reload: the new configuration is running",
        ),
    }
}
