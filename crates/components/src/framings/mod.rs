//! Where the messages of a stream end.

pub mod length_prefixed;
pub mod lines;
pub mod syslog;

use bytes::BytesMut;
use pipeline::component::entry;
use pipeline::{Entry, Frame, Framer, Framing};

/// All of them.
pub static ALL: &[Entry<dyn Framing>] =
    &[entry::<length_prefixed::Config>(), entry::<lines::Config>(), entry::<syslog::Config>()];

/// A stream with its framing.
pub(crate) struct FramedStream {
    framer: Box<dyn Framer>,
    buffer: BytesMut,
}

impl FramedStream {
    /// Of messages of at most `message_max` bytes.
    pub(crate) fn new(framing: &dyn Framing, message_max: usize) -> Self {
        Self { framer: framing.begin(message_max), buffer: BytesMut::new() }
    }

    /// Of lines of at most `line_max` bytes.
    pub(crate) fn lines(line_max: usize) -> Self {
        Self { framer: lines::begin(line_max), buffer: BytesMut::new() }
    }

    /// Where the next bytes of the stream go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message that is whole, or cut; `None` until more bytes come.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.framer.next(&mut self.buffer)
    }

    /// What is left when the stream has ended.
    pub(crate) fn rest(&mut self) -> Option<Frame> {
        self.framer.rest(&mut self.buffer)
    }
}

#[cfg(test)]
mod testkit {
    //! The same stream in pieces of every size gives the same messages.

    use bytes::BytesMut;
    use pipeline::{Frame, Framing};

    /// The messages of a stream that comes in pieces of `piece` bytes, and whether each is cut.
    pub(super) fn frames(
        framing: &dyn Framing,
        stream: &[u8],
        piece: usize,
        message_max: usize,
    ) -> Vec<(String, bool)> {
        let (mut framer, mut buffer) = (framing.begin(message_max), BytesMut::new());
        let mut frames = Vec::new();
        for bytes in stream.chunks(piece) {
            buffer.extend_from_slice(bytes);
            frames.extend(std::iter::from_fn(|| framer.next(&mut buffer)));
            // The longest frames here have 8 bytes in addition to the message.
            assert!(buffer.len() <= message_max + 8, "more is left than a message");
        }
        frames.extend(framer.rest(&mut buffer));
        let shown = |f: Frame| (String::from_utf8_lossy(&f.message).into_owned(), f.is_cut);
        frames.into_iter().map(shown).collect()
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
