//! The framing: where one message of a stream ends and the next one begins.
//!
//! ```text
//!   bytes of a connection ─► Framer::next, next, … ─► messages ─► Decoder ─► events
//! ```
//!
//! A [`Decoder`](crate::Decoder) reads whole messages. Where a stream carries them, a framing cuts
//! it.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// A message that was cut out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message without its frame.
    pub message: Bytes,
    /// True if its end is missing: it was longer than allowed, or the stream ended early.
    pub is_cut: bool,
}

/// The framing of a stream is lost: the next bytes are not the beginning of a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct FramingLost {
    /// The unexpected bytes, and the sender's most likely mistake.
    pub problem: String,
    /// True if the framer knows where the next message begins. Otherwise the rest of the stream
    /// cannot be read.
    pub is_found_again: bool,
}

/// Says where messages end.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use bytes::BytesMut;
/// use pipeline::{Frame, Framer, Framing, FramingLost};
///
/// /// Messages of four bytes each.
/// struct Fours;
///
/// impl Framing for Fours {
///     fn begin(&self, _message_max: usize) -> Box<dyn Framer> {
///         Box::new(Fours)
///     }
/// }
///
/// impl Framer for Fours {
///     fn next(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
///         let is_whole = stream.len() >= 4;
///         Ok(is_whole.then(|| Frame { message: stream.split_to(4).freeze(), is_cut: false }))
///     }
///
///     fn rest(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost> {
///         let message = stream.split().freeze();
///         Ok((!message.is_empty()).then_some(Frame { message, is_cut: true }))
///     }
/// }
///
/// let mut stream = BytesMut::from("onestwosth");
/// let mut framer = Fours.begin(4);
/// let next = || framer.next(&mut stream).ok().flatten().map(|frame| frame.message);
/// let whole: Vec<_> = std::iter::from_fn(next).collect();
/// assert_eq!(whole, ["ones", "twos"]);
/// assert!(framer.rest(&mut stream)?.is_some_and(|frame| frame.is_cut));
/// # Ok::<(), FramingLost>(())
/// ```
pub trait Framing: Send + Sync {
    /// Begins a stream of messages of at most `message_max` bytes each, which is at least 1.
    fn begin(&self, message_max: usize) -> Box<dyn Framer>;
}

/// The framing of one stream.
pub trait Framer: Send {
    /// Takes the next message from the front of `stream`, to which the caller appends received
    /// bytes; `None` until more arrive. It leaves at most a message and its frame there, so the
    /// memory of a stream is bounded. A message that is too long is truncated, and the rest of it
    /// is skipped.
    ///
    /// # Errors
    /// The framing is lost; reported once each time. If it is found again, the next calls return
    /// the bytes in between as messages, and then the next message. Otherwise close the connection:
    /// the framer drops all further bytes.
    fn next(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost>;

    /// Takes the next message from the rest of the stream after its end; `None` if none is left.
    ///
    /// # Errors
    /// As [`Framer::next`].
    fn rest(&mut self, stream: &mut BytesMut) -> Result<Option<Frame>, FramingLost>;
}
