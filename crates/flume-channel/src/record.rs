//! Parses the records of a log, in Flume's formats 2 and 3. Pure: no I/O, no panic on any input.
//!
//! ```text
//! format 3   7f │ i32 length │ header, body, footer: each a protobuf with its length in front
//! format 2   7f │ deadbeef │ i16 kind │ i64 transaction │ i64 write order │ fields
//! both       00 │ a record that Flume's integrity tool has removed (format 3: i32 length, bytes)
//!            80 │ the end: files are filled with it, 1 MiB at a time
//! ```
//!
//! Numbers are big-endian, those in protobufs little-endian.

mod v2;
mod v3;

use std::fmt;

/// The largest accepted record; a longer one counts as damaged.
pub const RECORD_MAX: usize = 256 << 20;
/// The longest name of a header, and the maximum number of headers: the limits of a batch.
const NAME_MAX: usize = u16::MAX as usize;
const HEADERS_MAX: usize = 4096;

const OP_RECORD: u8 = 0x7f;
const OP_NOOP: u8 = 0x00;
const OP_END: u8 = 0x80;

/// The format of a log's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Flume 1.2 and older: Java's own encoding, a header in the log itself.
    V2,
    /// Since Flume 1.3: protobufs, metadata in a separate file.
    V3,
}

impl Format {
    /// Returns the offset of the first record of a log.
    pub fn start(self) -> u64 {
        match self {
            Self::V2 => 24,
            Self::V3 => 0,
        }
    }
}

/// The place of an event: the number of its log and the offset in it, as Flume writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer(u64);

impl Pointer {
    /// Creates a place; `None` for a negative number, which is invalid.
    pub fn new(file: i32, offset: i32) -> Option<Self> {
        let (file, offset) = (u32::try_from(file).ok()?, u32::try_from(offset).ok()?);
        Some(Self(u64::from(file) << 32 | u64::from(offset)))
    }

    /// Decodes the form in a checkpoint, in which 0 is an empty place.
    pub fn from_long(long: i64) -> Option<Self> {
        (long != 0).then(|| Self::new((long >> 32) as i32, long as i32)).flatten()
    }

    /// The first place of a log.
    pub fn of_log(file: u32) -> Option<Self> {
        Self::new(i32::try_from(file).ok()?, 0)
    }

    /// Number of the log.
    pub fn file(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Offset of the record in the log.
    pub fn offset(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log-{} byte {}", self.file(), self.offset())
    }
}

/// An event as Flume has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Name and value of each header, in the order of the file.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The direction of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Events are put into the channel.
    Put,
    /// Events leave it.
    Take,
}

/// The kinds of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// This event is put.
    Put(Event),
    /// The event at this place is taken.
    Take(Pointer),
    /// The transaction is void.
    Rollback,
    /// All of the transaction counts.
    Commit(Side),
}

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its transaction.
    pub transaction: i64,
    /// Rises with every record of a channel, over all logs.
    pub order: i64,
    /// Its kind.
    pub kind: Kind,
}

/// The result of reading one place of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A record of this many bytes.
    Record(Record, usize),
    /// So many bytes that Flume's integrity tool has taken out.
    Removed(usize),
    /// The end of the written part.
    End,
    /// This many bytes are needed to decide.
    More(usize),
    /// Damaged.
    Damaged {
        /// The problem.
        problem: &'static str,
        /// Bytes to the next record, if known.
        len: Option<usize>,
    },
}

/// Why bytes are not a record.
pub(crate) enum Fault {
    /// This many bytes are needed to decide.
    Short(usize),
    /// The problem.
    Wrong(&'static str),
}

/// Parses the beginning of `bytes`.
pub fn read(bytes: &[u8], format: Format) -> Step {
    let Some(op) = bytes.first() else { return Step::More(1) };
    match (*op, format) {
        (OP_END, _) => Step::End,
        (OP_RECORD, Format::V2) => v2::read(bytes),
        (OP_RECORD | OP_NOOP, Format::V3) => v3::read(bytes, *op == OP_RECORD),
        (OP_NOOP, Format::V2) => Step::Damaged {
            problem: "a record that Flume's integrity tool removed has an unknown length",
            len: None,
        },
        _ => Step::Damaged { problem: "no record starts at this position", len: None },
    }
}

/// The offset of the next place in `bytes`, from 1 on, that looks like the beginning of a record.
pub fn resume(bytes: &[u8], format: Format) -> Option<usize> {
    let rest = bytes.get(1..)?;
    memchr::memchr_iter(OP_RECORD, rest).map(|at| at + 1).find(|at| {
        let here = &bytes[*at..];
        match format {
            Format::V2 => here.get(1..5) == Some(&v2::MAGIC[..]),
            Format::V3 => here.get(5..7) == Some(&v3::HEADER_START[..]),
        }
    })
}

/// Checks that a batch can contain the headers and the body.
fn checked(event: Event) -> Result<Kind, Fault> {
    if event.headers.len() > HEADERS_MAX {
        return Err(Fault::Wrong("an event has more headers than supported"));
    }
    if event.headers.iter().any(|(name, _)| name.len() > NAME_MAX) {
        return Err(Fault::Wrong("the name of a header is longer than supported"));
    }
    Ok(Kind::Put(event))
}

#[cfg(test)]
mod tests;
