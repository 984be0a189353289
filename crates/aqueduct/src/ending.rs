//! Runs an agent in this process until its work is complete: its source has ended and its channel
//! is empty, or it makes no progress. [`watch`] judges the snapshots.

mod call;
mod password;
mod watch;

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use config::Plan;
use program::cli::{self, EXIT_RUNTIME};

use crate::runtime;

pub(crate) use call::{HostContext, Problem, prepared, translated};
pub(crate) use password::with_password;
use watch::Outcome;
pub(crate) use watch::{Labels, Watch};

/// Runs the plan until its work is complete, and prints the progress. Then `ended` prints the
/// result and returns the exit code.
pub(crate) fn follow(
    plan: Plan,
    words: Labels,
    ended: impl FnOnce(&Watch) -> ExitCode,
) -> ExitCode {
    let seen = Arc::new(Mutex::new(Watch::new(words)));
    let watched = seen.clone();
    let look = move |snapshot: &agent::status::Snapshot| -> ControlFlow<()> {
        let mut watch = watched.lock().unwrap_or_else(PoisonError::into_inner);
        watch.update(snapshot).into_iter().for_each(|line| cli::print_line(&line));
        match watch.outcome {
            Outcome::Goes => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    };
    let tool = words.tool;
    let not_yet = |problem: &str| {
        cli::print_line(&format!("{tool}: {problem}; run the same command again to resume"));
        ExitCode::from(EXIT_RUNTIME)
    };
    cli::launch_watched(plan, catalogue::FULL, Box::new(look), |code| {
        if code != ExitCode::SUCCESS {
            let _ = not_yet("not complete");
            return code;
        }
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &seen.outcome {
            Outcome::Complete => ended(&seen),
            Outcome::Goes => not_yet("stopped before its end"),
            Outcome::Stalled(problem) => not_yet(problem),
        }
    })
}

/// Runs a future to completion on a new runtime.
pub(crate) fn waited<T>(work: impl Future<Output = T>) -> Result<T, String> {
    Ok(runtime::new()?.block_on(work))
}
