//! Joins lines into events: for example a message and its stack trace. This module has the
//! settings, and the rule that decides whether a line belongs to the event before it.
//!
//! An event is a line that begins one, with all lines up to the next line that begins one; the
//! first line of a file or a stream always begins one. In files, positions are only between events,
//! so that a restart reads an event from its first line.
//!
//! In the log of a container, each stream has its own open event: a line of stderr neither joins an
//! event of stdout nor ends it.
//!
//! | module | joins |
//! |---|---|
//! | `stream` | bytes that come in pieces |
//! | `scan` | lines of files, for `tail_dir` and `spool_dir` |

#[cfg(any(test, feature = "testkit"))]
pub mod oracle;
pub mod scan;
pub mod stream;

use std::time::Duration;

use formats::container_log::{self, Stream};
use pipeline::BuildError;
use pipeline::units::{ByteSize, Period};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings, and what only some sources have in addition.
macro_rules! settings {
    ($(#[$about:meta])* $name:ident { $($more:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Deserialize, Serialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Regular expression of the lines that begin an event; all others belong to the event
            /// before them. Set this, `continue` or `container`.
            #[serde(default)]
            start: Option<String>,
            /// Regular expression of the lines that belong to the event before them; all others
            /// begin an event.
            #[serde(default, rename = "continue")]
            continuation: Option<String>,
            /// Whether the lines have the format of a container runtime (containerd, CRI-O,
            /// Docker). Parts of a line that the runtime has split are joined.
            #[serde(default)]
            container: bool,
            /// Limit of the lines of an event. A further line begins another event, which is
            /// counted.
            #[serde(default = "pipeline::units::number_u32::<500>")]
            lines_max: u32,
            /// Size limit of an event, except for a single line. A line that does not fit begins
            /// another event, which is counted.
            #[serde(default = "pipeline::units::mib::<1>")]
            bytes_max: ByteSize,
            $($more)*
        }

        impl $name {
            fn rule(&self) -> Rule<'_> {
                let Self { start, continuation, container, lines_max, bytes_max, .. } = self;
                let (start, continuation) = (start.as_deref(), continuation.as_deref());
                let (container, lines_max, bytes_max) = (*container, *lines_max, *bytes_max);
                Rule { start, continuation, container, lines_max, bytes_max }
            }
        }
    };
}

settings! {
    /// Which lines are one event, in files that are finished.
    FinishedMultiline {}
}

settings! {
    /// Which lines are one event, where more may come.
    Multiline {
        /// Time without a further line after which the last event is complete.
        #[serde(default = "pipeline::units::seconds::<5>")]
        timeout: Period,
    }
}

/// The settings that all have.
struct Rule<'a> {
    start: Option<&'a str>,
    continuation: Option<&'a str>,
    container: bool,
    lines_max: u32,
    bytes_max: ByteSize,
}

/// Counted for each event that had no room for one more of its lines.
pub const EVENT_DIVIDED: &str = "event_divided";

/// Rule for joining lines.
#[derive(Debug, Clone)]
pub struct Joining {
    lines: Lines,
    lines_max: usize,
    /// Most bytes of an event, unless it is a single line.
    pub bytes_max: usize,
    /// How long nothing more comes before the last event counts as ended.
    pub timeout: Duration,
}

/// Lines that belong to the event before them.
#[derive(Debug, Clone)]
enum Lines {
    /// Lines that do not match.
    UnlessMatching(Regex),
    /// Lines that match.
    Matching(Regex),
    /// Parts of a container's line.
    Parts,
}

/// Number of streams with their own open event: lines without a container runtime, stdout and
/// stderr.
const LANES: usize = 3;

/// An unfinished event.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    /// Number of lines; 0 before the first.
    lines: usize,
    /// Bytes of the lines, with their ends.
    bytes: usize,
    /// True if its last line is a partial line of a container.
    is_part: bool,
}

/// A line without its line end.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    /// Index of the event that it may join.
    lane: usize,
    /// True if it is a partial line of a container, and another part follows.
    is_part: bool,
}

