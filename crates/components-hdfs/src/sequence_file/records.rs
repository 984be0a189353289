//! The layout of a SequenceFile: its head, and a sequence of records.
//!
//! ```text
//!   "SEQ" 6 │ class of keys │ class of values │ compressed? blocks? │ codec │ metadata │ sync
//!   record:  length │ length of key │ key │ value (compressed)    with sync marks in between
//!   block:   sync mark │ records │ key lengths, keys, value lengths, values, each compressed
//! ```
//!
//! Layout: `SequenceFile.java` of Hadoop 3.4. Files are untrusted: memory grows only with bytes
//! read, up to a limit, not with stated lengths. A file that ends within a record or a block is
//! damaged; one that ends after a sync mark is not.

use std::io::BufRead;
use std::mem;

use bytes::Buf;
use formats::avro::container::Bytes;
use formats::codecs::hadoop::Hadoop;
use formats::sequence::{BYTES_CLASS, KEY_CLASS, MAGIC, SYNC_ESCAPE, TEXT_CLASS};
use pipeline::FileError;

const UNCOMPRESSED: &str = "uncompressed blocks are not supported: write the file with a codec";
/// Maximum bytes of a name in the head, and of a metadata text.
const NAME_MAX: usize = 64 << 10;
/// Maximum number of metadata pairs.
const PAIRS_MAX: i32 = 1024;
const LENGTH_BYTES: usize = 4;

/// The part before the records.
pub(super) struct Head {
    key_class: String,
    pub(super) value_class: String,
    /// `None` if values are not compressed.
    codec: Option<Hadoop>,
    is_block: bool,
    sync: [u8; 16],
}

/// A decompressed record.
pub(super) struct Record<'a> {
    /// Starts at 1.
    pub(super) number: u64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Returns the value class of a file with this head, if it contains the whole name.
pub fn value_class(mut head: &[u8]) -> Option<String> {
    let (mut at, file) = (0, &mut head as &mut dyn BufRead);
    let mut bytes = Bytes::new(file, &mut at);
    (bytes.array().ok()? == *MAGIC).then_some(())?;
    name(&mut bytes).ok()?;
    name(&mut bytes).ok()
}

/// Returns the bytes of a `Text`.
///
/// # Errors
/// The value is not a `Text`.
pub(super) fn text(mut value: &[u8]) -> Result<&[u8], String> {
    match vint_of(&mut value) {
        Some(length) if length == value.len() => Ok(value),
        _ => Err("the value is not a `Text`: the length does not match".to_owned()),
    }
}

/// Returns the bytes of a `BytesWritable`.
///
/// # Errors
/// The value is not a `BytesWritable`.
pub(super) fn bytes(mut value: &[u8]) -> Result<&[u8], String> {
    match value.try_get_i32() {
        Ok(length) if usize::try_from(length) == Ok(value.len()) => Ok(value),
        _ => Err("the value is not a `BytesWritable`: the length does not match".to_owned()),
    }
}

/// Reads a length in the format of Hadoop's `WritableUtils.writeVInt`.
pub(super) fn vint_of(bytes: &mut &[u8]) -> Option<usize> {
    let first = bytes.try_get_i8().ok()?;
    if first >= 0 {
        return Some(first as usize);
    }
    let count = vint_bytes(first)?;
    let (number, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    whole(number)
}

/// Returns how many bytes follow the first byte of a number; `None` if it is not a length.
fn vint_bytes(first: i8) -> Option<usize> {
    let count = usize::try_from(-112 - i32::from(first)).ok()?;
    (1..=4).contains(&count).then_some(count)
}

fn whole(bytes: &[u8]) -> Option<usize> {
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(i32::try_from(number).ok()?).ok()
}

fn vint(bytes: &mut Bytes<'_>) -> Result<usize, FileError> {
    let [first] = bytes.array()?;
    let first = i8::from_be_bytes([first]);
    if first >= 0 {
        return Ok(first as usize);
    }
    let count = vint_bytes(first).ok_or_else(|| bytes.malformed("an invalid length"))?;
    let mut number = Vec::new();
    bytes.take(count as u64, &mut number)?;
    whole(&number).ok_or_else(|| bytes.malformed("an invalid length"))
}

/// Reads a text of the head.
fn name(bytes: &mut Bytes<'_>) -> Result<String, FileError> {
    let length = vint(bytes)?;
    if length > NAME_MAX {
        return Err(bytes.malformed(format!(
            "a text in the header of the file has {length} bytes, over the limit of {NAME_MAX}"
        )));
    }
    let mut name = Vec::new();
    bytes.take(length as u64, &mut name)?;
    let text = String::from_utf8(name);
    text.map_err(|_| bytes.malformed("a text in the header of the file is not UTF-8"))
}

fn is_set(bytes: &mut Bytes<'_>) -> Result<bool, FileError> {
    match bytes.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(bytes.malformed("a flag in the header of the file is neither 0 nor 1")),
    }
}

