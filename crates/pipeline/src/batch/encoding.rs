//! The encoding of a batch, for the wire and the disk.
//!
//! Layout, all numbers little-endian:
//!
//! ```text
//! 0   u8   version: 4 where the values of a header are stored for runs of events, otherwise 3
//!          where no length is stored, otherwise 2
//! 1   u8   flags: bit 0 = each body is followed by LF
//! 2   u16  number of shared headers
//! 4   u16  number of columns
//! 6   u8   bytes of a length: 1, 2 or 4; in version 3 none, 0; in version 4 any of these
//! 7   u8   0
//! 8   u32  number of events (n)
//! 12  u32  bytes of the shared section
//! 16  u32  bytes of the columns section
//! 20  u32  bytes of the bodies section
//! 24  shared:  for each  u16 name bytes, u32 value bytes, name, value
//!     columns: for each  u16 name bytes, u32 value bytes, name, n × u32 end, values
//!              (end: offset after this event's value; top bit set = no value)
//!     lengths: n × that many bytes: how long each body is, without LF
//!     bodies
//! ```
//!
//! Without stored lengths each body ends before the next LF, and bit 0 of the flags is set. A batch
//! is written in the oldest version that can represent it, for older programs. In version 1 a
//! length has 4 bytes and byte 6 is 0; it can be read, and is no longer written.
//!
//! Identity and positions are not part of it: they are in the frame or message around it.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::events::{ABSENT, Column, Shared, u32_at};
use super::lengths::{Lengths, Width};
use super::{Batch, Events};

/// Bytes before the sections.
pub const HEADER_BYTES: usize = 24;

/// Lengths of 4 bytes.
const WIDE: u8 = 1;
/// Lengths as narrow as they may be.
const NARROW: u8 = 2;
/// No stored lengths: the bodies determine them.
const IN_BODIES: u8 = 3;
/// Columns in runs; lengths or none.
const RUNS: u8 = 4;
const SEPARATED: u8 = 1;

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The first byte names a layout that this program does not know.
    #[error(
        "the batch has the layout version {found}, but this program supports only versions up to \
         {RUNS}; a newer program wrote it: upgrade this one"
    )]
    Version {
        /// The version in the first byte.
        found: u8,
    },
    /// The bytes are fewer or more than their header announces.
    #[error("the batch is damaged: it has {actual} bytes instead of {announced}")]
    Length {
        /// Number of bytes.
        actual: usize,
        /// Bytes that the header adds up to.
        announced: usize,
    },
    /// A length, offset or separator inside contradicts another one.
    #[error("the batch is damaged: its part `{section}` is inconsistent")]
    Inconsistent {
        /// The section that is wrong.
        section: &'static str,
    },
    /// A header's name or value is not UTF-8.
    #[error("the batch is damaged: a header is not UTF-8")]
    NotUtf8,
}

/// [`Events::digest`] of a batch with this encoding.
pub fn digest_of(encoded: &[u8]) -> u64 {
    xxh3_64(encoded)
}

impl Events {
    /// Bytes of [`Events::encode`]'s result.
    pub fn encoded_len(&self) -> usize {
        if let Some(encoded) = &self.encoded {
            return encoded.len();
        }
        HEADER_BYTES
            + self.shared_bytes()
            + self.column_bytes()
            + self.lengths.bytes().len()
            + self.bodies.len()
    }

    fn shared_bytes(&self) -> usize {
        self.shared.iter().map(|(key, value)| 6 + key.len() + value.len()).sum()
    }

    fn column_bytes(&self) -> usize {
        let sizes = self.column_sizes_bytes();
        let bytes =
            |c: &Column| sizes + c.name.len() + c.run_bytes().len() + c.ends.len() + c.values.len();
        self.columns.iter().map(bytes).sum()
    }

    /// Returns `true` if some header is stored in runs.
    fn has_runs(&self) -> bool {
        self.columns.iter().any(|column| column.runs.is_some())
    }

    /// Returns the bytes of the numbers before each column.
    fn column_sizes_bytes(&self) -> usize {
        if self.has_runs() { 10 } else { 6 }
    }

