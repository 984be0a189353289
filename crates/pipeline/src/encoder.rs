//! The encoder and the codec: what the events of a file look like as bytes.
//!
//! ```text
//!   Encoder::begin ─► FileEncoder: encode, encode, …, finish ─► bytes of one file
//!   Codec::begin ───► Compressor:  compress, compress, …, finish ─► the same, compressed
//! ```
//!
//! A file may have a beginning and an end of its own (a header with a schema, a footer), and an
//! encoder may hold bytes back until a block is full. So a file can be cut only by finishing it,
//! and nothing of a file that was not finished may be read.
//!
//! What can never be written in a form is found beforehand, by [`Encoder::unwritable`], which looks
//! at the events alone. What it lets through can always be encoded.

use bytes::Bytes;

use crate::batch::Events;

/// An event that can never be written in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// Place of the event among the others, from 0.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// The form of the events in a file; unless it says otherwise, lines of plain text.
pub trait Encoder: Send + Sync {
    /// The usual ending of a file's name, without the dot.
    fn extension(&self) -> &'static str {
        "log"
    }

    /// The media type of a file, for protocols that name it.
    fn content_type(&self) -> &'static str {
        "text/plain"
    }

    /// Whether each event is one line of an uncompressed file.
    fn is_lines(&self) -> bool {
        true
    }

    /// Those of `events` that can never be written in this form, by rising index.
    fn unwritable(&self, _events: &Events) -> Vec<Unwritable> {
        Vec::new()
    }

    /// At least as many bytes as `events` add to a file, up to a mebibyte that an encoder
    /// may hold back and write later.
    fn size_bound(&self, events: &Events) -> u64;

    /// Begins a file.
    fn begin(&self) -> Box<dyn FileEncoder>;
}

/// The form of one file that is being written.
pub trait FileEncoder: Send {
    /// The next bytes of the file, with these events in them or held back. None of them may be
    /// [unwritable](Encoder::unwritable).
    fn encode(&mut self, events: &Events) -> Bytes;

    /// The last bytes of the file: what was held back, and its end.
    fn finish(&mut self) -> Bytes;
}

/// How the bytes of a file are compressed.
pub trait Codec: Send + Sync {
    /// What is added to the name of a file, without the dot; empty where nothing is.
    fn extension(&self) -> &'static str;

    /// The content coding of a file, for protocols that name it; `None` where nothing is
    /// compressed.
    fn content_encoding(&self) -> Option<&'static str>;

    /// Begins a file.
    fn begin(&self) -> Box<dyn Compressor>;
}

/// The compression of one file that is being written. It may hold up to a mebibyte back.
pub trait Compressor: Send {
    /// The next bytes of the file.
    fn compress(&mut self, bytes: Bytes) -> Bytes;

    /// The last bytes of the file.
    fn finish(&mut self) -> Bytes;
}
