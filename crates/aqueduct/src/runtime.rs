//! Runs the asynchronous part of a command on its own thread.

use std::io;

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

/// The runtime of a command cannot start.
#[derive(Debug, Error)]
#[error(
    "cannot start the threads of this command: {0}; raise the limit of processes (`ulimit -u`)"
)]
pub(crate) struct NoThreads(io::Error);

impl From<NoThreads> for String {
    fn from(error: NoThreads) -> Self {
        error.to_string()
    }
}

impl From<NoThreads> for io::Error {
    fn from(error: NoThreads) -> Self {
        Self::other(error)
    }
}

/// Returns a new runtime.
///
/// # Errors
/// The host has no more threads.
pub(crate) fn new() -> Result<Runtime, NoThreads> {
    Builder::new_current_thread().enable_all().build().map_err(NoThreads)
}

/// Runs `work` to its end on a new runtime.
///
/// # Errors
/// `work` fails, or the host has no more threads.
pub(crate) fn block_on<T, E: From<NoThreads>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    new()?.block_on(work)
}
