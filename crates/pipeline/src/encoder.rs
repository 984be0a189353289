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

use crate::batch::{EventRef, Events};
use crate::table_form::TableForm;

/// An event that can never be written in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// Place of the event among the others, from 0.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// The form of the events in a file; unless it says otherwise, lines of plain text.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use bytes::Bytes;
/// use pipeline::{Batch, Encoder, Events, FileEncoder};
///
/// /// A line for each event: the host, a tab, the body.
/// struct Tabbed;
///
/// impl Encoder for Tabbed {
///     fn size_bound(&self, events: &Events) -> u64 {
///         let hosts: usize = events.values("host").flatten().map(str::len).sum();
///         events.body_bytes() + (hosts + 2 * events.len()) as u64
///     }
///
///     fn begin(&self) -> Box<dyn FileEncoder> {
///         Box::new(Tabbed)
///     }
/// }
///
/// impl FileEncoder for Tabbed {
///     fn encode(&mut self, events: &Events) -> Bytes {
///         let mut lines = Vec::new();
///         for event in events.iter() {
///             let host = event.header("host").unwrap_or_default().as_bytes();
///             lines.extend_from_slice(&[host, b"\t", event.body(), b"\n"].concat());
///         }
///         lines.into()
///     }
///
///     fn finish(&mut self) -> Bytes {
///         Bytes::new()
///     }
/// }
///
/// let mut batch = Batch::of(["up"]);
/// batch.set_header("host", "web-1", pipeline::Existing::Keep);
/// assert_eq!(Tabbed.begin().encode(&batch), "web-1\tup\n");
/// assert!(Tabbed.size_bound(&batch) >= 9);
/// ```
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

    /// Whether two files one after the other are a file with the events of both: it has no head and
    /// no end.
    fn concatenates(&self) -> bool {
        false
    }

    /// Those of `events` that can never be written in this form, by rising index.
    fn unwritable(&self, _events: &Events) -> Vec<Unwritable> {
        Vec::new()
    }

    /// At least as many bytes as `events` add to a file: to what is written of it, and to what its
    /// encoder [holds back](FileEncoder::held_back).
    fn size_bound(&self, events: &Events) -> u64;

    /// Whether events can be of several [forms](Self::form), so that not all may share a file.
    fn has_forms(&self) -> bool {
        false
    }

    /// What keeps this event out of the files of others, such as the schema that it states: a file
    /// has events of one form alone. `None` where there is but one.
    fn form<'e>(&self, _event: EventRef<'e>) -> Option<&'e str> {
        None
    }

    /// How its files are read as a table; `None` where nothing reads them as one.
    fn table(&self) -> Option<TableForm> {
        None
    }

    /// Begins a file.
    fn begin(&self) -> Box<dyn FileEncoder>;
}

/// The form of one file that is being written.
pub trait FileEncoder: Send {
    /// The next bytes of the file, with these events in them or held back. None of them may be
    /// [unwritable](Encoder::unwritable).
    fn encode(&mut self, events: &Events) -> Bytes;

    /// At least as many bytes as [`finish`](Self::finish) would give now: a sink that limits the
    /// size of a file counts them as part of it. 0 where nothing is held back.
    fn held_back(&self) -> u64 {
        0
    }

    /// The last bytes of the file: what was held back, and its end.
    fn finish(&mut self) -> Bytes;
}

/// How the bytes of a file are compressed.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use bytes::Bytes;
/// use pipeline::{Codec, Compressor};
///
/// /// Each byte is followed by how often it comes, up to 255 times.
/// struct RunLengths;
///
/// impl Codec for RunLengths {
///     fn extension(&self) -> &'static str {
///         "rl"
///     }
///
///     fn content_encoding(&self) -> Option<&'static str> {
///         None
///     }
///
///     fn begin(&self) -> Box<dyn Compressor> {
///         Box::new(Runs::default())
///     }
/// }
///
/// /// The run that may go on, and its length.
/// #[derive(Default)]
/// struct Runs(Option<(u8, u8)>);
///
/// impl Compressor for Runs {
///     fn compress(&mut self, bytes: Bytes) -> Bytes {
///         let mut ready = Vec::new();
///         for byte in bytes {
///             self.0 = match self.0 {
///                 Some((last, length @ ..255)) if last == byte => Some((last, length + 1)),
///                 before => {
///                     ready.extend(before.into_iter().flat_map(|(last, length)| [last, length]));
///                     Some((byte, 1))
///                 }
///             };
///         }
///         ready.into()
///     }
///
///     fn finish(&mut self) -> Bytes {
///         self.0.take().map_or_else(Bytes::new, |(last, length)| vec![last, length].into())
///     }
/// }
///
/// let mut file = RunLengths.begin();
/// let bytes = [file.compress("aab".into()), file.finish()].concat();
/// assert_eq!(bytes, b"a\x02b\x01");
/// ```
pub trait Codec: Send + Sync {
    /// What is added to the name of a file, without the dot; empty where nothing is.
    fn extension(&self) -> &'static str;

    /// The content coding of a file, for protocols that name it; `None` where nothing is
    /// compressed, or where HTTP has no name for it.
    fn content_encoding(&self) -> Option<&'static str>;

    /// The class of Hadoop that reads this form, for files that name it; `None` where there is
    /// none.
    fn hadoop_class(&self) -> Option<&'static str> {
        None
    }

    /// Whether two files one after the other are a file with the content of both, for whatever
    /// reads this form.
    fn concatenates(&self) -> bool {
        false
    }

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
