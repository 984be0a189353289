//! `syslog`: where a syslog message ends in a TCP stream (RFC 6587).
//!
//! ```text
//!   123 <34>1 2026-…     octet counting: a number, a blank, and so many bytes
//!   <34>Oct 11 …⏎        non-transparent framing: up to a line feed or a NUL
//! ```
//!
//! Which of the two it is, each message says by its first byte: a digit begins a count, as every
//! message begins with `<` by its standard. A line that begins with a digit and is no count is a
//! line.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;
use pipeline::{BuildContext, BuildError, Component, Frame, Framer, Framing};
use schemars::JsonSchema;
use serde::Deserialize;

/// Digits of a count at most: more is no count.
const COUNT_DIGITS_MAX: usize = 7;

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
        Box::new(SyslogFramer { message_max, skip: Skip::Nothing, searched: 0 })
    }
}

/// Cuts messages out of one stream.
#[derive(Debug)]
struct SyslogFramer {
    message_max: usize,
    skip: Skip,
    /// Bytes at the front of the stream, which is a line, that hold no end of it: a line that comes
    /// byte by byte takes time in proportion to its length.
    searched: usize,
}

/// What of a message that was too long is still to come and is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    Nothing,
    /// So many bytes of a counted one.
    Bytes(usize),
    /// All up to the end of a line.
    Line,
}

/// What the buffer begins with.
enum Start {
    /// A count of so many digits, with the blank, and its value.
    Counted(usize, usize),
    Line,
    /// Too little to say.
    Unknown,
}

impl Framer for SyslogFramer {
    fn next(&mut self, stream: &mut BytesMut) -> Option<Frame> {
        loop {
            self.pass_over(stream);
            if self.skip != Skip::Nothing {
                return None;
            }
            // Line ends behind counted messages, and empty lines, are no messages.
            while matches!(stream.first(), Some(b'\n' | b'\r' | 0)) {
                stream.advance(1);
            }
            let frame = match start(stream) {
                Start::Unknown => return None,
                Start::Counted(head, bytes) => self.counted(stream, head, bytes)?,
                Start::Line => self.line(stream)?,
            };
            if !frame.message.is_empty() {
                return Some(frame);
            }
        }
    }

    /// A line without its end, or a counted message that ends early.
    fn rest(&mut self, stream: &mut BytesMut) -> Option<Frame> {
        if self.skip != Skip::Nothing || stream.is_empty() {
            return None;
        }
        let head = if let Start::Counted(head, _) = start(stream) { head } else { 0 };
        stream.advance(head);
        let message = trimmed(stream.split().freeze());
        (!message.is_empty()).then_some(Frame { message, is_cut: head > 0 })
    }
}

/// What a stream begins with.
fn start(stream: &BytesMut) -> Start {
    let head = stream.iter().take(COUNT_DIGITS_MAX + 1);
    let digits = head.take_while(|byte| byte.is_ascii_digit()).count();
    match (digits, stream.get(digits)) {
        (0, None) => Start::Unknown,
        (0, Some(_)) => Start::Line,
        (1..=COUNT_DIGITS_MAX, None) => Start::Unknown,
        (1..=COUNT_DIGITS_MAX, Some(b' ')) if stream[0] != b'0' => {
            let count = std::str::from_utf8(&stream[..digits]).ok();
            let count = count.and_then(|text| text.parse().ok());
            count.map_or(Start::Line, |count| Start::Counted(digits + 1, count))
        }
        _ => Start::Line,
    }
}

