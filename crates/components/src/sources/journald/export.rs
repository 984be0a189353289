//! Parser of the journal's export format, which `journalctl --output=export` prints. Pure.
//!
//! ```text
//!   NAME=text LF                                   a field whose value has no line end
//!   NAME LF  length (8 bytes, LE)  bytes LF        any other field
//!   LF                                             the end of the entry
//! ```
//!
//! # Invariants
//!
//! 1. The result does not depend on how the input is split into pieces.
//! 2. An entry uses at most twice `value_max` bytes, and [`FIELDS_MAX`] fields: the parser drops
//!    the excess and marks the entry. Later entries are complete.
//! 3. Invalid input is rejected and ends the parsing: a place inside an entry must not be mistaken
//!    for the beginning of one.

use std::ops::Range;

use thiserror::Error;

/// Maximum length of a field's name. The journal allows 64.
const NAME_MAX: usize = 256;

/// Maximum number of fields in an entry. The journal allows 1,024.
const FIELDS_MAX: usize = 2048;

/// This field has its own limit, independent of the other fields.
pub const MESSAGE: &str = "MESSAGE";

/// The input is not in the export format.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// The name of a field is empty.
    #[error(
        "a journal entry is damaged: a field has no name; check the journal with `journalctl \
         --verify`"
    )]
    NoName,
    /// The name of a field is too long.
    #[error(
        "a journal entry is damaged: the name of a field has more than {NAME_MAX} bytes; check the \
         journal with `journalctl --verify`"
    )]
    LongName,
    /// The name of a field contains an invalid byte.
    #[error(
        "a journal entry is damaged: the name of a field has characters other than letters, digits \
         and underscores; check the journal with `journalctl --verify`"
    )]
    OddName,
    /// A value is longer than its length field.
    #[error(
        "a journal entry is damaged: a value does not match its length; check the journal with \
         `journalctl --verify`"
    )]
    NoEnd,
}

/// One entry.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Entry {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// True if a value or a field exceeded a limit.
    pub is_cut: bool,
}

impl Entry {
    /// Iterates over names and values, in order. A name can occur several times.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let text = |name: &Range<usize>| str::from_utf8(&self.bytes[name.clone()]);
        self.fields.iter().map(move |(name, value)| {
            (text(name).expect("names are ASCII"), &self.bytes[value.clone()])
        })
    }

    /// Returns the first value of this field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns the first value of this field, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.get(name)?).ok()
    }
}

/// Fields to keep.
#[derive(Debug, Clone)]
pub enum Kept {
    /// All of them.
    All,
    /// Fields with these names.
    Named(Vec<String>),
}

impl Kept {
    fn holds(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|known| known.as_bytes() == name),
        }
    }
}

/// State of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a name, or before one.
    Name,
    /// In a value without line ends.
    Text,
    /// In the length of a value, of which `known` bytes are read.
    Length { value: u64, known: u32 },
    /// In a value, of which `left` bytes are missing.
    Bytes { left: u64 },
    /// Before the line end of a value.
    End,
}

/// Incremental parser.
#[derive(Debug)]
pub struct Export {
    kept: Kept,
    value_max: usize,
    at: At,
    name: Vec<u8>,
    entry: Entry,
    /// Bytes of values, without the message.
    others: usize,
    /// True if the current value is the message: the first field of that name.
    is_message: bool,
    /// Bytes of the current value that may be kept; `None`: the field is dropped.
    room: Option<usize>,
}

impl Export {
    /// Creates a parser that keeps these fields, with at most `value_max` bytes of the message, and
    /// as many of all other fields together.
    pub fn new(kept: Kept, value_max: usize) -> Self {
        let (name, entry) = (Vec::new(), Entry::default());
        let (is_message, room) = (false, None);
        Self { kept, value_max, at: At::Name, name, entry, others: 0, is_message, room }
    }

