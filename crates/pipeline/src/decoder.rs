//! The decoder: turns the bytes of one message into events.
//!
//! A message is complete: the body of an HTTP request, a datagram, a value of a topic. The source
//! splits a stream into messages. The [`FileDecoder`] of a format reads a file that is too large
//! for that piece by piece; a format whose events are found from the end of the file uses
//! [`Parts`].

use std::io::{self, BufRead};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::batch::BatchBuilder;

/// A whole message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its bytes, after decompression.
    pub bytes: &'a [u8],
    /// The declared character set, in lower case, if any.
    pub charset: Option<&'a str>,
    /// Headers for each of its events, unless the event has its own.
    pub headers: &'a [(&'a str, &'a str)],
}

/// A message that is not of the form that the decoder reads.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct MalformedMessage {
    /// The problem, with its place in the message.
    pub problem: String,
}

/// Turns messages into events.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use pipeline::decoder::{Decoder, MalformedMessage, Message};
/// use pipeline::BatchBuilder;
///
/// /// Each event is a byte with its length, then so many bytes.
/// struct Prefixed;
///
/// impl Decoder for Prefixed {
///     fn decode(
///         &self,
///         message: &Message<'_>,
///         events: &mut BatchBuilder,
///     ) -> Result<(), MalformedMessage> {
///         let mut rest = message.bytes;
///         while let [length, behind @ ..] = rest {
///             let Some((body, next)) = behind.split_at_checked(usize::from(*length)) else {
///                 let at = message.bytes.len() - rest.len();
///                 let problem = format!("the event at byte {at} ends early");
///                 return Err(MalformedMessage { problem });
///             };
///             events.push(body, message.headers);
///             rest = next;
///         }
///         Ok(())
///     }
/// }
///
/// let mut events = BatchBuilder::default();
/// let message = Message { bytes: b"\x02ab\x01c", charset: None, headers: &[("site", "fra")] };
/// Prefixed.decode(&message, &mut events)?;
/// assert_eq!(events.finish().len(), 2);
/// # Ok::<(), MalformedMessage>(())
/// ```
pub trait Decoder: Send + Sync {
    /// Adds the events of `message` to `events`. A message without events adds nothing.
    ///
    /// # Errors
    /// The message is malformed; no part of it may be used.
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage>;

    /// Returns `true` if it reads text. A source that knows the charset of its messages then passes
    /// them in UTF-8; others pass them as they are.
    fn is_text(&self) -> bool {
        true
    }

    /// Begins a file that is read piece by piece; `None`: it is read as one message.
    fn begin_file(&self) -> Option<Box<dyn FileDecoder>> {
        None
    }

    /// Returns the decoder for files whose events are found from their end; `None` if there
    /// is no such decoder.
    fn by_parts(&self) -> Option<&dyn PartsDecoder> {
        None
    }
}

/// A decoder whose messages are files of one format.
pub trait FileFormat: Send + Sync {
    /// A file that is being read.
    type File: FileDecoder + 'static;

    /// Whether it reads text: see [`Decoder::is_text`].
    const IS_TEXT: bool;

    /// Begins a file; `is_message` if a message contains the whole file.
    fn begin(&self, is_message: bool) -> Self::File;
}

impl<T: FileFormat> Decoder for T {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        decode_message(self.begin(true), message, events)
    }

    fn is_text(&self) -> bool {
        T::IS_TEXT
    }

    fn begin_file(&self) -> Option<Box<dyn FileDecoder>> {
        Some(Box::new(self.begin(false)))
    }
}

/// A file that is read at any place. Reading blocks.
pub trait Parts: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> u64;

    /// Reads exactly this many bytes from `at` on.
    ///
    /// # Errors
    /// The file cannot be read, or ends before.
    fn read_at(&self, at: u64, bytes: usize) -> io::Result<Bytes>;
}

/// A decoder of files whose events are found from their end.
pub trait PartsDecoder: Send + Sync {
    /// Begins a file. The result reads only from `file`: the reader of its calls is empty.
    fn begin(&self, file: Arc<dyn Parts>) -> Box<dyn FileDecoder>;
}

/// Limits of one piece of a file.
#[derive(Debug, Clone, Copy)]
pub struct PieceLimits {
    /// Bytes of bodies. A larger event is read separately.
    pub bytes: usize,
    /// Events, at least 1.
    pub events: usize,
}

impl PieceLimits {
    /// Returns `true` if a piece with this many events, whose bodies have this many bytes, ends
    /// before one of `next` bytes.
    pub fn is_full(&self, events: usize, bytes: usize, next: usize) -> bool {
        events > 0 && (events >= self.events || self.bytes.saturating_sub(bytes) < next)
    }
}

/// Why a file cannot be read on.
#[derive(Debug, Error)]
pub enum FileError {
    /// Reading its bytes failed.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// Its contents are malformed, permanently.
    #[error(transparent)]
    Malformed(#[from] MalformedMessage),
}

/// An error after some events of a piece. The events are returned first, the error by the next
/// call.
#[derive(Debug, Default)]
pub struct Deferred(Option<FileError>);

impl Deferred {
    /// Must be called before a piece is read.
    ///
    /// # Errors
    /// The error that the previous call has found.
    pub fn come(&mut self) -> Result<(), FileError> {
        self.0.take().map_or(Ok(()), Err)
    }