impl SyslogFramer {
    fn pass_over(&mut self, stream: &mut BytesMut) {
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(bytes) => {
                let here = bytes.min(stream.len());
                stream.advance(here);
                self.skip = if here < bytes { Skip::Bytes(bytes - here) } else { Skip::Nothing };
            }
            Skip::Line => match memchr2(b'\n', 0, stream) {
                Some(end) => {
                    stream.advance(end + 1);
                    self.skip = Skip::Nothing;
                }
                None => stream.clear(),
            },
        }
    }

    fn counted(&mut self, stream: &mut BytesMut, head: usize, bytes: usize) -> Option<Frame> {
        let taken = bytes.min(self.message_max);
        if stream.len() < head + taken {
            return None;
        }
        stream.advance(head);
        let message = trimmed(stream.split_to(taken).freeze());
        let is_cut = taken < bytes;
        if is_cut {
            self.skip = Skip::Bytes(bytes - taken);
        }
        Some(Frame { message, is_cut })
    }

    fn line(&mut self, stream: &mut BytesMut) -> Option<Frame> {
        let searched = std::mem::take(&mut self.searched);
        match memchr2(b'\n', 0, &stream[searched..]).map(|end| searched + end) {
            Some(end) if end <= self.message_max => {
                let message = trimmed(stream.split_to(end).freeze());
                stream.advance(1);
                Some(Frame { message, is_cut: false })
            }
            None if stream.len() <= self.message_max => {
                self.searched = stream.len();
                None
            }
            _ => {
                let message = stream.split_to(self.message_max).freeze();
                self.skip = Skip::Line;
                Some(Frame { message, is_cut: true })
            }
        }
    }
}

/// Without line ends at its end, which some senders count with the message.
fn trimmed(mut message: Bytes) -> Bytes {
    while matches!(message.last(), Some(b'\n' | b'\r' | 0)) {
        message.truncate(message.len() - 1);
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testkit::{self, cut, whole};
    use super::*;

    fn frames(stream: &[u8], piece: usize, message_max: usize) -> Vec<(String, bool)> {
        testkit::frames(&Syslog, stream, piece, message_max)
    }

    #[test]
    fn both_framings_are_understood_message_by_message_in_any_pieces() {
        let stream = b"<1>one\n5 <2>xy<3>two\r\n9 <4>th\nre\n\n\n6 <5>a\r\n<6>last";
        for piece in 1..stream.len() {
            let expected = whole(&["<1>one", "<2>xy", "<3>two", "<4>th\nre", "<5>a", "<6>last"]);
            assert_eq!(frames(stream, piece, 100), expected, "{piece}");
        }
    }

    #[test]
    fn a_line_that_begins_with_a_digit_and_is_no_count_is_a_line() {
        for line in ["2026-11-20 up", "12345678 x", "007 x", "42"] {
            assert_eq!(
                frames(format!("{line}\nnext\n").as_bytes(), 3, 100),
                whole(&[line, "next"])
            );
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_message_is_read() {
        let long = "x".repeat(50);
        for piece in [1, 7, 200] {
            let lines = frames(format!("{long}\nnext\n").as_bytes(), piece, 10);
            assert_eq!(lines, [cut("xxxxxxxxxx"), ("next".into(), false)], "{piece}");
            let counted = frames(format!("50 {long}4 next").as_bytes(), piece, 10);
            assert_eq!(counted, [cut("xxxxxxxxxx"), ("next".into(), false)], "{piece}");
        }
        assert_eq!(frames(b"0123456789\n", 1, 10), whole(&["0123456789"]));
    }

    #[test]
    fn a_counted_message_that_ends_too_early_is_cut() {
        assert_eq!(frames(b"10 <1>half", 4, 100), [("<1>half".to_owned(), true)]);
    }

    proptest! {
        /// Whatever comes, in whatever pieces: no panic, no message over the limit, the same
        /// messages, and never more in memory than a message and a read.
        #[test]
        fn hostile_streams_are_cut_the_same_way_in_any_pieces(
            stream in prop::collection::vec(prop_oneof![
                4 => Just(b'\n'), 4 => b'0'..=b'9', 2 => Just(b' '), 1 => any::<u8>(),
            ], 0..200),
            piece in 1_usize..50,
        ) {
            let all = frames(&stream, 1, 8);
            prop_assert!(all.iter().all(|(text, _)| text.chars().count() <= 8));
            prop_assert_eq!(frames(&stream, piece, 8), all);
        }
    }
}