impl Head {
    /// Reads the head of a file; `None` if the file is empty.
    ///
    /// # Errors
    /// The file cannot be read, or is not a SequenceFile.
    fn read(bytes: &mut Bytes<'_>) -> Result<Option<Self>, FileError> {
        if bytes.is_over()? {
            return Ok(None);
        }
        let begin: [u8; 4] = bytes.array()?;
        if begin[..3] != MAGIC[..3] {
            return Err(bytes.malformed("the file is not a SequenceFile"));
        }
        if begin != *MAGIC {
            let version = begin[3];
            let problem = format!(
                "the file is a SequenceFile of version {version}, but only version 6 is supported"
            );
            return Err(bytes.malformed(problem));
        }
        let (key_class, value_class) = (name(bytes)?, name(bytes)?);
        let (is_compressed, is_block) = (is_set(bytes)?, is_set(bytes)?);
        let codec = match is_compressed {
            false if is_block => {
                return Err(bytes.malformed(UNCOMPRESSED));
            }
            false => None,
            true => {
                let class = name(bytes)?;
                let codec = Hadoop::of_class(&class);
                Some(codec.ok_or_else(|| {
                    bytes.malformed(format!(
                        "the codec `{class}` is not supported; write the file with `DefaultCodec`, \
                         `GzipCodec`, `BZip2Codec`, `SnappyCodec`, `Lz4Codec` or `ZStandardCodec`"
                    ))
                })?)
            }
        };
        let pairs = i32::from_be_bytes(bytes.array()?);
        if !(0..=PAIRS_MAX).contains(&pairs) {
            return Err(bytes.malformed(format!("invalid number of metadata entries: {pairs}")));
        }
        for _ in 0..pairs {
            name(bytes)?;
            name(bytes)?;
        }
        let sync = bytes.array()?;
        Ok(Some(Self { key_class, value_class, codec, is_block, sync }))
    }

    /// Converts a number or text key to a header value.
    pub(super) fn key(&self, mut key: &[u8]) -> Option<String> {
        match &*self.key_class {
            KEY_CLASS => key.try_get_i64().ok().map(|key| key.to_string()),
            "org.apache.hadoop.io.IntWritable" => key.try_get_i32().ok().map(|key| key.to_string()),
            TEXT_CLASS => String::from_utf8(text(key).ok()?.to_vec()).ok(),
            BYTES_CLASS => String::from_utf8(bytes(key).ok()?.to_vec()).ok(),
            _ => None,
        }
    }

    /// Checks the sync marker after its escape.
    fn check_sync(&self, bytes: &mut Bytes<'_>) -> Result<(), FileError> {
        let sync: [u8; 16] = bytes.array()?;
        match sync == self.sync {
            true => Ok(()),
            false => Err(bytes.malformed("the file is damaged: a sync marker is wrong")),
        }
    }
}

/// Keys or values of a block, with their end offsets.
#[derive(Default)]
struct Part {
    plain: Vec<u8>,
    ends: Vec<usize>,
}

impl Part {
    /// Parses a sequence of lengths.
    ///
    /// # Errors
    /// The lengths do not match the number of records or the bytes.
    fn new(mut lengths: &[u8], plain: Vec<u8>, records: usize) -> Result<Self, String> {
        let (mut ends, mut end) = (Vec::new(), 0_usize);
        while !lengths.is_empty() {
            let length = vint_of(&mut lengths).ok_or("an invalid length")?;
            end = end.saturating_add(length);
            ends.push(end);
        }
        if ends.len() != records || end != plain.len() {
            return Err("the lengths of its records do not match its bytes".to_owned());
        }
        Ok(Self { plain, ends })
    }

    fn get(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.plain[begin..self.ends[at]]
    }
}

/// A file, and the position in its records.
pub(super) struct Records {
    /// Number of read bytes.
    at: u64,
    /// `None` until it is read.
    head: Option<Head>,
    max: usize,
    /// Number of read records.
    number: u64,
    coded: Vec<u8>,
    /// The last record of a file without blocks.
    key: Vec<u8>,
    value: Vec<u8>,
    /// The current block, and its next record.
    keys: Part,
    values: Part,
    next: usize,
}

impl Records {
    /// Reads records and parts of blocks of up to this many bytes.
    pub(super) fn new(max: usize) -> Self {
        Self {
            at: 0,
            head: None,
            max,
            number: 0,
            coded: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            keys: Part::default(),
            values: Part::default(),
            next: 0,
        }
    }

