//! Settings of the `exec` source.

use std::sync::Arc;
use std::time::Duration;

use kit::multiline::{Joining, Multiline};
use pipeline::BuildError;
use pipeline::units::{ByteSize, Period};
use schemars::JsonSchema;
use serde::Deserialize;

/// Shortest pause before a command is started again.
const THROTTLE_MIN: Duration = Duration::from_millis(100);

/// The longest line, and event of several lines, that may be set.
const EVENT_MAX: ByteSize = ByteSize::mib(16);

/// Settings of the `exec` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Program and its arguments: a list, or a text that is split at blanks without regard to
    /// quotes. With `shell`, one text for the shell.
    command: Command,
    /// Shell that runs the command, with its options. Pipes, wildcards, variables and quotes need a
    /// shell.
    #[serde(default)]
    shell: Option<String>,
    /// Whether the command is restarted after it exits. Otherwise the source ends with it.
    #[serde(default)]
    restart: bool,
    /// Pause before a restart; at least 100 ms. It is up to 30 s longer after failures.
    #[serde(default = "pipeline::units::seconds::<10>")]
    restart_throttle: Period,
    /// Whether each line of standard error is logged. Otherwise the last line is part of the
    /// message if the command fails.
    #[serde(default)]
    log_stderr: bool,
    /// Length limit of a line. Longer lines are cut, get the header `truncated`, and are counted.
    #[serde(default = "pipeline::units::mib::<1>")]
    line_max: ByteSize,
    /// Rules that join lines to one event, such as a message and its stack trace. Without them each
    /// line is an event.
    #[serde(default)]
    multiline: Option<Multiline>,
    /// Limit of events in a batch. Flume's batchSize is 20 by default.
    #[serde(default = "pipeline::units::number::<1000>")]
    batch_events: usize,
    /// Longest time that a line waits for others of its batch. Flume's default is 3 s.
    #[serde(default = "pipeline::units::seconds::<1>")]
    batch_timeout: Period,
}

/// A command as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Command {
    /// A text for a shell, or one that is split at blanks.
    Text(String),
    /// Program and arguments, unchanged.
    List(Vec<String>),
}

/// What the settings say.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    /// The command as messages show it.
    pub(super) shown: String,
    pub(super) restart: bool,
    pub(super) restart_throttle: Duration,
    pub(super) log_stderr: bool,
    pub(super) line_max: usize,
    /// Which lines are one event.
    pub(super) joining: Option<Arc<Joining>>,
    pub(super) batch_events: usize,
    pub(super) batch_timeout: Duration,
}

impl Config {
    /// The options.
    pub(super) fn options(self) -> Result<Options, BuildError> {
        let (words, shown) = words(self.shell.as_deref(), self.command)?;
        let mut words = words.into_iter();
        let Some(program) = words.next().filter(|program| !program.is_empty()) else {
            return Err(BuildError::invalid("command", "must name a program"));
        };
        if self.line_max.0 == 0 || self.line_max > EVENT_MAX {
            let problem = format!("must be from 1B to {EVENT_MAX}");
            return Err(BuildError::invalid("line_max", problem));
        }
        if self.batch_events == 0 {
            return Err(BuildError::invalid("batch_events", "must be at least 1"));
        }
        if self.restart_throttle.0 < THROTTLE_MIN {
            let problem = "must be at least 100ms, because a command that exits immediately would \
                           use a whole core";
            return Err(BuildError::invalid("restart_throttle", problem));
        }
        let joining = self.multiline.map(|it| it.joining(EVENT_MAX).map(Arc::new)).transpose()?;
        Ok(Options {
            program,
            arguments: words.collect(),
            shown,
            restart: self.restart,
            restart_throttle: self.restart_throttle.0,
            log_stderr: self.log_stderr,
            line_max: self.line_max.0 as usize,
            joining,
            batch_events: self.batch_events,
            batch_timeout: self.batch_timeout.0,
        })
    }
}

/// Program and arguments, and the command as it is written.
fn words(shell: Option<&str>, command: Command) -> Result<(Vec<String>, String), BuildError> {
    let at_blanks = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    match (shell, command) {
        (None, Command::List(words)) => {
            let shown = words.join(" ");
            Ok((words, shown))
        }
        (None, Command::Text(text)) => Ok((at_blanks(&text), text)),
        (Some(_), Command::List(_)) => {
            Err(BuildError::invalid("command", "must be a string, not a list, with `shell`"))
        }
        (Some(shell), Command::Text(text)) => {
            let mut words = at_blanks(shell);
            if words.is_empty() {
                return Err(BuildError::invalid(
                    "shell",
                    "must name a program; write for example \"/bin/sh -c\"",
                ));
            }
            words.push(text.clone());
            Ok((words, text))
        }
    }
}
