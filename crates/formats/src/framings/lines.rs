//! `lines`: each line is a message.

use std::num::NonZeroU32;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use pipeline::{BuildContext, BuildError, Component, Frame, Framer, Framing, FramingLost};
use schemars::JsonSchema;
use serde::Deserialize;

use super::SkippedLine;

/// Settings of the framing `lines`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Delimiter at the end of each message, one character, for example `"\u0000"`. Default: a line
    /// feed. A carriage return before a line feed is part of the delimiter.
    #[serde(default = "default_delimiter")]
    delimiter: String,
    /// Whether a carriage return before a line feed belongs to the message.
    #[serde(default)]
    keep_cr: bool,
    /// Limit of a line in characters, including its delimiter: a longer line ends the stream, as in
    /// Flume's `netcat` source. A character outside Unicode's basic plane counts as two. Default:
    /// no limit.
    #[serde(default)]
    chars_max: Option<NonZeroU32>,
    /// Whether a line that reaches the size limit continues in further messages, as in Flume's
    /// syslog sources. Otherwise the rest of the line is skipped.
    #[serde(default)]
    split: bool,
}

fn default_delimiter() -> String {
    "\n".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "lines";
    type Role = dyn Framing;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Framing>, BuildError> {
        let [delimiter] = *self.delimiter.as_bytes() else {
            let problem = "must be one character of one byte, such as \"\\n\" or \"\\u0000\"";
            return Err(BuildError::invalid("delimiter", problem));
        };
        let chars_max = self.chars_max.map(|max| max.get() as usize);
        Ok(Box::new(Lines { delimiter, keep_cr: self.keep_cr, chars_max, split: self.split }))
    }
}

#[derive(Clone, Copy)]
struct Lines {
    delimiter: u8,
    keep_cr: bool,
    chars_max: Option<usize>,
    split: bool,
}

/// Creates a framer for lines with a line feed, of at most `message_max` bytes each.
pub fn begin(message_max: usize) -> Box<dyn Framer> {
    Lines { delimiter: b'\n', keep_cr: false, chars_max: None, split: false }.begin(message_max)
}

impl Framing for Lines {
    fn begin(&self, message_max: usize) -> Box<dyn Framer> {
        Box::new(LineFramer { lines: *self, message_max, skipped: None, searched: 0, chars: 0 })
    }
}

struct LineFramer {
    lines: Lines,
    message_max: usize,
    /// Set while the rest of a truncated line is skipped.
    skipped: Option<SkippedLine>,
    /// Bytes at the front of the stream without a delimiter.
    searched: usize,
    /// Characters in these bytes, if they are limited.
    chars: usize,
}

impl LineFramer {
    fn advance(&mut self, stream: &mut BytesMut, bytes: usize) {
        stream.advance(bytes);
        (self.searched, self.chars) = (0, 0);
    }

    /// Checks the number of characters before `end`.
    ///
    /// # Errors
    /// The line is too long. The text is Flume's reply.
    fn count(&mut self, stream: &[u8], end: usize) -> Result<(), FramingLost> {
        let Some(max) = self.lines.chars_max else { return Ok(()) };
        self.chars += utf16_units(&stream[self.searched..end]);
        self.searched = end;
        if self.chars < max {
            return Ok(());
        }
        // The rest of the line is skipped if the caller continues.
        self.skipped = Some(SkippedLine::default());
        let problem = format!("Event exceeds the maximum length ({max} chars, including newline)");
        Err(FramingLost { problem, is_found_again: false })
    }

    /// Takes the line that ends at `end`.
    fn line(&mut self, stream: &mut BytesMut, end: usize) -> Frame {
        let Lines { delimiter, keep_cr, split, .. } = self.lines;
        let is_crlf = !keep_cr && delimiter == b'\n' && end > 0 && stream[end - 1] == b'\r';
        let length = end - usize::from(is_crlf);
        if length > self.message_max || (split && length == self.message_max) {
            return self.cut(stream);
        }
        let message = stream.split_to(length).freeze();
        self.advance(stream, end - length + 1);
        Frame { message, is_cut: false }
    }

    fn cut(&mut self, stream: &mut BytesMut) -> Frame {
        let message = stream.split_to(self.message_max).freeze();
        self.advance(stream, 0);
        self.skipped = (!self.lines.split).then(SkippedLine::default);
        Frame { message, is_cut: true }
    }
}

impl Framer for LineFramer {
    fn next(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
        loop {
            let end = memchr(self.lines.delimiter, &stream[self.searched..]);
            match (end.map(|end| self.searched + end), &mut self.skipped) {
                (Some(end), Some(_)) => {
                    self.advance(stream, end + 1);
                    self.skipped = None;
                }
                (None, Some(skipped)) => {
                    let is_lost = skipped.add(stream.len());
                    self.advance(stream, stream.len());
                    return is_lost.map(|()| None);
                }
                (Some(end), None) => {
                    self.count(stream, end)?;
                    return Ok(Some(self.line(stream, end)));
                }
                // One further byte may be the CR of the line end.
                (None, None) if stream.len() > self.message_max + 1 => {
                    return Ok(Some(self.cut(stream)));
                }
                (None, None) => {
                    self.count(stream, stream.len())?;
                    self.searched = stream.len();
                    return Ok(None);
                }
            }
        }
    }

    fn rest(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
        if self.skipped.is_some() || stream.is_empty() {
            return Ok(None);
        }
        if stream.len() > self.message_max {
            return Ok(Some(self.cut(stream)));
        }
        self.advance(stream, 0);
        Ok(Some(Frame { message: stream.split().freeze(), is_cut: false }))
    }
}

