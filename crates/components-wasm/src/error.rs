//! Faults of a plug-in, and their remedies.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::units::ByteSize;
use pipeline::{Classify, ErrorClass};
use thiserror::Error;

use crate::VERSION;

/// A failure of a plug-in.
#[derive(Debug, Error)]
#[error("plug-in `{module}` {fault}")]
pub(crate) struct PluginError {
    /// The file of its module.
    pub(crate) module: Arc<str>,
    /// Its fault.
    pub(crate) fault: Fault,
}

/// A fault of a plug-in.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("cannot be read: {0}; correct `module`, or the permissions of the file")]
    Read(io::Error),
    #[error("has {bytes} bytes, over the limit of {max}; build a smaller module")]
    Large { bytes: u64, max: u64 },
    #[error(
        "has the SHA-256 {found}, but the configuration expects {expected}; install the expected \
         module, or correct `sha256`"
    )]
    Digest { found: String, expected: String },
    #[error("is not a WebAssembly module that the agent can run: {0}; correct `module`")]
    Invalid(String),
    #[error(
        "imports `{0}`, which the agent does not have; build it for wasm32-unknown-unknown, \
         without WASI, and with the functions of docs/plugins.md only"
    )]
    Import(String),
    #[error("does not export `{0}`; export it with the type in docs/plugins.md")]
    Export(&'static str),
    #[error(
        "uses version {0} of the contract, but this agent supports only version {VERSION}; build \
         it with the SDK of this version"
    )]
    Version(i32),
    #[error("failed: {trap}{}; correct the plug-in", last(last_line))]
    Trap { trap: String, last_line: Option<String> },
    #[error(
        "did not process a batch within {0:?}, so the agent stopped it; make it faster, or raise \
         `timeout`"
    )]
    Slow(Duration),
    #[error("needs more memory than {0}; raise `memory_max`, or make it use less memory")]
    Memory(ByteSize),
    #[error(
        "writes more than {0} for a batch; raise `output_max`, or make it write fewer headers and \
         smaller bodies"
    )]
    Oversized(ByteSize),
    #[error("made an invalid call: {0}; correct the plug-in")]
    Unusable(String),
    #[error("reported the failure {code}{}; correct the plug-in", last(last_line))]
    Failed { code: i32, last_line: Option<String> },
}

/// The last line that it logged in the call, as the end of a message.
fn last(line: &Option<String>) -> String {
    line.as_ref().map(|line| format!("; its last log line: {line}")).unwrap_or_default()
}

impl Classify for PluginError {
    fn class(&self) -> ErrorClass {
        match self.fault {
            Fault::Read(_)
            | Fault::Large { .. }
            | Fault::Digest { .. }
            | Fault::Invalid(_)
            | Fault::Import(_)
            | Fault::Export(_)
            | Fault::Version(_) => ErrorClass::Blocked,
            Fault::Trap { .. }
            | Fault::Slow(_)
            | Fault::Memory(_)
            | Fault::Oversized(_)
            | Fault::Unusable(_)
            | Fault::Failed { .. } => ErrorClass::Transient,
        }
    }
}

impl Fault {
    /// Returns the fault of a module that cannot be compiled or linked.
    pub(crate) fn invalid(error: &wasmtime::Error) -> Self {
        Self::Invalid(format!("{error:#}"))
    }
}

/// Returns the fault of an invalid call.
pub(crate) fn unusable<T>(problem: String) -> Result<T, Fault> {
    Err(Fault::Unusable(problem))
}
