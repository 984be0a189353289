//! The decoder: what the bytes of one message say as events.
//!
//! A message is whole: the body of an HTTP request, a datagram, a value of a topic. Cutting a
//! stream into messages is the source's part.

use thiserror::Error;

use crate::batch::BatchBuilder;

/// A whole message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its bytes, after decompression.
    pub bytes: &'a [u8],
    /// The character set that came with it, in lower case, if one did.
    pub charset: Option<&'a str>,
    /// Headers that each event of it gets, unless the event brings its own.
    pub headers: &'a [(&'a str, &'a str)],
}

/// A message that is not of the form that the decoder reads.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct MalformedMessage {
    /// What is wrong, with its place in the message.
    pub problem: String,
}

/// Turns messages into events.
pub trait Decoder: Send + Sync {
    /// Adds the events of `message` to `events`. A message without events adds nothing.
    ///
    /// # Errors
    /// The message is malformed; nothing of it may be used.
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage>;
}
