//! Lines that are one event: a message and the stack trace behind it.
//!
//! An event is a line that begins one and all lines behind it up to the next that begins one; the
//! first line of a file always does. Positions stand between events alone, so that a restart reads
//! an event again from its first line, and cuts it as before.
//!
//! | an event ends | |
//! |---|---|
//! | before a line that begins one | once that line has its LF |
//! | before a line with which it would have more than `bytes_max`, or more than `lines_max` lines | that line begins the next one, whatever it is |
//! | before a line over `line_max` | which is an event by itself, cut as ever |
//! | when its file has not grown for `timeout` | with its last line that has an LF; what comes later is another event |
//! | at the end of a file that was rotated | with a last line without LF, when that is a line |

use std::time::Duration;

use memchr::memchr_iter;
use pipeline::BuildError;
use pipeline::units::{ByteSize, Period};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lines::{End, Limits, Lines, Piece};

/// Which lines are one event.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Multiline {
    /// Regular expression of the lines that begin an event; all others belong to the event before
    /// them. Either this or `continue`.
    #[serde(default)]
    start: Option<String>,
    /// Regular expression of the lines that belong to the event before them; all others begin one.
    #[serde(default, rename = "continue")]
    continuation: Option<String>,
    /// Most lines of an event. A line more begins another event.
    #[serde(default = "default_lines_max")]
    lines_max: u32,
    /// Most bytes of an event, unless it is a single line; at most `batch_bytes`. A line that does
    /// not fit begins another event.
    #[serde(default = "default_bytes_max")]
    bytes_max: ByteSize,
    /// How long after the last write to its file the last event counts as ended.
    #[serde(default = "default_timeout")]
    timeout: Period,
}

fn default_lines_max() -> u32 {
    500
}

fn default_bytes_max() -> ByteSize {
    ByteSize::mib(1)
}

fn default_timeout() -> Period {
    Period(Duration::from_secs(5))
}

/// Which lines are one event, as the tailer uses it.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pattern: Regex,
    /// Whether a line that matches begins an event, and not one that does not.
    matching_begins: bool,
    lines_max: usize,
    bytes_max: usize,
    /// How long a file is quiet before its last event counts as ended.
    pub(super) timeout: Duration,
}

impl Multiline {
    /// As the tailer uses it, with these limits.
    ///
    /// # Errors
    /// What cannot be set.
    pub(super) fn joining(&self, limits: Limits) -> Result<Joining, BuildError> {
        let (text, setting, matching_begins) = match (&self.start, &self.continuation) {
            (Some(text), None) => (text, "multiline.start", true),
            (None, Some(text)) => (text, "multiline.continue", false),
            (Some(_), Some(_)) | (None, None) => {
                let problem = "set `start` (lines that begin an event) or `continue` (lines that \
                               belong to the event before them), and not both";
                return Err(BuildError::invalid("multiline", problem));
            }
        };
        let pattern = Regex::new(text).map_err(|error| BuildError::invalid(setting, error))?;
        if self.lines_max == 0 {
            let problem = "an event has at least one line";
            return Err(BuildError::invalid("multiline.lines_max", problem));
        }
        let bytes_max = usize::try_from(self.bytes_max.0).unwrap_or(usize::MAX);
        if bytes_max == 0 || bytes_max > limits.batch_bytes {
            let problem = "it is between 1B and `batch_bytes`: an event fits a batch";
            return Err(BuildError::invalid("multiline.bytes_max", problem));
        }
        let (lines_max, timeout) = (self.lines_max as usize, self.timeout.0);
        if timeout.is_zero() {
            let problem = "it is more than nothing: a writer may be in the middle of an event";
            return Err(BuildError::invalid("multiline.timeout", problem));
        }
        Ok(Joining { pattern, matching_begins, lines_max, bytes_max, timeout })
    }
}

/// The event that is being joined: where it begins, and its lines so far.
struct Open {
    start: usize,
    lines: usize,
}

impl Joining {
    /// Bytes that are read at a time: the longest event, with the line behind it.
    pub(super) fn read_bytes(&self, limits: Limits) -> usize {
        let event = self.bytes_max.max(limits.line_bytes) + 1;
        limits.read_bytes().max(event + limits.line_bytes + 1)
    }

    /// Whether the line, which ends at `end`, is not of the event that is open.
    fn is_of_another(&self, open: &Open, line: &[u8], end: usize, bytes_max: usize) -> bool {
        open.lines == self.lines_max
            || end - open.start > bytes_max
            || self.pattern.is_match(line) == self.matching_begins
    }

    /// The events that `data` begins with, which is not in the rest of a line that was cut.
    pub(super) fn next_piece(&self, data: &[u8], end: End, limits: Limits) -> Piece {
        let Limits { line_bytes, batch_bytes, batch_events } = limits;
        let bytes_max = self.bytes_max.min(batch_bytes);
        let mut open = Open { start: 0, lines: 0 };
        let mut lengths: Vec<u32> = Vec::new();
        let mut line_at = 0;
        let mut is_long = false;
        let events = |lengths: Vec<u32>, bytes: usize| Piece::Lines {
            lines: Lines::Measured(lengths),
            bytes,
            unended: false,
        };
        for lf in memchr_iter(b'\n', data) {
            let line = &data[line_at..lf];
            if line.len() > line_bytes {
                is_long = true;
                break;
            }
            if open.lines > 0 && self.is_of_another(&open, line, lf, bytes_max) {
                if open.start > 0 && line_at > batch_bytes {
                    return events(lengths, open.start);
                }
                lengths.push((line_at - 1 - open.start) as u32);
                open = Open { start: line_at, lines: 0 };
                if lengths.len() == batch_events {
                    return events(lengths, line_at);
                }
            }
            open.lines += 1;
            line_at = lf + 1;
        }
        let rest = &data[line_at..];
        let is_ended = match end {
            _ if is_long || rest.len() > line_bytes => true,
            End::Open => false,
            End::Quiet | End::Cut => true,
            End::Line => {
                rest.is_empty()
                    || (open.lines > 0 && self.is_of_another(&open, rest, data.len(), bytes_max))
            }
        };
        let fits = open.start == 0 || line_at <= batch_bytes;
        if is_ended && open.lines > 0 && fits {
            lengths.push((line_at - 1 - open.start) as u32);
            open = Open { start: line_at, lines: 0 };
        }
        if !lengths.is_empty() {
            return events(lengths, open.start);
        }
        match open.lines {
            0 => super::lines::first_line(data, end, line_bytes),
            // Its last line lacks its LF, and will not get it.
            _ if end == End::Line => {
                let lines = Lines::Measured(vec![data.len() as u32]);
                Piece::Lines { lines, bytes: data.len(), unended: true }
            }
            _ => Piece::Nothing,
        }
    }
}
