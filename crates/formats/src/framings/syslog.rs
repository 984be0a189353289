//! `syslog`: finds the end of syslog messages in a TCP stream (RFC 6587).
//!
//! ```text
//!   123 <34>1 2026-…     octet counting: a number, a blank, and that many bytes
//!   <34>Oct 11 …⏎        non-transparent framing: up to a line feed or a NUL
//! ```
//!
//! A number is a count only if a blank and a priority follow it. Any other line that begins with a
//! digit is a line.
//!
//! # Wrong counts
//!
//! Some senders count characters instead of bytes, or truncate a message after counting it. After
//! the first counted message of a stream, each message must begin with a count or a priority. If
//! one does not, or if a count leads into the middle of another message, the framing is lost. It
//! resumes at the next count or line end, and the bytes in between become a truncated message.
//!
//! While the count of a message leads to the beginning of the next one, the content never splits
//! it: a sender's text cannot forge messages.

mod starts;

use bytes::{Buf, Bytes, BytesMut};
use pipeline::{BuildContext, BuildError, Component, Frame, Framer, Framing, FramingLost};
use schemars::JsonSchema;
use serde::Deserialize;

use super::SkippedLine;
use starts::{
    Boundary, START_BYTES, Start, begins_message, boundary, inner_start, is_line_end, start,
};

/// Bytes after a counted message that are examined if its count may be wrong: some line ends, and a
/// count with its priority.
const LOOK_AHEAD_BYTES: usize = 24;

/// Settings of the framing `syslog`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "syslog";
    type Role = dyn Framing;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Framing>, BuildError> {
        Ok(Box::new(Syslog))
    }
}

struct Syslog;

impl Framing for Syslog {
    fn begin(&self, message_max: usize) -> Box<dyn Framer> {
        Box::new(SyslogFramer {
            message_max,
            skip: Skip::Nothing,
            searched: 0,
            has_counts: false,
            is_lost: false,
            fragment: BytesMut::new(),
        })
    }
}

/// Splits one stream into messages.
#[derive(Debug)]
struct SyslogFramer {
    message_max: usize,
    skip: Skip,
    /// Bytes at the front of the stream that contain no line end, so that a line that arrives byte
    /// by byte takes linear time.
    searched: usize,
    /// True after the first counted message.
    has_counts: bool,
    /// True after the framing was lost, until the next message.
    is_lost: bool,
    /// Bytes between messages, before the next one.
    fragment: BytesMut,
}

/// Rest of a message that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// Bytes left of a counted message.
    Bytes(usize),
    /// Everything up to the end of a line.
    Line(SkippedLine),
}

/// Result of examining the front of the stream.
enum Step {
    Message(Frame),
    /// The front was not a message and has been removed.
    Skipped,
    /// More bytes are needed.
    NeedsMore,
}

impl Framer for SyslogFramer {
    fn next(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
        self.step(stream, false)
    }

    /// Returns a line without its end, or an incomplete counted message.
    fn rest(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
        if let Some(frame) = self.step(stream, true)? {
            return Ok(Some(frame));
        }
        if self.skip != Skip::Nothing || stream.is_empty() {
            return Ok(None);
        }
        let front = start(stream);
        let Start::Counted { head, .. } = front else {
            if self.has_counts && front == Start::Text {
                self.report()?;
            }
            self.searched = 0;
            let is_cut = stream.len() > self.message_max;
            let mut message = stream.split().freeze();
            message.truncate(self.message_max);
            let message = trimmed(message);
            return Ok((!message.is_empty()).then_some(Frame { message, is_cut }));
        };
        if let Some(at) = inner_start(stream, head, false) {
            self.lose(stream, head, at)?;
            return self.rest(stream);
        }
        if let Some(fragment) = self.take_fragment() {
            return Ok(Some(fragment));
        }
        stream.advance(head);
        let message = trimmed(stream.split().freeze());
        Ok((!message.is_empty()).then_some(Frame { message, is_cut: true }))
    }
}

impl SyslogFramer {
    fn step(&mut self, stream: &mut BytesMut, is_end: bool) -> Result<Option<Frame>, FramingLost> {
        loop {
            self.skip(stream)?;
            if self.skip != Skip::Nothing {
                return Ok(None);
            }
            // Skip line ends after counted messages, and empty lines.
            while stream.first().is_some_and(|byte| is_line_end(*byte)) {
                stream.advance(1);
            }
            let step = match start(stream) {
                Start::Unknown => Step::NeedsMore,
                Start::Counted { head, bytes } => self.counted(stream, (head, bytes), is_end)?,
                front @ (Start::Priority | Start::Text) => {
                    self.line(stream, front == Start::Priority)?
                }
            };
            match step {
                Step::Message(frame) if frame.message.is_empty() => {}
                Step::Message(frame) => return Ok(Some(frame)),
                Step::Skipped => {}
                Step::NeedsMore => return Ok(None),
            }
        }
    }