    /// Returns the next entry and removes it from `input`; `None`: the entry is incomplete, and
    /// `input` is empty now.
    ///
    /// # Errors
    /// Fails if the input is not in the export format. Do not call it again after that.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Entry>, Malformed> {
        while let Some(&byte) = input.first() {
            match self.at {
                At::Name => {
                    if self.name_from(input)? {
                        self.others = 0;
                        return Ok(Some(std::mem::take(&mut self.entry)));
                    }
                }
                At::Text => {
                    let end = memchr::memchr(b'\n', input);
                    self.take(input, end.unwrap_or(input.len()));
                    if end.is_some() {
                        *input = &input[1..];
                        self.end_value();
                    }
                }
                At::Length { mut value, mut known } => {
                    value |= u64::from(byte) << (8 * known);
                    known += 1;
                    *input = &input[1..];
                    self.at = if known == 8 {
                        self.after_bytes(value)
                    } else {
                        At::Length { value, known }
                    };
                }
                At::Bytes { left } => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.take(input, here);
                    self.at = self.after_bytes(left - here as u64);
                }
                At::End => {
                    if byte != b'\n' {
                        return Err(Malformed::NoEnd);
                    }
                    *input = &input[1..];
                    self.end_value();
                }
            }
        }
        Ok(None)
    }

    /// Returns true if no byte of the next entry has been read.
    pub fn is_between_entries(&self) -> bool {
        self.at == At::Name && self.name.is_empty() && self.entry.fields.is_empty()
    }

    fn after_bytes(&self, left: u64) -> At {
        if left == 0 { At::End } else { At::Bytes { left } }
    }

    /// Reads a part of a name; returns true if an entry has ended instead.
    fn name_from(&mut self, input: &mut &[u8]) -> Result<bool, Malformed> {
        let end = memchr::memchr2(b'=', b'\n', input);
        let (part, rest) = input.split_at(end.unwrap_or(input.len()));
        // Report the first error, independent of how the input is split.
        let fitting = part.len().min(NAME_MAX - self.name.len());
        if !part[..fitting].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            return Err(Malformed::OddName);
        }
        if fitting < part.len() {
            return Err(Malformed::LongName);
        }
        self.name.extend_from_slice(part);
        let Some((delimiter, rest)) = rest.split_first() else {
            *input = rest;
            return Ok(false);
        };
        *input = rest;
        match (self.name.is_empty(), *delimiter) {
            // Ignore empty lines between two entries.
            (true, b'\n') => return Ok(!self.entry.fields.is_empty()),
            (true, _) => return Err(Malformed::NoName),
            (false, b'\n') => self.at = At::Length { value: 0, known: 0 },
            (false, _) => self.at = At::Text,
        }
        self.begin_value();
        Ok(false)
    }

    fn begin_value(&mut self) {
        self.room = None;
        if !self.kept.holds(&self.name) {
            return;
        }
        if self.entry.fields.len() == FIELDS_MAX {
            self.entry.is_cut = true;
            return;
        }
        self.is_message = self.name == MESSAGE.as_bytes() && self.entry.get(MESSAGE).is_none();
        let of_others = if self.is_message { 0 } else { self.others };
        self.room = Some(self.value_max - of_others);
        let begin = self.entry.bytes.len();
        self.entry.bytes.extend_from_slice(&self.name);
        let value = self.entry.bytes.len();
        self.entry.fields.push((begin..value, value..value));
    }

    /// Reads `bytes` bytes of a value, and keeps as many as there is room for.
    fn take(&mut self, input: &mut &[u8], bytes: usize) {
        let (value, rest) = input.split_at(bytes);
        *input = rest;
        let Some(room) = &mut self.room else { return };
        let keep = value.len().min(*room);
        self.entry.bytes.extend_from_slice(&value[..keep]);
        self.entry.is_cut |= keep < value.len();
        *room -= keep;
    }

    fn end_value(&mut self) {
        self.at = At::Name;
        if self.room.take().is_some() {
            let end = self.entry.bytes.len();
            let (_, value) = self.entry.fields.last_mut().expect("the field was begun");
            value.end = end;
            if !self.is_message {
                self.others += value.len();
            }
        }
        self.name.clear();
    }
}

#[cfg(test)]
mod tests;
