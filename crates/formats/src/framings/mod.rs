//! Framings: find the end of messages in a stream.

pub mod length_prefixed;
pub mod lines;
pub mod syslog;

use bytes::BytesMut;
use pipeline::component::entry;
use pipeline::{Entry, Frame, Framer, Framing, FramingLost};

/// All framings.
pub static ALL: &[Entry<dyn Framing>] =
    &[entry::<length_prefixed::Config>(), entry::<lines::Config>(), entry::<syslog::Config>()];

/// Upper bound of every source's `message_max`: longer messages are never stored.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Skips the rest of a truncated line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct SkippedLine {
    bytes: usize,
}

impl SkippedLine {
    /// Skips `bytes` further bytes without the end of the line.
    ///
    /// # Errors
    /// Fails if there are more than any line has, and again after as many bytes.
    fn add(&mut self, bytes: usize) -> Result<(), FramingLost> {
        self.bytes += bytes;
        if self.bytes <= MESSAGE_BYTES_MAX {
            return Ok(());
        }
        self.bytes = 0;
        let problem = "received 16 MiB without a line end: set `framing` to the framing of the \
                       sender";
        Err(FramingLost { problem: problem.to_owned(), is_found_again: false })
    }
}

/// A stream with its framing.
pub struct FramedStream {
    framer: Box<dyn Framer>,
    buffer: BytesMut,
}

impl FramedStream {
    /// Of messages of at most `message_max` bytes.
    pub fn new(framing: &dyn Framing, message_max: usize) -> Self {
        Self { framer: framing.begin(message_max), buffer: BytesMut::new() }
    }

    /// Of lines of at most `line_max` bytes.
    pub fn lines(line_max: usize) -> Self {
        Self { framer: lines::begin(line_max), buffer: BytesMut::new() }
    }

    /// Where the next bytes of the stream go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns the next complete or truncated message; once the stream `is_over`, also the
    /// unfinished one; `None` without one.
    ///
    /// # Errors
    /// As [`Framer::next`].
    pub fn next(&mut self, is_over: bool) -> Result<Option<Frame>, FramingLost> {
        let whole = self.framer.next(&mut self.buffer)?;
        if whole.is_some() || !is_over {
            return Ok(whole);
        }
        self.framer.rest(&mut self.buffer)
    }
}

#[cfg(test)]
mod testkit {
    //! Piece sizes do not affect the messages of a stream.

    use bytes::BytesMut;
    use pipeline::{Frame, Framing, FramingLost};

    /// The longest frame here exceeds its message by 8 bytes. The framer needs up to 24 further
    /// bytes to see whether another frame begins.
    const BESIDES_MESSAGE: usize = 8 + 24;

    /// Returns the messages of a stream in pieces of `piece` bytes, and whether each is truncated.
    /// Fails if the framing is lost.
    pub(super) fn frames(
        framing: &dyn Framing,
        stream: &[u8],
        piece: usize,
        message_max: usize,
    ) -> Vec<(String, bool)> {
        let (frames, lost) = frames_and_losses(framing, stream, piece, message_max);
        assert!(lost.is_empty(), "the framing is lost: {lost:?}");
        frames
    }

    /// Returns the messages of a stream, and each loss of its framing.
    pub(super) fn frames_and_losses(
        framing: &dyn Framing,
        stream: &[u8],
        piece: usize,
        message_max: usize,
    ) -> (Vec<(String, bool)>, Vec<FramingLost>) {
        let (mut framer, mut buffer) = (framing.begin(message_max), BytesMut::new());
        let (mut frames, mut losses) = (Vec::new(), Vec::new());
        let mut take = |found: Result<Option<Frame>, FramingLost>| match found {
            Ok(Some(Frame { message, is_cut })) => {
                frames.push((String::from_utf8_lossy(&message).into_owned(), is_cut));
                true
            }
            Ok(None) => false,
            Err(lost) => {
                losses.push(lost);
                true
            }
        };
        for bytes in stream.chunks(piece) {
            buffer.extend_from_slice(bytes);
            while take(framer.next(&mut buffer)) {}
            assert!(buffer.len() <= message_max + BESIDES_MESSAGE, "more is left than a message");
        }
        while take(framer.rest(&mut buffer)) {}
        (frames, losses)
    }

    /// Returns complete messages.
    pub(super) fn whole(messages: &[&str]) -> Vec<(String, bool)> {
        messages.iter().map(|message| ((*message).to_owned(), false)).collect()
    }

    /// Returns a truncated message.
    pub(super) fn cut(message: &str) -> (String, bool) {
        (message.to_owned(), true)
    }
}
