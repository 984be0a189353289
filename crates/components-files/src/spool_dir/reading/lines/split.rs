//! Reads lines as Flume's `LineDeserializer` does.
//!
//! An event ends after an LF, which is not part of it, or after `chars` characters, whichever comes
//! first. So the rest of a long line is further events, and the LF of a line of exactly `chars`
//! characters is an empty event. An empty file is an empty event. Reading can resume at the end of
//! any event.

use std::borrow::Cow;

use bytes::Buf;
use pipeline::{BatchBuilder, PieceLimits};

use super::super::{Content, Piece, Problem, no_text};
use super::Lines;

/// Maximum bytes of a character in any charset.
const CHAR_BYTES: usize = 4;

/// The next event in the buffer.
struct Part<'a> {
    text: Cow<'a, [u8]>,
    /// Its bytes in the file, including an LF.
    bytes: usize,
}

impl Lines {
    /// Returns the next events, from the byte `at` up to the byte `until` at most.
    pub(in super::super) fn split(
        &mut self,
        content: &Content,
        chars: usize,
        at: u64,
        until: Option<u64>,
        limits: PieceLimits,
    ) -> Result<Piece, Problem> {
        // The limit applies to event bodies.
        let bytes_max = limits.bytes / self.charset.growth();
        self.fill(bytes_max.max(window(chars)))?;
        let headers = content.headers();
        let (mut events, mut taken) = (BatchBuilder::default(), 0);
        while events.len() < limits.events && (taken == 0 || until != Some(at + taken as u64)) {
            match self.part(content, chars, taken) {
                Ok(None) => break,
                Ok(Some(part)) if taken > 0 && taken + part.bytes > bytes_max => break,
                Ok(Some(part)) => {
                    events.push(&part.text, &headers);
                    taken += part.bytes;
                }
                // Return the events before it first.
                Err(_) if taken > 0 => break,
                Err(valid) => return Err(no_text(at + valid as u64)),
            }
        }
        // In Flume an empty file is an empty event.
        if at == 0 && self.is_over && self.buffer.is_empty() {
            events.push(b"", &headers);
        }
        self.buffer.advance(taken);
        Ok(self.piece(at + taken as u64, events, 0))
    }

    /// Returns the event that begins there; `None` if the buffer does not contain its end.
    ///
    /// # Errors
    /// Returns the offset of invalid text in it, if the settings reject the file for it.
    fn part(
        &self,
        content: &Content,
        chars: usize,
        from: usize,
    ) -> Result<Option<Part<'_>>, usize> {
        let (charset, errors) = (self.charset, content.options.decode_errors);
        let rest = &self.buffer[from..];
        let near = &rest[..rest.len().min(window(chars))];
        let end = charset.line_end(near);
        let line = end.map_or(near, |end| &near[..end - charset.unit()]);
        // A character has at least as many bytes as units; the LF counts as one.
        let is_short = line.len() / charset.unit() < chars;
        let cut = match is_short {
            true => None,
            false => match charset.first_units(line, chars, errors.odd())? {
                // A character of two units is an event even if `chars` is 1.
                Some(0) => charset.first_units(line, chars + 1, errors.odd())?,
                cut => cut,
            },
        };
        let (length, bytes) = match (cut, end) {
            (Some(cut), _) => (cut, cut),
            (None, Some(end)) => (line.len(), end),
            // At the end of the file, or more invalid bytes than a line can have.
            (None, None) if self.is_over || near.len() == window(chars) => (line.len(), line.len()),
            (None, None) => return Ok(None),
        };
        if bytes == 0 {
            return Ok(None);
        }
        let text = errors.text(charset, &line[..length], false)?;
        Ok(Some(Part { text, bytes }))
    }
}

/// Bytes that contain the end of an event.
fn window(chars: usize) -> usize {
    (chars + 1) * CHAR_BYTES
}