    /// Returns the head of the file; `None` if the file is empty.
    ///
    /// # Errors
    /// The file cannot be read, or is not a SequenceFile.
    pub(super) fn head(&mut self, file: &mut dyn BufRead) -> Result<Option<&Head>, FileError> {
        if self.head.is_none() {
            self.head = Head::read(&mut Bytes::new(file, &mut self.at))?;
        }
        Ok(self.head.as_ref())
    }

    /// Returns the next record; `None` at the end of the file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub(super) fn next(
        &mut self,
        file: &mut dyn BufRead,
    ) -> Result<Option<(&Head, Record<'_>)>, FileError> {
        self.head(file)?;
        let Some(head) = self.head.take() else { return Ok(None) };
        let read = match head.is_block {
            true => self.of_block(&head, file),
            false => self.alone(&head, file),
        };
        let head = &*self.head.insert(head);
        if !read? {
            return Ok(None);
        }
        self.number += 1;
        let (key, value) = match head.is_block {
            true => (self.keys.get(self.next - 1), self.values.get(self.next - 1)),
            false => (&*self.key, &*self.value),
        };
        Ok(Some((head, Record { number: self.number, key, value })))
    }

    /// Reads a record outside of blocks. Returns `false` at the end.
    fn alone(&mut self, head: &Head, file: &mut dyn BufRead) -> Result<bool, FileError> {
        let mut bytes = Bytes::new(file, &mut self.at);
        let length: [u8; LENGTH_BYTES] = loop {
            if bytes.is_over()? {
                return Ok(false);
            }
            match bytes.array()? {
                SYNC_ESCAPE => head.check_sync(&mut bytes)?,
                length => break length,
            }
        };
        let of_key: [u8; LENGTH_BYTES] = bytes.array()?;
        let [length, of_key] = [length, of_key].map(i32::from_be_bytes);
        let parts = usize::try_from(length).ok().zip(usize::try_from(of_key).ok());
        let parts = parts.and_then(|(length, key)| Some((key, length.checked_sub(key)?)));
        let Some((of_key, of_value)) = parts else {
            let problem =
                format!("a record of {length} bytes has a key of {of_key} bytes, which is invalid");
            return Err(bytes.malformed(problem));
        };
        if of_key.saturating_add(of_value) > self.max {
            let problem = format!("a record of {length} bytes exceeds `record_max`");
            return Err(bytes.malformed(problem));
        }
        bytes.take(of_key as u64, &mut self.key)?;
        bytes.take(of_value as u64, &mut self.coded)?;
        match head.codec {
            None => mem::swap(&mut self.coded, &mut self.value),
            Some(codec) => {
                let decompressed = codec.decompress(&self.coded, &mut self.value, self.max);
                decompressed.map_err(|problem| {
                    bytes.malformed(format!("cannot decompress a value: {problem}"))
                })?;
            }
        }
        Ok(true)
    }

    /// Reads the next record of the block or of the next block. Returns `false` at the end.
    fn of_block(&mut self, head: &Head, file: &mut dyn BufRead) -> Result<bool, FileError> {
        while self.next == self.keys.ends.len() {
            if !self.block(head, file)? {
                return Ok(false);
            }
        }
        self.next += 1;
        Ok(true)
    }

    fn block(&mut self, head: &Head, file: &mut dyn BufRead) -> Result<bool, FileError> {
        let mut bytes = Bytes::new(file, &mut self.at);
        if bytes.is_over()? {
            return Ok(false);
        }
        if bytes.array()? != SYNC_ESCAPE {
            return Err(bytes.malformed("the file is damaged: a block has no sync marker"));
        }
        head.check_sync(&mut bytes)?;
        let Some(codec) = head.codec else {
            return Err(bytes.malformed(UNCOMPRESSED));
        };
        // A Hadoop writer may write a sync mark on request, without a block after it.
        if bytes.is_over()? {
            return Ok(false);
        }
        let records = vint(&mut bytes)?;
        let mut parts: [Vec<u8>; 4] = Default::default();
        for part in &mut parts {
            let length = vint(&mut bytes)?;
            if length > self.max {
                let problem =
                    format!("a part of a block has {length} bytes and exceeds `record_max`");
                return Err(bytes.malformed(problem));
            }
            bytes.take(length as u64, &mut self.coded)?;
            let decompressed = codec.decompress(&self.coded, part, self.max);
            decompressed.map_err(|problem| {
                bytes.malformed(format!("cannot decompress a block: {problem}"))
            })?;
        }
        let [key_lengths, keys, value_lengths, values] = parts;
        let of_block = |problem: String| bytes.malformed(format!("a block is damaged: {problem}"));
        let keys = Part::new(&key_lengths, keys, records).map_err(of_block)?;
        let values = Part::new(&value_lengths, values, records).map_err(of_block)?;
        (self.keys, self.values, self.next) = (keys, values, 0);
        Ok(true)
    }
}
