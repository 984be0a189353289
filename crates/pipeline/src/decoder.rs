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
    /// The message is malformed; nothing of it may be used.
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage>;
}