    /// Returns the result of a call that has found an error after this many events.
    ///
    /// # Errors
    /// The error, if there are no events.
    pub fn behind(&mut self, events: usize, error: FileError) -> Result<bool, FileError> {
        if events == 0 {
            return Err(error);
        }
        self.0 = Some(error);
        Ok(true)
    }
}

/// Reads the events of one file in order. Each call gets the same file, at the position where the
/// previous call has left it. After an error, reading ends.
pub trait FileDecoder: Send {
    /// Skips the next `events` events, which an earlier decoder of the same file has read.
    ///
    /// # Errors
    /// The file cannot be read, or it has fewer events.
    fn skip_events(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError>;

    /// Adds the next events to a piece; at least one, unless the file is at its end. Returns
    /// whether more follow.
    ///
    /// # Errors
    /// The file cannot be read further, and the piece is unchanged: earlier calls return the events
    /// before the damage.
    fn read(&mut self, file: &mut dyn BufRead, piece: &mut Piece<'_>) -> Result<bool, FileError>;

    /// As [`FileDecoder::read`], within `limits` into `events`, with `headers` unless an event has
    /// its own.
    ///
    /// # Errors
    /// As [`FileDecoder::read`].
    fn next(
        &mut self,
        file: &mut dyn BufRead,
        limits: PieceLimits,
        headers: &[(&str, &str)],
        events: &mut BatchBuilder,
    ) -> Result<bool, FileError> {
        self.read(file, &mut Piece { limits, headers, events, taken: 0, bytes: 0 })
    }
}

/// The events of one call of [`FileDecoder::read`].
pub struct Piece<'a> {
    limits: PieceLimits,
    headers: &'a [(&'a str, &'a str)],
    events: &'a mut BatchBuilder,
    taken: usize,
    bytes: usize,
}

impl Piece<'_> {
    /// Adds an event with headers of its own. Returns `false` if it is for the next piece.
    pub fn put(&mut self, body: &[u8], own: &[(&str, &str)]) -> bool {
        if self.limits.is_full(self.taken, self.bytes, body.len()) {
            return false;
        }
        if own.is_empty() {
            self.events.push(body, self.headers);
        } else {
            let is_own = |name: &str| own.iter().any(|(other, _)| *other == name);
            let of_file = self.headers.iter().filter(|(name, _)| !is_own(name));
            self.events.push(body, &of_file.chain(own).copied().collect::<Vec<_>>());
        }
        (self.taken, self.bytes) = (self.taken + 1, self.bytes + body.len());
        true
    }
}

/// A file whose events are found one after the other.
pub trait FindEvent: Send {
    /// Finds the next event, unless it is found already. Returns `false` at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read further.
    fn find(&mut self, file: &mut dyn BufRead) -> Result<bool, FileError>;

    /// Adds the event that was found. Returns `false` if it is for the next piece.
    fn put(&mut self, piece: &mut Piece<'_>) -> bool;

    /// Consumes the event that was found.
    fn consume(&mut self);

    /// As [`FileDecoder::skip_events`].
    ///
    /// # Errors
    /// As [`FileDecoder::skip_events`].
    fn skip(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        self.skip_found(file, events)
    }

    /// Finds and consumes so many events.
    ///
    /// # Errors
    /// As [`FileDecoder::skip_events`].
    fn skip_found(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        for _ in 0..events {
            if !self.find(file)? {
                let problem = "the file has fewer events than were already read: it was truncated \
                               or replaced; write new content into a new file"
                    .to_owned();
                return Err(MalformedMessage { problem }.into());
            }
            self.consume();
        }
        Ok(())
    }
}

/// The decoder of a file whose events are found one after the other.
pub struct OneByOne<F> {
    file: F,
    broken: Deferred,
}

impl<F: FindEvent> OneByOne<F> {
    /// Creates the decoder of a file.
    pub fn new(file: F) -> Self {
        Self { file, broken: Deferred::default() }
    }
}

impl<F: FindEvent> FileDecoder for OneByOne<F> {
    fn skip_events(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        self.file.skip(file, events)
    }

    fn read(&mut self, file: &mut dyn BufRead, piece: &mut Piece<'_>) -> Result<bool, FileError> {
        self.broken.come()?;
        loop {
            match self.file.find(file) {
                Ok(true) if self.file.put(piece) => self.file.consume(),
                Ok(is_more) => return Ok(is_more),
                Err(error) => return self.broken.behind(piece.taken, error),
            }
        }
    }
}

/// All events of a message that is a file.
///
/// # Errors
/// It is no such file.
pub fn decode_message(
    mut file: impl FileDecoder,
    message: &Message<'_>,
    events: &mut BatchBuilder,
) -> Result<(), MalformedMessage> {
    // In pieces, so that reading stops when the file exceeds the limits of the batch.
    let piece = PieceLimits { bytes: 1 << 20, events: 1 << 10 };
    let mut bytes = message.bytes;
    loop {
        match file.next(&mut bytes, piece, message.headers, events) {
            Ok(true) if events.excess().is_some() => return Ok(()),
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(FileError::Malformed(malformed)) => return Err(malformed),
            Err(FileError::Unreadable(error)) => {
                return Err(MalformedMessage { problem: error.to_string() });
            }
        }
    }
}
