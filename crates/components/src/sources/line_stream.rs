//! Where lines end in a stream of bytes, and which are too long. Pure.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// A line without its end: LF, or CR and LF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its bytes.
    pub(super) bytes: Bytes,
    /// Whether it was longer than allowed, and its end is missing.
    pub(super) is_cut: bool,
}

/// Cuts a stream into lines. It holds no more than the longest line and a read.
#[derive(Debug)]
pub(super) struct LineStream {
    line_max: usize,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line end.
    searched: usize,
    /// The rest of a line that was cut is passed over.
    passes_over: bool,
}

impl LineStream {
    /// Of lines with at most `line_max` bytes.
    pub(super) fn new(line_max: usize) -> Self {
        Self { line_max, buffer: BytesMut::new(), searched: 0, passes_over: false }
    }

    /// Where the next bytes of the stream go.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next line that is whole, or cut; `None` until more bytes come.
    pub(super) fn next(&mut self) -> Option<Line> {
        loop {
            let end = memchr(b'\n', &self.buffer[self.searched..]).map(|end| self.searched + end);
            match end {
                Some(end) if self.passes_over => {
                    self.advance(end + 1);
                    self.passes_over = false;
                }
                None if self.passes_over => {
                    self.advance(self.buffer.len());
                    return None;
                }
                Some(end) => return Some(self.line(end)),
                // One byte more may be the CR of the line's end.
                None if self.buffer.len() > self.line_max + 1 => return Some(self.cut()),
                None => {
                    self.searched = self.buffer.len();
                    return None;
                }
            }
        }
    }

    /// What is left when the stream has ended: a line without its end.
    pub(super) fn rest(&mut self) -> Option<Line> {
        if self.passes_over || self.buffer.is_empty() {
            return None;
        }
        if self.buffer.len() > self.line_max {
            return Some(self.cut());
        }
        self.searched = 0;
        Some(Line { bytes: self.buffer.split().freeze(), is_cut: false })
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.searched = 0;
    }

    /// The line that ends at `end`.
    fn line(&mut self, end: usize) -> Line {
        let is_crlf = end > 0 && self.buffer[end - 1] == b'\r';
        let length = end - usize::from(is_crlf);
        if length > self.line_max {
            return self.cut();
        }
        let bytes = self.buffer.split_to(length).freeze();
        self.advance(end - length + 1);
        Line { bytes, is_cut: false }
    }

    fn cut(&mut self) -> Line {
        let bytes = self.buffer.split_to(self.line_max).freeze();
        self.searched = 0;
        self.passes_over = true;
        Line { bytes, is_cut: true }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a stream that comes in these pieces; a cut one ends with `…`.
    fn lines(line_max: usize, pieces: &[&[u8]]) -> Vec<String> {
        let (mut stream, mut lines) = (LineStream::new(line_max), Vec::new());
        let show = |line: Line| {
            let text = String::from_utf8_lossy(&line.bytes).into_owned();
            if line.is_cut { text + "…" } else { text }
        };
        for piece in pieces {
            stream.buffer().extend_from_slice(piece);
            while let Some(line) = stream.next() {
                lines.push(show(line));
            }
            assert!(stream.buffer.len() <= line_max + 1, "what is held has a limit");
        }
        lines.extend(stream.rest().map(show));
        assert!(stream.next().is_none() && stream.rest().is_none());
        lines
    }

    #[test]
    fn lines_end_with_lf_and_lose_one_cr() {
        assert_eq!(lines(9, &[b"one\ntwo\r\n\n\rx\r\r\n"]), ["one", "two", "", "\rx\r"]);
        assert_eq!(lines(9, &[b"on", b"e\r", b"\nlast"]), ["one", "last"]);
        assert_eq!(lines(9, &[b"", b""]), [""; 0]);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_once_and_the_next_one_is_whole() {
        assert_eq!(lines(3, &[b"abc\nabcd\nabc\r\nx"]), ["abc", "abc…", "abc", "x"]);
        assert_eq!(lines(3, &[b"abcde", b"fgh", b"i\nx\n"]), ["abc…", "x"]);
        assert_eq!(lines(3, &[b"abcd"]), ["abc…"]);
        assert_eq!(lines(3, &[b"abc\r", b"\nabc\rd\n"]), ["abc", "abc…"]);
    }

    proptest! {
        #[test]
        fn the_pieces_that_a_stream_comes_in_change_nothing(
            bytes in prop::collection::vec(prop::sample::select(&b"ab\r\n"[..]), 0..60),
            cut in prop::collection::vec(1_usize..7, 60),
            line_max in 1_usize..6,
        ) {
            let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
            for length in cut {
                let (piece, behind) = rest.split_at(length.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(lines(line_max, &pieces), lines_of_whole(line_max, &bytes));
        }
    }

    /// The same by another way.
    fn lines_of_whole(line_max: usize, bytes: &[u8]) -> Vec<String> {
        let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let last = parts.pop().unwrap_or_default();
        let ended = parts.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let last = (!last.is_empty()).then_some(last);
        let show = |line: &[u8]| {
            let kept = &line[..line.len().min(line_max)];
            let mark = if kept.len() < line.len() { "…" } else { "" };
            String::from_utf8_lossy(kept).into_owned() + mark
        };
        ended.chain(last).map(show).collect()
    }
}
