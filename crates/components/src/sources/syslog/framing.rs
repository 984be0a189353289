//! Where a syslog message ends in a TCP stream (RFC 6587). Pure.
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

/// Digits of a count at most: more is no count.
const COUNT_DIGITS_MAX: usize = 7;

/// A message that was cut out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// The message without its frame.
    pub(super) message: Bytes,
    /// Whether it was longer than allowed, and its end is missing.
    pub(super) is_cut: bool,
}

/// Cuts messages out of a stream.
#[derive(Debug)]
pub(super) struct Framing {
    message_max: usize,
    buffer: BytesMut,
    skip: Skip,
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

impl Framing {
    /// Of messages with at most `message_max` bytes.
    pub(super) fn new(message_max: usize) -> Self {
        Self { message_max, buffer: BytesMut::new(), skip: Skip::Nothing }
    }

    /// Where the next bytes of the stream go. It never holds more than a message and a read.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message that is whole, or cut; `None` until more bytes come.
    pub(super) fn next(&mut self) -> Option<Frame> {
        loop {
            self.pass_over();
            if self.skip != Skip::Nothing {
                return None;
            }
            // Line ends behind counted messages, and empty lines, are no messages.
            while matches!(self.buffer.first(), Some(b'\n' | b'\r' | 0)) {
                self.buffer.advance(1);
            }
            let frame = match self.start() {
                Start::Unknown => return None,
                Start::Counted(head, bytes) => self.counted(head, bytes)?,
                Start::Line => self.line()?,
            };
            if !frame.message.is_empty() {
                return Some(frame);
            }
        }
    }

    /// What is left when the stream has ended: a line without its end.
    pub(super) fn rest(&mut self) -> Option<Frame> {
        if self.skip != Skip::Nothing || self.buffer.is_empty() {
            return None;
        }
        let is_cut = matches!(self.start(), Start::Counted(..));
        let head = if let Start::Counted(head, _) = self.start() { head } else { 0 };
        self.buffer.advance(head);
        let message = trimmed(self.buffer.split().freeze());
        (!message.is_empty()).then_some(Frame { message, is_cut })
    }

    fn pass_over(&mut self) {
        match self.skip {
            Skip::Nothing => {}
            Skip::Bytes(bytes) => {
                let here = bytes.min(self.buffer.len());
                self.buffer.advance(here);
                self.skip = if here < bytes { Skip::Bytes(bytes - here) } else { Skip::Nothing };
            }
            Skip::Line => match memchr2(b'\n', 0, &self.buffer) {
                Some(end) => {
                    self.buffer.advance(end + 1);
                    self.skip = Skip::Nothing;
                }
                None => self.buffer.clear(),
            },
        }
    }

    fn start(&self) -> Start {
        let digits = self.buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match (digits, self.buffer.get(digits)) {
            (0, None) => Start::Unknown,
            (0, Some(_)) => Start::Line,
            (1..=COUNT_DIGITS_MAX, None) => Start::Unknown,
            (1..=COUNT_DIGITS_MAX, Some(b' ')) if self.buffer[0] != b'0' => {
                let count = std::str::from_utf8(&self.buffer[..digits]).ok();
                let count = count.and_then(|text| text.parse().ok());
                count.map_or(Start::Line, |count| Start::Counted(digits + 1, count))
            }
            _ => Start::Line,
        }
    }

    fn counted(&mut self, head: usize, bytes: usize) -> Option<Frame> {
        let taken = bytes.min(self.message_max);
        if self.buffer.len() < head + taken {
            return None;
        }
        self.buffer.advance(head);
        let message = trimmed(self.buffer.split_to(taken).freeze());
        let is_cut = taken < bytes;
        if is_cut {
            self.skip = Skip::Bytes(bytes - taken);
        }
        Some(Frame { message, is_cut })
    }

    fn line(&mut self) -> Option<Frame> {
        match memchr2(b'\n', 0, &self.buffer) {
            Some(end) if end <= self.message_max => {
                let message = trimmed(self.buffer.split_to(end).freeze());
                self.buffer.advance(1);
                Some(Frame { message, is_cut: false })
            }
            None if self.buffer.len() <= self.message_max => None,
            _ => {
                let message = self.buffer.split_to(self.message_max).freeze();
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

    use super::*;

    /// The messages of a stream that comes in pieces of `piece` bytes.
    fn frames(stream: &[u8], piece: usize, message_max: usize) -> Vec<(String, bool)> {
        let mut framing = Framing::new(message_max);
        let mut frames = Vec::new();
        for bytes in stream.chunks(piece) {
            framing.buffer().extend_from_slice(bytes);
            frames.extend(std::iter::from_fn(|| framing.next()));
        }
        frames.extend(framing.rest());
        let shown = |f: Frame| (String::from_utf8_lossy(&f.message).into_owned(), f.is_cut);
        frames.into_iter().map(shown).collect()
    }

    fn whole(messages: &[&str]) -> Vec<(String, bool)> {
        messages.iter().map(|message| ((*message).to_owned(), false)).collect()
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
        let cut = |text: &str| (text.to_owned(), true);
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
