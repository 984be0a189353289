//! Reader of Avro container files, which `encoders::container` writes: the header, then block by
//! block.
//!
//! ```text
//!   "Obj" 1 │ metadata: avro.schema, avro.codec │ sync marker
//!   block:  records, bytes, records (compressed) │ sync marker      … to the end of the file
//! ```
//!
//! Layout: Avro specification 1.11, "Object Container Files". Files are untrusted: a length in a
//! file allocates no memory before its bytes have arrived, and blocks have a size limit, before and
//! after decompression. The reader validates a whole block, with its marker, its codec and each of
//! its records, before it returns the first record.

mod codec;
mod records;

use std::io::{self, BufRead, Read};

use pipeline::{FileError, MalformedMessage};
use serde_json::Value;

use super::Malformed;
use super::datum::Reader;
use super::schema::Schema;
pub use codec::Codec;
pub use records::Records;

/// First bytes of each file.
const MAGIC: &[u8; 4] = b"Obj\x01";
/// Maximum number of bytes before the first block.
pub const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Maximum length of a schema in a message.
const SHOWN_MAX: usize = 200;
/// Maximum length of an encoded number.
const LONG_BYTES_MAX: usize = 10;

/// A file and the current position.
pub struct Bytes<'a> {
    file: &'a mut dyn BufRead,
    at: &'a mut u64,
}

impl<'a> Bytes<'a> {
    /// Wraps a file of which `at` bytes have been read.
    pub fn new(file: &'a mut dyn BufRead, at: &'a mut u64) -> Self {
        Self { file, at }
    }

    /// Returns an error with its position.
    pub fn malformed(&self, problem: impl std::fmt::Display) -> FileError {
        let problem = format!("{problem} (at byte {})", self.at);
        FileError::Malformed(MalformedMessage { problem })
    }

    /// Returns true at the end of the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn is_over(&mut self) -> io::Result<bool> {
        loop {
            match self.file.fill_buf() {
                Ok(rest) => return Ok(rest.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads `bytes` bytes and replaces the content of `out` with them.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or ends earlier.
    pub fn take(&mut self, bytes: u64, out: &mut Vec<u8>) -> Result<(), FileError> {
        out.clear();
        let read = self.file.take(bytes).read_to_end(out)? as u64;
        *self.at += read;
        if read < bytes { Err(self.malformed("the file ends too early")) } else { Ok(()) }
    }

    fn pass_over(&mut self, bytes: u64) -> Result<(), FileError> {
        let passed = io::copy(&mut self.file.take(bytes), &mut io::sink())?;
        *self.at += passed;
        if passed < bytes { Err(self.malformed("the file ends too early")) } else { Ok(()) }
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or ends earlier.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof if error.raw_os_error().is_none() => {
                self.malformed("the file ends too early")
            }
            _ => error.into(),
        })?;
        *self.at += N as u64;
        Ok(bytes)
    }

    fn long(&mut self) -> Result<i64, FileError> {
        let (mut bytes, mut length) = ([0; LONG_BYTES_MAX], 0);
        loop {
            [bytes[length]] = self.array()?;
            length += 1;
            if bytes[length - 1] & 0x80 == 0 || length == LONG_BYTES_MAX {
                let long = Reader::new(&bytes[..length]).long();
                return long.map_err(|malformed| self.malformed(malformed));
            }
        }
    }

    /// Reads a length of at most `max` bytes.
    fn length(&mut self, max: u64, what: &str) -> Result<u64, FileError> {
        let length = self.long()?;
        match u64::try_from(length) {
            Ok(length) if length <= max => Ok(length),
            _ => Err(self.malformed(format!("{what} of {length} bytes, over the limit of {max}"))),
        }
    }

    /// Reads length-prefixed bytes of the header.
    fn of_head(&mut self) -> Result<Vec<u8>, FileError> {
        let left = HEAD_BYTES_MAX.checked_sub(*self.at);
        let left = left.ok_or_else(|| {
            self.malformed(format!(
                "the metadata of the file has more than {HEAD_BYTES_MAX} bytes; write the file \
                 with less metadata"
            ))
        })?;
        let length = self.length(left, "metadata")?;
        let mut bytes = Vec::new();
        self.take(length, &mut bytes)?;
        Ok(bytes)
    }
}

/// Header of a file.
pub struct Head {
    /// Schema of the records.
    pub schema: Schema,
    /// The schema as text in the file.
    pub literal: String,
    /// Compression of the blocks.
    pub codec: Codec,
    sync: [u8; 16],
}

impl Head {
    /// Reads the header of a file; `None` if the file is empty.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not a container of records with bytes.
    pub fn read(bytes: &mut Bytes<'_>) -> Result<Option<Self>, FileError> {
        if bytes.is_over()? {
            return Ok(None);
        }
        if bytes.array()? != *MAGIC {
            return Err(bytes.malformed(
                "the file is not an Avro container file; correct the path or the decoder",
            ));
        }
        let (mut literal, mut codec) = (None, None);
        loop {
            let count = bytes.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // Size of the entries, for readers that skip them.
                bytes.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                let (name, value) = (bytes.of_head()?, bytes.of_head()?);
                match &*name {
                    b"avro.schema" => literal = Some(value),
                    b"avro.codec" => codec = Some(value),
                    _ => {}
                }
            }
        }
        let sync = bytes.array()?;
        let malformed = |problem: String| bytes.malformed(problem);
        let literal =
            literal.ok_or_else(|| malformed("the file has no `avro.schema`".to_owned()))?;
        let literal = String::from_utf8(literal)
            .map_err(|_| malformed("the schema of the file is not UTF-8".to_owned()))?;
        let schema = serde_json::from_str::<Value>(&literal).map_err(|error| error.to_string());
        let schema = schema.and_then(|schema| Schema::of_file(&schema)).map_err(|problem| {
            let shown: String = problem.chars().take(SHOWN_MAX).collect();
            malformed(format!(
                "cannot parse the schema of the file: {shown}; write the file again with a correct \
                 schema"
            ))
        })?;
        if schema.is_empty() {
            let problem = "the schema has records whose values have no bytes, which are not \
                           supported; add a field to these records";
            return Err(malformed(problem.to_owned()));
        }
        let codec = Codec::named(codec.as_deref().unwrap_or(b"null")).map_err(malformed)?;
        Ok(Some(Self { schema, literal, codec, sync }))
    }