/// Relation of a line to the event before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It belongs to that event, as the very first line does.
    Same,
    /// It begins another event.
    Another,
    /// It belongs to that event but has no room there: it begins another event.
    Divided,
}

impl FinishedMultiline {
    /// Creates the rule, with events of up to `most` bytes.
    ///
    /// # Errors
    /// Invalid combinations of settings.
    pub fn joining(&self, most: ByteSize) -> Result<Joining, BuildError> {
        // There is an end, which is not waited for.
        self.rule().joining(Duration::MAX, most)
    }
}

impl Multiline {
    /// Creates the rule, with events of up to `most` bytes.
    ///
    /// # Errors
    /// Invalid combinations of settings.
    pub fn joining(&self, most: ByteSize) -> Result<Joining, BuildError> {
        if self.timeout.0.is_zero() {
            let problem = "must be greater than 0s, because a writer may be in the middle of an \
                           event";
            return Err(BuildError::invalid("multiline.timeout", problem));
        }
        self.rule().joining(self.timeout.0, most)
    }
}

impl Rule<'_> {
    fn joining(&self, timeout: Duration, most: ByteSize) -> Result<Joining, BuildError> {
        let pattern = |setting: &str, text: &str| {
            Regex::new(text).map_err(|error| BuildError::invalid(setting, error))
        };
        let lines = match (self.start, self.continuation, self.container) {
            (Some(text), None, false) => Lines::UnlessMatching(pattern("multiline.start", text)?),
            (None, Some(text), false) => Lines::Matching(pattern("multiline.continue", text)?),
            (None, None, true) => Lines::Parts,
            _ => {
                let problem = "must have exactly one of `start` (lines that begin an event), \
                               `continue` (lines that continue an event) and `container` (parts of \
                               lines of a container)";
                return Err(BuildError::invalid("multiline", problem));
            }
        };
        if self.lines_max == 0 {
            let problem = "must be at least 1";
            return Err(BuildError::invalid("multiline.lines_max", problem));
        }
        if self.bytes_max.0 == 0 || self.bytes_max > most {
            let problem =
                format!("must be from 1B to {most}, because an event must fit into a batch");
            return Err(BuildError::invalid("multiline.bytes_max", problem));
        }
        let lines_max = self.lines_max as usize;
        let bytes_max = usize::try_from(self.bytes_max.0).unwrap_or(usize::MAX);
        Ok(Joining { lines, lines_max, bytes_max, timeout })
    }
}

impl Joining {
    /// Parses the stream of a line, which has no line end.
    fn line<'a>(&self, text: &'a [u8]) -> Line<'a> {
        let entry = container_log::parse_if_likely(text);
        let lane = entry.as_ref().map_or(0, |entry| match entry.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        });
        Line { text, lane, is_part: entry.is_some_and(|entry| entry.is_part) }
    }

    /// Relates `line` to the open event of its stream. An event has at most `most` bytes, or
    /// `bytes_max` if that is lower.
    fn next(&self, open: Open, line: Line<'_>, most: usize) -> Next {
        if open.lines == 0 {
            return Next::Same;
        }
        let belongs = match &self.lines {
            // A further part of a container's line.
            _ if open.is_part => true,
            Lines::UnlessMatching(pattern) => !pattern.is_match(line.text),
            Lines::Matching(pattern) => pattern.is_match(line.text),
            Lines::Parts => false,
        };
        if !belongs {
            return Next::Another;
        }
        let bytes = open.bytes + line.text.len();
        let has_room = open.lines < self.lines_max && bytes <= self.bytes_max.min(most);
        if has_room { Next::Same } else { Next::Divided }
    }

    /// Adds a line, of `bytes` bytes with its line end, to the open event of its stream.
    fn add(&self, open: &mut Open, line: Line<'_>, bytes: usize) {
        let Open { lines, bytes: before, .. } = *open;
        *open = Open { lines: lines + 1, bytes: before + bytes, is_part: line.is_part };
    }

    /// Returns true if no line can follow, because it has the last part of a container's line.
    fn is_complete(&self, open: Open) -> bool {
        matches!(self.lines, Lines::Parts) && open.lines > 0 && !open.is_part
    }
}
