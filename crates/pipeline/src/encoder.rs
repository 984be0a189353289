//! The encoder and the codec: turn the events of a file into bytes.
//!
//! ```text
//!   Encoder::begin ─► FileEncoder: encode, encode, …, finish ─► bytes of one file
//!   Codec::begin ───► Compressor:  compress, compress, …, finish ─► the same, compressed
//! ```
//!
//! A file may have a beginning and an end of its own (a header with a schema, a footer), and an
//! encoder may hold bytes back until a block is full. Therefore a file can be split only by
//! finishing it, and no part of an unfinished file may be read.
//!
//! An encoder outside this process can fail: [`Encoder::remote`]. A sink drops a file that cannot
//! be continued, and writes its batches again.
//!
//! [`Encoder::unwritable`] finds events that can never be written in a form by looking only at the
//! events. Events that it accepts can always be encoded.

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{EventRef, Events};
use crate::sink::SinkError;
use crate::statistics::FileEnd;
use crate::table_form::TableForm;

/// An event that can never be written in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// The index of the event, from 0.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// A kind of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind {
    /// The usual ending of a file's name, without the dot.
    pub extension: &'static str,
    /// The media type of a file, for protocols that name it.
    pub content_type: &'static str,
    /// True if each event is one line of an uncompressed file.
    pub is_lines: bool,
}

impl FileKind {
    /// Lines of text.
    pub const LINES: Self = Self { extension: "log", content_type: "text/plain", is_lines: true };
}

/// The format of the events in a file; by default, lines of plain text.
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
/// }
///
/// let mut batch = Batch::of(["up"]);
/// batch.set_header("host", "web-1", pipeline::Existing::Keep);
/// assert_eq!(Tabbed.begin().encode(&batch), "web-1\tup\n");
/// assert!(Tabbed.size_bound(&batch) >= 9);
/// ```
pub trait Encoder: Send + Sync {
    /// Returns the kind of its files.
    fn file_kind(&self) -> FileKind {
        FileKind::LINES
    }

    /// Returns `true` if the concatenation of two files is a file with the events of both: it has
    /// no head and no end.
    fn concatenates(&self) -> bool {
        false
    }

    /// Returns the `events` that can never be written in this form, by rising index.
    fn unwritable(&self, _events: &Events) -> Vec<Unwritable> {
        Vec::new()
    }

    /// Returns `true` if it reads typed rows (the crate `rows`).
    fn reads_rows(&self) -> bool {
        false
    }

    /// Returns an upper bound of the bytes that `events` add to a file: to its written part, and to
    /// the part that its encoder [holds back](FileEncoder::held_back).
    fn size_bound(&self, events: &Events) -> u64;

    /// Returns `true` if events can have several [forms](Self::form), so that not all may share a
    /// file.
    fn has_forms(&self) -> bool {
        false
    }

    /// Returns the property that separates this event from others, such as its schema: a file has
    /// only events of one form. `None` if there is only one form.
    fn form<'e>(&self, _event: EventRef<'e>) -> Option<&'e str> {
        None
    }

    /// Describes its files as a table; `None` if nothing reads them as a table.
    fn table(&self) -> Option<TableForm> {
        None
    }

    /// Returns the statistics of a file's columns, or how much more is necessary. `end` are the
    /// last bytes of the file. `None` if its files have no statistics.
    fn statistics(&self, _end: &[u8]) -> Option<FileEnd> {
        None
    }

    /// Returns the encoder outside this process that makes the files instead of
    /// [`begin`](Self::begin). Sinks that do not support it reject it when they are built.
    fn remote(&self) -> Option<&dyn RemoteEncoder> {
        None
    }

    /// Begins a file.
    fn begin(&self) -> Box<dyn FileEncoder>;
}

/// An encoder outside this process.
pub trait RemoteEncoder: Send + Sync {
    /// Begins a file.
    fn begin(&self) -> Box<dyn RemoteFile>;
}

/// The form of one file, made outside this process. After an error the file cannot be continued.
#[async_trait]
pub trait RemoteFile: Send {
    /// As [`FileEncoder::encode`].
    ///
    /// # Errors
    /// The encoder has failed.
    async fn encode(&mut self, events: &Events) -> Result<Bytes, SinkError>;

    /// As [`FileEncoder::finish`].
    ///
    /// # Errors
    /// The encoder has failed.
    async fn finish(&mut self) -> Result<Bytes, SinkError>;
}

/// The form of one file that is being written.
pub trait FileEncoder: Send {
    /// Returns the next bytes of the file, with these events in them or held back. None of the
    /// events may be [unwritable](Encoder::unwritable).
    fn encode(&mut self, events: &Events) -> Bytes;

    /// Returns an upper bound of the bytes that [`finish`](Self::finish) would return now: a sink
    /// that limits the size of a file adds them to it. 0 if nothing is held back.
    fn held_back(&self) -> u64 {
        0
    }

    /// Returns the last bytes of the file: held back bytes, and its end.
    fn finish(&mut self) -> Bytes {
        Bytes::new()
    }
}

/// A compression of files.
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
    /// Returns the suffix of the file name, without the dot; empty for no suffix.
    fn extension(&self) -> &'static str;

    /// Returns the content coding of a file, for protocols that name it; `None` without
    /// compression, or if HTTP has no name for it.
    fn content_encoding(&self) -> Option<&'static str>;

    /// Returns the class of Hadoop that reads this form, for files that name it; `None` if there is
    /// no such class.
    fn hadoop_class(&self) -> Option<&'static str> {
        None
    }

    /// Returns `true` if the concatenation of two files is a file with the content of both, for
    /// every reader of this form.
    fn concatenates(&self) -> bool {
        false
    }

    /// Begins a file.
    fn begin(&self) -> Box<dyn Compressor>;
}

/// The compressor of one file. It may hold back up to a mebibyte.
pub trait Compressor: Send {
    /// The next bytes of the file.
    fn compress(&mut self, bytes: Bytes) -> Bytes;

    /// The last bytes of the file.
    fn finish(&mut self) -> Bytes;
}
