//! Programs that run while the agent reads their output.

use std::io;
use std::process::ExitStatus;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use super::Stream;

/// The output of a program, as it is printed.
pub type Printed = Box<dyn AsyncRead + Send + Unpin>;

/// A program that was started in a separate process group, with an empty input.
pub struct Started {
    /// Its standard output.
    pub output: Printed,
    /// Its standard error.
    pub errors: Printed,
    /// The process itself.
    pub process: Box<dyn Process>,
}

/// A program to start that connects to this process.
#[derive(Debug, Clone, Copy)]
pub struct Connecting<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// The environment variable with the path of the Unix socket to connect to.
    pub variable: &'a str,
    /// Limit of its data in memory; the limit also applies to each process that it starts.
    pub memory_max: u64,
}

/// A program that was started in a separate process group, with an empty input. The end of its
/// leader ends the other processes of the group, too.
pub struct Child {
    /// Its standard output and standard error.
    pub printed: Printed,
    /// The process itself.
    pub process: Box<dyn Process>,
    /// Its first connection.
    pub connected: BoxFuture<'static, io::Result<Box<dyn Stream>>>,
}

/// A process. Dropped before its end was seen, it and its group are killed.
#[async_trait]
pub trait Process: Send + Sync {
    /// Waits until it has ended; returns its status. Cancel safe.
    ///
    /// # Errors
    /// The system's error.
    async fn ended(&mut self) -> io::Result<ExitStatus>;

    /// Asks it, and all processes of its group, to end: by SIGTERM, or by SIGKILL if `at_once`.
    /// Does nothing once its end was seen.
    fn end(&self, at_once: bool);
}