    fn skip(&mut self, stream: &mut BytesMut) -> Result<(), FramingLost> {
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(bytes) => {
                let here = bytes.min(stream.len());
                stream.advance(here);
                self.skip = if here < bytes { Skip::Bytes(bytes - here) } else { Skip::Nothing };
            }
            Skip::Line(mut skipped) => match boundary(stream, 0, self.has_counts) {
                Some(Boundary::LineEnd(at)) => {
                    stream.advance(at + 1);
                    self.skip = Skip::Nothing;
                }
                Some(Boundary::Count(at)) => {
                    stream.advance(at);
                    self.skip = Skip::Nothing;
                    return self.report();
                }
                None => {
                    // A count may have begun.
                    let kept = if self.has_counts { START_BYTES - 1 } else { 0 };
                    let bytes = stream.len().saturating_sub(kept);
                    stream.advance(bytes);
                    let is_lost = skipped.add(bytes);
                    self.skip = Skip::Line(skipped);
                    return is_lost;
                }
            },
        }
        Ok(())
    }

    fn counted(
        &mut self,
        stream: &mut BytesMut,
        (head, bytes): (usize, usize),
        is_end: bool,
    ) -> Result<Step, FramingLost> {
        let taken = bytes.min(self.message_max);
        let (end, is_cut) = (head + taken, taken < bytes);
        if stream.len() < end {
            return Ok(Step::NeedsMore);
        }
        if let Some(at) = inner_start(&stream[..end], head, is_cut) {
            let after = &stream[end..stream.len().min(end + LOOK_AHEAD_BYTES)];
            let next = if is_cut { Some(false) } else { begins_message(after) };
            let is_known = is_end || after.len() == LOOK_AHEAD_BYTES;
            match next {
                Some(true) => {}
                Some(false) => return self.lose(stream, head, at).map(|()| Step::Skipped),
                None if is_known => {}
                None => return Ok(Step::NeedsMore),
            }
        }
        if let Some(fragment) = self.take_fragment() {
            return Ok(Step::Message(fragment));
        }
        (self.has_counts, self.is_lost) = (true, false);
        stream.advance(head);
        let message = trimmed(stream.split_to(taken).freeze());
        if is_cut {
            self.skip = Skip::Bytes(bytes - taken);
        }
        Ok(Step::Message(Frame { message, is_cut }))
    }

    /// Takes a line. It is a message if it has a priority, or before the first counted message.
    fn line(&mut self, stream: &mut BytesMut, has_priority: bool) -> Result<Step, FramingLost> {
        let found = boundary(stream, std::mem::take(&mut self.searched), self.has_counts);
        // An incomplete priority may belong to a count.
        let open = if self.has_counts { START_BYTES } else { 0 };
        match found {
            None if stream.len() <= self.message_max + open => {
                self.searched = stream.len().saturating_sub(open);
                return Ok(Step::NeedsMore);
            }
            Some(Boundary::Count(at)) if at <= self.message_max => {
                return self.lose(stream, 0, at).map(|()| Step::Skipped);
            }
            _ => {}
        }
        if has_priority {
            self.is_lost = false;
        } else if self.has_counts {
            self.report()?;
        }
        match found {
            Some(Boundary::LineEnd(at)) if at <= self.message_max => {
                let message = trimmed(stream.split_to(at).freeze());
                stream.advance(1);
                Ok(Step::Message(Frame { message, is_cut: false }))
            }
            _ => {
                let message = stream.split_to(self.message_max).freeze();
                self.skip = Skip::Line(SkippedLine::default());
                Ok(Step::Message(Frame { message, is_cut: true }))
            }
        }
    }

    /// Handles a lost framing; the next message begins at `at`. The bytes before it, without a
    /// wrong count of `head` bytes, become a message.
    fn lose(&mut self, stream: &mut BytesMut, head: usize, at: usize) -> Result<(), FramingLost> {
        let before = stream.split_to(at);
        let before = before.get(head..).unwrap_or(&before);
        let room = self.message_max.saturating_sub(self.fragment.len());
        self.fragment.extend_from_slice(&before[..before.len().min(room)]);
        self.report()
    }

    /// Reports that the framing was lost and resumes, once until the next message.
    fn report(&mut self) -> Result<(), FramingLost> {
        if std::mem::replace(&mut self.is_lost, true) {
            return Ok(());
        }
        let problem = "the byte count of a message does not end at the next message: the sender \
                       counts characters instead of bytes, or truncates messages after counting; \
                       correct the sender";
        Err(FramingLost { problem: problem.to_owned(), is_found_again: true })
    }

    fn take_fragment(&mut self) -> Option<Frame> {
        let message = trimmed(std::mem::take(&mut self.fragment).freeze());
        (!message.is_empty()).then_some(Frame { message, is_cut: true })
    }
}

/// Removes trailing line ends, which some senders include in the count.
fn trimmed(mut message: Bytes) -> Bytes {
    while message.last().is_some_and(|byte| is_line_end(*byte)) {
        message.truncate(message.len() - 1);
    }
    message
}

#[cfg(test)]
mod tests;