    /// The events as bytes. Free if they were decoded and not changed since.
    pub fn encode(&self) -> Bytes {
        if let Some(encoded) = &self.encoded {
            return encoded.clone();
        }
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut out);
        out.freeze()
    }

    /// Appends the encoding to `out`.
    ///
    /// # Panics
    /// If the batch exceeds the layout: 65,535 headers, 64 KiB for a name, 4 GiB for a section.
    /// Sources stay far below.
    pub fn encode_into(&self, out: &mut impl BufMut) {
        for piece in self.pieces() {
            out.put_slice(&piece);
        }
    }

    /// Returns the encoding in consecutive pieces, for a caller that copies it: the bodies are not
    /// copied here.
    ///
    /// # Panics
    /// As [`Events::encode_into`].
    pub fn pieces(&self) -> Vec<Bytes> {
        if let Some(encoded) = &self.encoded {
            return vec![encoded.clone()];
        }
        let head = HEADER_BYTES + self.shared_bytes() + self.column_bytes();
        let mut out = BytesMut::with_capacity(head);
        self.put_head(&mut out);
        let lengths = match &self.lengths {
            Lengths::Stored { bytes, .. } => bytes.clone(),
            Lengths::InBodies { .. } => Bytes::new(),
        };
        vec![out.freeze(), lengths, self.bodies.clone()]
    }

    /// Returns these events backed by the bytes in `encoded`, which must be their encoding, so that
    /// the original buffers can be freed. Copies no body and reads none.
    ///
    /// # Panics
    /// If `encoded` has another length than the encoding, which is a bug of the caller.
    #[must_use]
    pub fn moved_to(&self, encoded: Bytes) -> Self {
        assert_eq!(encoded.len(), self.encoded_len(), "the encoding is of these events");
        let mut at = HEADER_BYTES + self.shared_bytes();
        let mut next = |len: usize| {
            at += len;
            encoded.slice(at - len..at)
        };
        let sizes = self.column_sizes_bytes();
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            next(sizes + column.name.len());
            let runs = column.runs.as_ref().map(|runs| next(runs.len()));
            let (ends, values) = (next(column.ends.len()), next(column.values.len()));
            columns.push(Column { name: column.name.clone(), runs, ends, values });
        }
        let lengths = self.lengths.moved_to(next(self.lengths.bytes().len()));
        let bodies = next(self.bodies.len());
        Self {
            shared: self.shared.clone(),
            columns,
            lengths,
            bodies,
            separated: self.separated,
            encoded: Some(encoded),
        }
    }

    fn put_head(&self, out: &mut impl BufMut) {
        let small = |n: usize| u16::try_from(n).expect("counts and names of headers fit 16 bits");
        let wide = |n: usize| u32::try_from(n).expect("a section is smaller than 4 GiB");
        let (version, width) = match self.lengths {
            Lengths::Stored { width, .. } => (NARROW, width as u8),
            Lengths::InBodies { .. } => (IN_BODIES, 0),
        };
        let has_runs = self.has_runs();
        out.put_u8(if has_runs { RUNS } else { version });
        out.put_u8(if self.separated { SEPARATED } else { 0 });
        out.put_u16_le(small(self.shared.len()));
        out.put_u16_le(small(self.columns.len()));
        out.put_u8(width);
        out.put_u8(0);
        out.put_u32_le(wide(self.len()));
        out.put_u32_le(wide(self.shared_bytes()));
        out.put_u32_le(wide(self.column_bytes()));
        out.put_u32_le(wide(self.bodies.len()));
        for (key, value) in &self.shared {
            out.put_u16_le(small(key.len()));
            out.put_u32_le(wide(value.len()));
            out.put_slice(key.as_bytes());
            out.put_slice(value.as_bytes());
        }
        for column in &self.columns {
            out.put_u16_le(small(column.name.len()));
            out.put_u32_le(wide(column.values.len()));
            if has_runs {
                out.put_u32_le(wide(column.run_bytes().len() / 4));
            }
            out.put_slice(column.name.as_bytes());
            out.put_slice(column.run_bytes());
            out.put_slice(&column.ends);
            out.put_slice(&column.values);
        }
    }

    /// Returns a fingerprint of the events that does not depend on headers set on the way: XXH3-64
    /// of the lengths of all bodies, and of their first and last 4 KiB; without stored lengths, of
    /// an eighth of all bytes instead. Batches of different events differ in that. Hashing every
    /// byte again would cost a few percent of the receive path.
    pub fn fingerprint(&self) -> u64 {
        const ENDS: usize = 4 << 10;
        const SAMPLE: usize = ENDS / 8;
        let mut hasher = Xxh3::new();
        hasher.update(self.lengths.bytes());
        if let Lengths::InBodies { events } = self.lengths {
            hasher.update(&events.to_le_bytes());
            hasher.update(&self.bodies.len().to_le_bytes());
            let samples = self.bodies.chunks(ENDS).map(|part| &part[..SAMPLE.min(part.len())]);
            samples.for_each(|sample| hasher.update(sample));
        }
        hasher.update(&self.bodies[..ENDS.min(self.bodies.len())]);
        hasher.update(&self.bodies[self.bodies.len().saturating_sub(ENDS)..]);
        hasher.digest()
    }

    /// Returns XXH3-64 of the encoding, to compare two bodies of one identity.
    pub fn digest(&self) -> u64 {
        digest_of(&self.encode())
    }
}