    /// Skips the next block if it has at most `records_max` records, and reads it otherwise.
    /// Returns its number of records; `None` at the end of the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is damaged.
    fn pass_over(
        &self,
        bytes: &mut Bytes<'_>,
        block: &mut Block,
        records_max: u64,
    ) -> Result<Option<u64>, FileError> {
        let Some((count, length)) = block.begin(bytes)? else { return Ok(None) };
        if count <= records_max {
            bytes.pass_over(length)?;
            self.end(bytes)?;
        } else {
            self.fill(bytes, block, count, length)?;
        }
        Ok(Some(count))
    }

    /// Skips records that were read before. If the last of them is inside a block, `block` has the
    /// rest of that block.
    ///
    /// # Errors
    /// See [`Head::pass_over`]; also fails if the file has fewer records.
    pub fn skip(
        &self,
        bytes: &mut Bytes<'_>,
        block: &mut Block,
        records: u64,
    ) -> Result<(), FileError> {
        let mut left = records;
        while left > 0 {
            let count = self.pass_over(bytes, block, left)?.ok_or_else(Self::shorter)?;
            let Some(rest) = left.checked_sub(count) else {
                // It was read in part.
                while left > 0
                    && let Some(length) = block.peek(self).map(<[u8]>::len)
                {
                    block.give(length);
                    left -= 1;
                }
                break;
            };
            left = rest;
        }
        Ok(())
    }

    /// Returns the error for a file with fewer records than were read before.
    pub fn shorter() -> FileError {
        let problem =
            "the file has fewer records than were already read: it was truncated or replaced; \
             write new content into a new file"
                .to_owned();
        MalformedMessage { problem }.into()
    }

    /// Reads the next block into `block`; returns false at the end of the file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or the block is damaged; `block` is empty then.
    pub fn read_block(&self, bytes: &mut Bytes<'_>, block: &mut Block) -> Result<bool, FileError> {
        let Some((count, length)) = block.begin(bytes)? else { return Ok(false) };
        self.fill(bytes, block, count, length)?;
        Ok(true)
    }

    fn fill(
        &self,
        bytes: &mut Bytes<'_>,
        block: &mut Block,
        count: u64,
        length: u64,
    ) -> Result<(), FileError> {
        let begin = *bytes.at;
        bytes.take(length, &mut block.coded)?;
        self.end(bytes)?;
        let malformed = |problem: String| {
            let problem =
                format!("the block at byte {begin} is damaged: {problem}; replace the file");
            FileError::Malformed(MalformedMessage { problem })
        };
        self.codec.decode(&mut block.coded, &mut block.records, block.max).map_err(malformed)?;
        let mut rest = &block.records[..];
        for record in 0..count {
            let first = self.schema.first(rest);
            let length =
                first.map_err(|problem| malformed(format!("record {record}: {problem}")))?;
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            let problem = format!("{count} records, and {}", Malformed::Rest);
            return Err(malformed(problem));
        }
        block.left = count;
        Ok(())
    }

    fn end(&self, bytes: &mut Bytes<'_>) -> Result<(), FileError> {
        let sync: [u8; 16] = bytes.array()?;
        if sync == self.sync {
            return Ok(());
        }
        Err(bytes.malformed("a block does not end with the sync marker of its file"))
    }
}

/// Records of a block, some of which have been consumed.
pub struct Block {
    /// Maximum size in bytes, before and after decompression.
    max: usize,
    coded: Vec<u8>,
    records: Vec<u8>,
    at: usize,
    left: u64,
}

impl Block {
    /// Creates an empty block with this size limit.
    pub fn new(max: usize) -> Self {
        Self { max, coded: Vec::new(), records: Vec::new(), at: 0, left: 0 }
    }

    /// Reads the number of records and bytes of the next block.
    fn begin(&mut self, bytes: &mut Bytes<'_>) -> Result<Option<(u64, u64)>, FileError> {
        (self.at, self.left) = (0, 0);
        if bytes.is_over()? {
            return Ok(None);
        }
        let count = bytes.long()?;
        let count = u64::try_from(count)
            .map_err(|_| bytes.malformed(format!("a block of {count} records")))?;
        let length = bytes.length(self.max as u64, "a block (`block_max`)")?;
        Ok(Some((count, length)))
    }

    /// Returns the number of remaining records.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Returns the next record, if one is left. [`Block::give`] consumes it.
    pub fn peek(&self, head: &Head) -> Option<&[u8]> {
        let rest = self.records.get(self.at..).filter(|_| self.left > 0)?;
        let length = head.schema.first(rest).expect("the records of a block were looked at");
        Some(&rest[..length])
    }

    /// Consumes the next record, which has `bytes` bytes.
    pub fn give(&mut self, bytes: usize) {
        self.at += bytes;
        self.left -= 1;
    }
}

#[cfg(test)]
mod tests;
