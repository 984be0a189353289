//! The framing: where one message of a stream ends and the next one begins.
//!
//! ```text
//!   bytes of a connection ─► Framer::next, next, … ─► messages ─► Decoder ─► events
//! ```
//!
//! A [`Decoder`](crate::Decoder) reads whole messages. Where a stream carries them, a framing cuts
//! it.

use bytes::{Bytes, BytesMut};

/// A message that was cut out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The message without its frame.
    pub message: Bytes,
    /// Whether its end is missing: it was longer than allowed, or the stream ended early.
    pub is_cut: bool,
}

/// Says where messages end.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use bytes::BytesMut;
/// use pipeline::{Frame, Framer, Framing};
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
///     fn next(&mut self, stream: &mut BytesMut) -> Option<Frame> {
///         let is_whole = stream.len() >= 4;
///         is_whole.then(|| Frame { message: stream.split_to(4).freeze(), is_cut: false })
///     }
///
///     fn rest(&mut self, stream: &mut BytesMut) -> Option<Frame> {
///         let message = stream.split().freeze();
///         (!message.is_empty()).then_some(Frame { message, is_cut: true })
///     }
/// }
///
/// let mut stream = BytesMut::from("onestwosth");
/// let mut framer = Fours.begin(4);
/// let next = || framer.next(&mut stream).map(|frame| frame.message);
/// let whole: Vec<_> = std::iter::from_fn(next).collect();
/// assert_eq!(whole, ["ones", "twos"]);
/// assert_eq!(framer.rest(&mut stream).map(|frame| frame.is_cut), Some(true));
/// ```
pub trait Framing: Send + Sync {
    /// Begins a stream of messages of at most `message_max` bytes each, which is at least 1.
    fn begin(&self, message_max: usize) -> Box<dyn Framer>;
}

/// The framing of one stream.
pub trait Framer: Send {
    /// Takes the next message from the front of `stream`, where its next bytes have been added;
    /// `None` until more come. What it leaves there is at most a message and its frame, so the
    /// memory of a stream has a limit whatever comes. A message that is too long is cut, and the
    /// rest of it is passed over.
    fn next(&mut self, stream: &mut BytesMut) -> Option<Frame>;

    /// Takes what is left when the stream has ended.
    fn rest(&mut self, stream: &mut BytesMut) -> Option<Frame>;
}