impl Batch {
    /// Decodes a batch, with an empty envelope. The bodies stay in `encoded`, which the batch
    /// shares.
    ///
    /// Checks every length and offset, so that no later read from the batch can be out of bounds,
    /// whatever the source of the bytes.
    ///
    /// # Errors
    /// The bytes are not a batch of a known version, or are inconsistent.
    pub fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: encoded.clone() };
        let header = reader.take(HEADER_BYTES, "header")?;
        let width = match (header[0], header[6]) {
            (WIDE, _) => Some(Width::Four),
            (IN_BODIES | RUNS, 0) => None,
            (NARROW | RUNS, bytes) => Some(
                Width::from_bytes(bytes).ok_or(DecodeError::Inconsistent { section: "header" })?,
            ),
            (IN_BODIES, _) => return Err(DecodeError::Inconsistent { section: "header" }),
            (found, _) => return Err(DecodeError::Version { found }),
        };
        let separated = header[1] & SEPARATED != 0;
        let small = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) as usize;
        let wide = |at: usize| u32_at(&header[at..], 0) as usize;
        let events = wide(8);
        let sections =
            [wide(12), wide(16), width.map_or(0, |width| events * width as usize), wide(20)];
        let announced = HEADER_BYTES + sections.iter().sum::<usize>();
        if announced != encoded.len() {
            return Err(DecodeError::Length { actual: encoded.len(), announced });
        }
        let shared = shared_section(reader.section(sections[0])?, small(2))?;
        let columns =
            columns_section(reader.section(sections[1])?, small(4), events, header[0] == RUNS)?;
        let numbers = reader.take(sections[2], "lengths")?;
        let lengths = match width {
            Some(width) => Lengths::Stored { width, bytes: numbers },
            None => Lengths::InBodies { events },
        };
        let bodies = reader.take(sections[3], "bodies")?;
        if !lengths.fit(&bodies, separated) {
            return Err(DecodeError::Inconsistent { section: "lengths" });
        }
        let mut names: Vec<&str> = shared.iter().map(|(name, _)| &**name).collect();
        names.extend(columns.iter().map(|column| &*column.name));
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::Inconsistent { section: "headers" });
        }
        let encoded = Some(encoded);
        Ok(Events { shared, columns, lengths, bodies, separated, encoded }.into())
    }
}

/// Splits slices off the remaining bytes, never beyond their end.
struct Reader {
    rest: Bytes,
}

impl Reader {
    fn take(&mut self, bytes: usize, section: &'static str) -> Result<Bytes, DecodeError> {
        if self.rest.len() < bytes {
            return Err(DecodeError::Inconsistent { section });
        }
        Ok(self.rest.split_to(bytes))
    }

    fn section(&mut self, bytes: usize) -> Result<Self, DecodeError> {
        Ok(Self { rest: self.take(bytes, "sections")? })
    }

    /// Reads the `u16` and `u32` before a header: bytes of its name and of its values.
    fn sizes(&mut self, section: &'static str) -> Result<(usize, usize), DecodeError> {
        let sizes = self.take(6, section)?;
        Ok((u16::from_le_bytes([sizes[0], sizes[1]]) as usize, u32_at(&sizes[2..], 0) as usize))
    }
}

impl Column {
    /// Returns the stored bytes of its runs.
    fn run_bytes(&self) -> &[u8] {
        self.runs.as_deref().unwrap_or_default()
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)
}

fn shared_section(mut reader: Reader, count: usize) -> Result<Vec<Shared>, DecodeError> {
    const SECTION: &str = "shared headers";
    let mut shared = Vec::new();
    for _ in 0..count {
        let (name_bytes, value_bytes) = reader.sizes(SECTION)?;
        let name = reader.take(name_bytes, SECTION)?;
        let value = reader.take(value_bytes, SECTION)?;
        shared.push((text(&name)?.into(), text(&value)?.into()));
    }
    if reader.rest.is_empty() {
        Ok(shared)
    } else {
        Err(DecodeError::Inconsistent { section: SECTION })
    }
}

fn columns_section(
    mut reader: Reader,
    count: usize,
    events: usize,
    in_runs: bool,
) -> Result<Vec<Column>, DecodeError> {
    const SECTION: &str = "columns";
    let mut columns = Vec::new();
    for _ in 0..count {
        let (name_bytes, value_bytes) = reader.sizes(SECTION)?;
        let runs = if in_runs { u32_at(&reader.take(4, SECTION)?, 0) as usize } else { 0 };
        let name = reader.take(name_bytes, SECTION)?;
        let untils = reader.take(runs * 4, SECTION)?;
        let cells = if runs > 0 { runs } else { events };
        let ends = reader.take(cells * 4, SECTION)?;
        let values = reader.take(value_bytes, SECTION)?;
        let all = text(&values)?;
        let (mut before, mut until_before) = (0, 0);
        for cell in 0..cells {
            let end = (u32_at(&ends, cell) & !ABSENT) as usize;
            let until = if runs > 0 { u32_at(&untils, cell) as usize } else { cell + 1 };
            if end < before || !all.is_char_boundary(end) || until <= until_before {
                return Err(DecodeError::Inconsistent { section: SECTION });
            }
            (before, until_before) = (end, until);
        }
        if until_before != events {
            return Err(DecodeError::Inconsistent { section: SECTION });
        }
        let runs = (runs > 0).then_some(untils);
        columns.push(Column { name: text(&name)?.into(), runs, ends, values });
    }
    if reader.rest.is_empty() {
        Ok(columns)
    } else {
        Err(DecodeError::Inconsistent { section: SECTION })
    }
}