/// Returns the number of UTF-16 units of a UTF-8 text: Java's characters. The text may be cut
/// anywhere, because a character is counted by its first byte.
fn utf16_units(text: &[u8]) -> usize {
    let units = |byte: &u8| usize::from(*byte & 0xc0 != 0x80) + usize::from(*byte >= 0xf0);
    text.iter().map(units).sum()
}

#[cfg(test)]
mod tests {
    use pipeline::testkit::build;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testkit::{cut, frames, frames_and_losses, whole};
    use super::*;

    fn built(delimiter: &str) -> Result<Box<dyn Framing>, pipeline::SettingsError> {
        let cx = BuildContext::alone("lines", std::path::Path::new("unused"), env::real());
        build::<Config>(&json!({ "delimiter": delimiter }), &cx)
    }

    #[test]
    fn each_line_is_a_message_also_an_empty_one_and_the_last_without_its_end() {
        let stream = b"one\r\n\ntwo\rthree\nlast";
        for piece in 1..=stream.len() {
            let expected = whole(&["one", "", "two\rthree", "last"]);
            assert_eq!(frames(&*built("\n").unwrap(), stream, piece, 100), expected, "{piece}");
        }
        let zero = built("\0").unwrap();
        assert_eq!(frames(&*zero, b"a\nb\r\0c\0", 2, 100), whole(&["a\nb\r", "c"]));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_read() {
        let lines = built("\n").unwrap();
        for piece in [1, 5, 100] {
            let all = frames(&*lines, b"0123456789\nnext\nexactly8\nabcdefghi", piece, 8);
            let expected = [cut("01234567"), whole(&["next"])[0].clone()];
            let expected = [&expected[..], &whole(&["exactly8"]), &[cut("abcdefgh")]].concat();
            assert_eq!(all, expected, "{piece}");
        }
    }

    #[test]
    fn a_stream_without_line_ends_is_reported_as_lost() {
        let stream = vec![b'x'; 40 << 20];
        let (all, losses) = frames_and_losses(&*built("\n").unwrap(), &stream, 1 << 20, 8);
        assert_eq!(all, [cut("xxxxxxxx")]);
        assert_eq!(losses.len(), 2, "once in 16 MiB");
        assert!(!losses[0].is_found_again && losses[0].problem.contains("`framing`"));
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_refused() {
        for delimiter in ["", "\r\n", "é"] {
            assert_eq!(built(delimiter).err().unwrap().path, "delimiter");
        }
    }

    #[test]
    fn a_line_loses_one_cr_which_does_not_count() {
        let of = |stream: &[u8], piece| frames(&*built("\n").unwrap(), stream, piece, 3);
        for piece in [1, 4, 5, 20] {
            assert_eq!(of(b"abc\r\n\n\rx\r\r\n", piece), whole(&["abc", "", "\rx\r"]));
            assert_eq!(of(b"abc\rd\nx\n", piece), [cut("abc"), whole(&["x"])[0].clone()]);
            assert_eq!(of(b"abcd", piece), [cut("abc")]);
        }
    }

    fn built_with(settings: &serde_json::Value) -> Box<dyn Framing> {
        let cx = BuildContext::alone("lines", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx).unwrap()
    }

    /// Flume's `netcat`: a buffer of 4 characters has to hold the line and its LF.
    #[test]
    fn a_limit_in_characters_counts_utf16_units_and_the_line_end() {
        let lines = built_with(&json!({ "keep_cr": true, "chars_max": 4 }));
        for piece in [1, 2, 100] {
            let fits = "äöü\n😀x\n\nab\r\n".as_bytes();
            let expected = whole(&["äöü", "😀x", "", "ab\r"]);
            assert_eq!(frames(&*lines, fits, piece, 100), expected, "{piece}");
            for long in ["abcd\n", "abcd", "abc\r\n", "😀😀\n"] {
                let stream = format!("ok\n{long}");
                let (all, losses) = frames_and_losses(&*lines, stream.as_bytes(), piece, 100);
                assert_eq!((all, losses.len()), (whole(&["ok"]), 1), "{long:?} {piece}");
                assert_eq!(
                    losses[0].problem,
                    "Event exceeds the maximum length (4 chars, including newline)"
                );
            }
        }
    }

    /// Flume's syslog sources: a message of exactly the limit is cut, too.
    #[test]
    fn a_split_line_continues_in_further_messages() {
        let lines = built_with(&json!({ "keep_cr": true, "split": true }));
        for piece in [1, 3, 100] {
            let all = frames(&*lines, b"0123456789\nnext\nexactly8\nx\r\n", piece, 8);
            let expected = [
                &[cut("01234567")][..],
                &whole(&["89", "next"]),
                &[cut("exactly8")],
                &whole(&["", "x\r"]),
            ];
            assert_eq!(all, expected.concat(), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_lines_of_the_whole_stream(
            stream in prop::collection::vec(prop::sample::select(&b"ab\r\n"[..]), 0..60),
            piece in 1_usize..40,
            line_max in 1_usize..6,
        ) {
            let lines = frames(&*built("\n").unwrap(), &stream, piece, line_max);
            prop_assert_eq!(lines, lines_of_whole(line_max, &stream));
        }
    }

    /// Reference implementation.
    fn lines_of_whole(line_max: usize, bytes: &[u8]) -> Vec<(String, bool)> {
        let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let last = parts.pop().unwrap_or_default();
        let ended = parts.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let last = (!last.is_empty()).then_some(last);
        let show = |line: &[u8]| {
            let kept = &line[..line.len().min(line_max)];
            (String::from_utf8_lossy(kept).into_owned(), kept.len() < line.len())
        };
        ended.chain(last).map(show).collect()
    }
}
