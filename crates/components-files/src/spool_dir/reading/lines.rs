//! Reads a file line by line. Positions count bytes after decompression, in any charset: a piece
//! has whole lines, and each can be decoded without earlier lines.

mod joined;
mod split;

use std::io::{self, Read};

use bytes::{Buf, BytesMut};
use formats::charset::Charset;
use pipeline::{BatchBuilder, PieceLimits};

use super::super::config::DecodeErrors;
use super::{Content, DONE, Piece, Problem, READ_BYTES, no_text};

/// Rest of a file.
pub(super) struct Lines {
    reader: Box<dyn Read + Send>,
    charset: Charset,
    /// Starts at the beginning of a line.
    buffer: BytesMut,
    /// True if the reader has reached the end.
    is_over: bool,
    /// Error that ended reading.
    broken: Option<io::Error>,
}

impl Lines {
    /// Reads from the byte `start`; returns the offset of the first line, which is after the byte
    /// order mark.
    pub(super) fn begin(
        mut reader: Box<dyn Read + Send>,
        charset: Charset,
        start: u64,
    ) -> Result<(Self, u64), Problem> {
        let unit = charset.unit();
        if !start.is_multiple_of(unit as u64) {
            return Err(Problem::Bad(
                "the file was partly read with another `charset`; restore the setting, or copy \
                 the file into the directory again"
                    .to_owned(),
            ));
        }
        // In charsets with multi-byte characters, the first one may be a byte order mark.
        let mut first = Vec::new();
        if unit > 1 {
            reader.by_ref().take(unit as u64).read_to_end(&mut first)?;
        }
        let (charset, mark) = charset.of_text(&first);
        let mut lines =
            Self { reader, charset, buffer: BytesMut::new(), is_over: false, broken: None };
        if start == 0 {
            lines.buffer.extend_from_slice(&first[mark..]);
            return Ok((lines, mark as u64));
        }
        let left = start.saturating_sub(first.len() as u64);
        let passed = io::copy(&mut lines.reader.by_ref().take(left), &mut io::sink())?;
        if passed < left {
            return Err(Problem::Bad(
                "the file is shorter than the part that was already read: it was truncated or \
                 replaced; write new content into a new file"
                    .to_owned(),
            ));
        }
        Ok((lines, start))
    }

    /// Reads until the buffer has `bytes` bytes, or to the end. Returns whole lines before an
    /// error.
    fn fill(&mut self, bytes: usize) -> Result<(), Problem> {
        while !self.is_over && self.broken.is_none() && self.buffer.len() < bytes {
            let from = self.buffer.len();
            self.buffer.resize(from + READ_BYTES, 0);
            let read = self.reader.read(&mut self.buffer[from..]);
            self.buffer.truncate(from + read.as_ref().map_or(0, |read| *read));
            match read {
                Ok(read) => self.is_over = read == 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.broken = Some(error),
            }
        }
        if self.charset.line_end(&self.buffer).is_some() {
            return Ok(());
        }
        self.broken.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Returns the next lines, from the byte `at` up to the byte `until` at most.
    pub(super) fn next(
        &mut self,
        content: &Content,
        at: u64,
        until: Option<u64>,
        limits: PieceLimits,
    ) -> Result<Piece, Problem> {
        let (line_max, errors) = (content.options.line_max, content.options.decode_errors);
        // The limit applies to event bodies.
        let bytes_max = limits.bytes / self.charset.growth();
        self.fill(bytes_max.max(line_max + 2 * self.charset.unit()))?;
        let (mut taken, mut lines) = (0, 0);
        while let Some((line, length)) = self.line(taken) {
            let is_full = lines >= limits.events || taken + length > bytes_max;
            if lines > 0 && (is_full || until == Some(at + taken as u64)) {
                break;
            }
            let problem = match self.failure(content, &self.buffer[taken..taken + line]) {
                _ if line > line_max => None,
                None => {
                    (taken, lines) = (taken + length, lines + 1);
                    continue;
                }
                Some(valid) => Some(at + (taken + valid) as u64),
            };
            match problem {
                // Return the lines before it first.
                _ if lines > 0 => break,
                Some(at) => return Err(no_text(at)),
                None => return self.long_line(content, at),
            }
        }
        if lines == 0 && !self.buffer.is_empty() {
            return self.long_line(content, at);
        }
        let mut events = BatchBuilder::default();
        let bytes = self.buffer.split_to(taken);
        // The loop above has checked each line.
        let text = errors.text(self.charset, &bytes, false).unwrap_or_default();
        content.decode(&text, &content.headers(), &mut events)?;
        Ok(self.piece(at + taken as u64, events, 0))
    }

    /// Returns the offset of invalid text in a line, if the settings reject the file for it.
    fn failure(&self, content: &Content, line: &[u8]) -> Option<usize> {
        let errors = content.options.decode_errors;
        if errors == DecodeErrors::Fail {
            errors.text(self.charset, line, false).err()
        } else {
            None
        }
    }

    /// Returns the length of the line that begins there, without and with its end; `None` if its
    /// end is not in the buffer.
    fn line(&self, from: usize) -> Option<(usize, usize)> {
        let rest = &self.buffer[from..];
        let Some(end) = self.charset.line_end(rest) else {
            return (self.is_over && !rest.is_empty()).then_some((rest.len(), rest.len()));
        };
        let line = end - self.charset.unit();
        Some((line - self.charset.return_before(&rest[..line]), end))
    }

    /// Returns the beginning of the first line in the buffer, and skips its rest.
    fn long_line(&mut self, content: &Content, at: u64) -> Result<Piece, Problem> {
        let unit = self.charset.unit();
        let most = content.options.line_max / unit * unit;
        let kept = self.buffer.split_to(most.min(self.buffer.len()));
        let mut passed = kept.len() as u64;
        loop {
            let end = self.charset.line_end(&self.buffer);
            // The rest starts at a character.
            let whole = self.buffer.len() / unit * unit;
            let here = end.unwrap_or(if self.is_over { self.buffer.len() } else { whole });
            self.buffer.advance(here);
            passed += here as u64;
            if end.is_some() || self.is_over {
                break;
            }
            self.fill(unit)?;
        }
        let text = content.options.decode_errors.text(self.charset, &kept, true);
        let text = text.map_err(|valid| no_text(at + valid as u64))?;
        let mut headers = content.headers();
        headers.push(("truncated", "true"));
        let mut events = BatchBuilder::default();
        events.push(&text, &headers);
        Ok(self.piece(at + passed, events, 1))
    }

    fn piece(&self, end: u64, events: BatchBuilder, cut: u64) -> Piece {
        let is_last = self.is_over && self.buffer.is_empty();
        let end = if is_last { DONE } else { end };
        Piece { batch: events.finish(), end, cut, divided: 0 }
    }
}
