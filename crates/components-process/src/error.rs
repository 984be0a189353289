//! Faults of a plug-in, and their remedies.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

use crate::VERSION;

/// A failure of a plug-in.
#[derive(Debug, Error)]
#[error("plug-in `{command}` {fault}")]
pub(crate) struct PluginError {
    /// Its command.
    pub(crate) command: Arc<str>,
    /// Its fault.
    pub(crate) fault: Fault,
}

/// A fault of a plug-in.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("cannot be started: {0}; correct `command`")]
    Start(io::Error),
    #[error("cannot be started: {0}; install Java 17 or later, or correct `command`")]
    NoJava(io::Error),
    #[error(
        "was not ready within {0:?}; make it connect to the socket in AQUEDUCT_PLUGIN_SOCKET and \
         answer Hello, or raise `start_timeout`"
    )]
    NotReady(Duration),
    #[error(
        "exited with {status}{}; the agent restarts it; if this repeats, correct the plug-in",
        last(last_line)
    )]
    Ended { status: ExitStatus, last_line: Option<String> },
    #[error(
        "closed its connection: {0}; the agent killed it and restarts it; if this repeats, correct \
         the plug-in"
    )]
    Closed(io::Error),
    #[error(
        "did not answer within {0:?}, so the agent killed it and restarts it; make it faster, or \
         raise `timeout`"
    )]
    Slow(Duration),
    #[error(
        "sent a frame of {bytes} bytes, over the limit of {max}; raise `frame_max`, or make its \
         answers smaller"
    )]
    Oversized { bytes: u64, max: usize },
    #[error("sent an invalid answer: {0}; correct the plug-in")]
    Unusable(String),
    #[error(
        "uses version {0} of the plug-in protocol, but this agent supports only version {VERSION}; \
         use an SDK for this version"
    )]
    Version(u32),
    #[error("is a {found}, but the configuration uses it as {expected}; correct `command`")]
    Role { found: String, expected: &'static str },
    #[error(
        "may return different results for the same event; set `effect = true`, which is allowed \
         only on the first agent of a path"
    )]
    Effect,
    #[error(
        "has ended with the state of this file, whose events are written again; if this repeats, \
         correct the plug-in"
    )]
    Lost,
    #[error("cannot get an event that does not fit into a frame of {0} bytes; raise `frame_max`")]
    TooLarge(usize),
    #[error("reported a failure: {0}; fix its cause, or correct the plug-in")]
    Failed(String),
    #[error("cannot deliver {events} events: {reason}; fix its cause, or correct the plug-in")]
    Retry { events: usize, reason: String, after: Option<Duration> },
}

impl Fault {
    /// Returns the fault of a program that cannot be started.
    pub(crate) fn start(error: io::Error, command: &[String]) -> Self {
        let program = command.first().map(Path::new).and_then(Path::file_name);
        let is_java = program.is_some_and(|name| name == "java");
        match is_java && error.kind() == io::ErrorKind::NotFound {
            true => Self::NoJava(error),
            false => Self::Start(error),
        }
    }
}

/// The last line that it printed, as the end of a message.
fn last(line: &Option<String>) -> String {
    line.as_ref().map(|line| format!("; its last output line: {line}")).unwrap_or_default()
}

impl Classify for PluginError {
    fn class(&self) -> ErrorClass {
        match self.fault {
            Fault::Start(_)
            | Fault::NoJava(_)
            | Fault::Version(_)
            | Fault::Role { .. }
            | Fault::Effect
            | Fault::TooLarge(_) => ErrorClass::Blocked,
            // It may have delivered the events.
            Fault::Ended { .. }
            | Fault::Closed(_)
            | Fault::Slow(_)
            | Fault::Oversized { .. }
            | Fault::Unusable(_) => ErrorClass::Indeterminate,
            Fault::NotReady(_) | Fault::Lost | Fault::Failed(_) | Fault::Retry { .. } => {
                ErrorClass::Transient
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match &self.fault {
            Fault::Retry { after, .. } => *after,
            _ => None,
        }
    }
}
