//! Log lines on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::thread;

use agent::stderr::{self, Flush};
use clap::ValueEnum;

use super::log_filter;
use super::startup;

use super::log_fields;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text each, for people
    #[default]
    Text,
    /// One JSON object each, for programs
    Json,
}

/// Starts the log: lines selected by `RUST_LOG`, otherwise `info` and worse. Drop the result at the
/// very end: it waits a moment for the last lines.
///
/// # Errors
/// `RUST_LOG` is invalid, or no thread can be started.
pub(super) fn start(format: LogFormat) -> Result<Flush, String> {
    let filter = log_filter::parse(&std::env::var("RUST_LOG").unwrap_or_default())?;
    let cannot = |error: &dyn std::error::Error| format!("cannot write log lines: {error}");
    let flush = stderr::start().map_err(|error| cannot(&error))?;
    let writer = flush.lines().clone();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let started = match format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.fmt_fields(log_fields::Escaped).with_ansi(colours).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| cannot(&*error))?;
    std::panic::set_hook(Box::new(panicked));
    startup::log_module();
    Ok(flush)
}

/// Logs a panic: the default hook would wait for standard error.
fn panicked(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let is_wanted = backtrace.status() == BacktraceStatus::Captured;
    let backtrace = is_wanted.then(|| backtrace.to_string());
    let thread = thread::current();
    let thread = thread.name().unwrap_or_default();
    tracing::error!(
        thread,
        location,
        backtrace,
        "panicked: {message}; this is a bug, please report it; if `/livez` fails, restart the agent"
    );
}
