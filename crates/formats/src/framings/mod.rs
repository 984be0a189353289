//! Where the messages of a stream end.

pub mod length_prefixed;
pub mod lines;
pub mod syslog;

use bytes::BytesMut;
use pipeline::component::entry;
use pipeline::{Entry, Frame, Framer, Framing, FramingLost};

/// All of them.
pub static ALL: &[Entry<dyn Framing>] =
    &[entry::<length_prefixed::Config>(), entry::<lines::Config>(), entry::<syslog::Config>()];

/// No source has a larger `message_max`, so no sender can expect a longer message to be stored.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Skips the rest of a line that was cut.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct SkippedLine {
    bytes: usize,
}

impl SkippedLine {
    /// So many bytes more are skipped, and the end of the line is not among them.
    ///
    /// # Errors
    /// They are more than any line has. Reported again after as many bytes.
    fn add(&mut self, bytes: usize) -> Result<(), FramingLost> {
        self.bytes += bytes;
        if self.bytes <= MESSAGE_BYTES_MAX {
            return Ok(());
        }
        self.bytes = 0;
        let problem = "16 MiB came without the end of a line: the sender ends its messages in \
                       another way; set `framing` to the one that it uses";
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

    /// The next message that is whole, or cut, and once the stream `is_over` the one whose end has
    /// not come; `None` without one.
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
    //! The same stream in pieces of every size gives the same messages.

    use bytes::BytesMut;
    use pipeline::{Frame, Framing, FramingLost};

    /// The longest frame here has 8 bytes in addition to the message. Behind it, so many bytes say
    /// whether another one begins.
    const BESIDES_MESSAGE: usize = 8 + 24;

    /// The messages of a stream that comes in pieces of `piece` bytes, and whether each is cut.
    /// Its framing must not be lost.
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

    /// The messages of a stream, and each loss of its framing. It is not read after one that is
    /// not found again.
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

    /// Messages of which nothing is missing.
    pub(super) fn whole(messages: &[&str]) -> Vec<(String, bool)> {
        messages.iter().map(|message| ((*message).to_owned(), false)).collect()
    }

    /// A message of which the end is missing.
    pub(super) fn cut(message: &str) -> (String, bool) {
        (message.to_owned(), true)
    }
}
