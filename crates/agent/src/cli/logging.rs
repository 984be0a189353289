//! Log lines on standard error.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

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

/// Begins to write log lines: those that `RUST_LOG` asks for, else `info` and worse.
///
/// # Errors
/// `RUST_LOG` cannot be understood.
pub(super) fn start(format: LogFormat) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(wanted) if !wanted.is_empty() => EnvFilter::try_new(&wanted)
            .map_err(|error| format!("RUST_LOG: `{wanted}` is no filter: {error}"))?,
        _ => EnvFilter::new("info"),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.fmt_fields(log_fields::Escaped).with_ansi(colours).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("cannot write log lines: {error}"))
}
