//! Charsets: conversion to UTF-8, and line ends.
//!
//! The tables come from the WHATWG Encoding Standard. It differs from Java's charsets, which Flume
//! uses, where browsers have traditional exceptions. Two of these exceptions are undone here:
//! `ISO-8859-1` has the controls U+0080 to U+009F, and is not `windows-1252`; `UTF-16` without a
//! byte order mark is big endian. Some charsets are read as a superset: `US-ASCII` as UTF-8,
//! `GB2312` as `GBK`, `Shift_JIS` as `windows-31j`.
//!
//! A line ends at LF. In each supported charset a line can be decoded without earlier lines: either
//! the byte 0x0A always means LF and is never a part of another character, or characters have two
//! or four bytes, and LF is one of them. So byte offsets can be positions in a text.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, mem};
use memchr::{memchr, memchr_iter};
use pipeline::settings::unknown;

mod stream;

pub use stream::{InvalidText, StreamText};

/// Character encoding of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// As the bytes are.
    Utf8,
    /// Each byte is the character with its number.
    Latin1,
    /// By the byte order mark, or big endian.
    Utf16,
    /// One of the tables.
    Table(&'static Encoding),
}

/// Handling of invalid bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// Fail.
    Fail,
    /// They are replaced by U+FFFD.
    Replace,
    /// Omit them.
    Ignore,
}

/// Names to suggest for an unknown name.
const NAMES: &[&str] = &[
    "utf-8",
    "utf-16",
    "utf-16be",
    "utf-16le",
    "us-ascii",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "windows-874",
    "ibm866",
    "koi8-r",
    "koi8-u",
    "macintosh",
    "big5",
    "euc-jp",
    "euc-kr",
    "gb18030",
    "gbk",
    "shift_jis",
];

impl Charset {
    /// Returns the charset of a name in Java or the web, in any case.
    ///
    /// # Errors
    /// Fails if the name is unknown, with suggestions; or if the charset's lines cannot be decoded
    /// separately.
    pub fn named(name: &str) -> Result<Self, String> {
        let wanted = name.trim().to_lowercase();
        match &*wanted {
            "us-ascii" | "ascii" => return Ok(Self::Utf8),
            "utf-16" | "utf_16" | "utf16" => return Ok(Self::Utf16),
            _ => {}
        }
        let dashed = wanted.replace('_', "-");
        let found =
            [&wanted, &dashed].into_iter().find_map(|it| Encoding::for_label(it.as_bytes()));
        match found {
            Some(found) if found == UTF_8 => Ok(Self::Utf8),
            Some(found) if found == WINDOWS_1252 && !wanted.contains("1252") => Ok(Self::Latin1),
            Some(found) if found.is_ascii_compatible() => Ok(Self::Table(found)),
            Some(found) if found == UTF_16BE || found == UTF_16LE => Ok(Self::Table(found)),
            Some(_) => Err(format!(
                "`{wanted}` is not supported, because its bytes depend on the text before the line"
            )),
            None => Err(unknown("charset", &wanted, NAMES)),
        }
    }

    /// Returns true if text has the same bytes in UTF-8.
    pub fn is_utf8(self) -> bool {
        self == Self::Utf8
    }

    /// Returns the maximum number of UTF-8 bytes per byte.
    pub fn growth(self) -> usize {
        match self {
            Self::Utf8 => 1,
            // A two-byte character that needs three bytes in UTF-8 gives 1.5, rounded up.
            Self::Latin1 | Self::Utf16 => 2,
            Self::Table(_) => 3,
        }
    }

    /// Returns the minimum length of a character: offsets in a text are multiples of it.
    pub fn unit(self) -> usize {
        match self {
            Self::Utf16 => 2,
            Self::Table(table) if !table.is_ascii_compatible() => 2,
            Self::Utf8 | Self::Latin1 | Self::Table(_) => 1,
        }
    }

    /// Returns the charset of a text that begins with these bytes, at least two if it has as many,
    /// and the length of its byte order mark.
    pub fn of_text(self, first: &[u8]) -> (Self, usize) {
        let is = |mark: &[u8]| if first.starts_with(mark) { 2 } else { 0 };
        match self {
            Self::Utf16 if is(&[0xff, 0xfe]) > 0 => (Self::Table(UTF_16LE), 2),
            Self::Utf16 => (Self::Table(UTF_16BE), is(&[0xfe, 0xff])),
            Self::Table(table) if table == UTF_16LE => (self, is(&[0xff, 0xfe])),
            Self::Table(table) if table == UTF_16BE => (self, is(&[0xfe, 0xff])),
            Self::Utf8 | Self::Latin1 | Self::Table(_) => (self, 0),
        }
    }

    /// Returns the end of the first line, after its LF.
    pub fn line_end(self, bytes: &[u8]) -> Option<usize> {
        let (low, high) = match self {
            Self::Table(table) if table == UTF_16LE => (0, 1),
            Self::Table(table) if table == UTF_16BE => (1, 0),
            Self::Utf16 => (1, 0),
            Self::Utf8 | Self::Latin1 | Self::Table(_) => {
                return memchr(b'\n', bytes).map(|end| end + 1);
            }
        };
        let is_unit = |end: &usize| end % 2 == low && bytes.get(end - low + high) == Some(&0);
        memchr_iter(b'\n', bytes).find(is_unit).map(|end| end - low + 2)
    }

    /// Returns the length of the carriage return at the end of these bytes, 0 without one.
    pub fn return_before(self, bytes: &[u8]) -> usize {
        let cr: &[u8] = match self {
            Self::Table(table) if table == UTF_16LE => b"\r\0",
            Self::Table(table) if table == UTF_16BE => b"\0\r",
            Self::Utf16 => b"\0\r",
            Self::Utf8 | Self::Latin1 | Self::Table(_) => b"\r",
        };
        if bytes.ends_with(cr) { cr.len() } else { 0 }
    }

    /// Returns the length of the first `units` UTF-16 units of a text, in bytes; `None` if it has
    /// fewer. Does not divide a character of two units.
    ///
    /// # Errors
    /// Returns the offset of the first invalid byte if `odd` is [`Odd::Fail`].
    pub fn first_units(self, bytes: &[u8], units: usize, odd: Odd) -> Result<Option<usize>, usize> {
        let table = match self {
            Self::Latin1 => return Ok((bytes.len() >= units).then_some(units)),
            Self::Utf8 => UTF_8,
            Self::Utf16 => UTF_16BE,
            Self::Table(table) => table,
        };
        let mut decoder = table.new_decoder_without_bom_handling();
        let (mut at, mut found, mut whole) = (0, 0, 0);
        while at < bytes.len() {
            let mut text = [0; 4];
            let byte = &bytes[at..=at];
            let (result, read, written) =
                decoder.decode_to_utf16_without_replacement(byte, &mut text, false);
            at += read;
            found += written;
            if let DecoderResult::Malformed(length, behind) = result {
                match odd {
                    Odd::Fail => return Err(at - usize::from(behind) - usize::from(length)),
                    Odd::Replace => found += 1,
                    Odd::Ignore => {}
                }
            }
            match found {
                _ if found == units => return Ok(Some(at)),
                _ if found > units => return Ok(Some(whole)),
                // Within a character, the last whole one ends before it.
                _ if result == DecoderResult::InputEmpty && written == 0 => {}
                _ => whole = at,
            }
        }
        Ok(None)
    }

    /// Converts these bytes to UTF-8. With `is_cut` an incomplete character at the end is omitted.
    ///
    /// # Errors
    /// Returns the offset of the first invalid byte if `odd` is [`Odd::Fail`].
    pub fn decode(self, bytes: &[u8], odd: Odd, is_cut: bool) -> Result<String, usize> {
        let table = match self {
            Self::Latin1 => return Ok(mem::decode_latin1(bytes).into_owned()),
            Self::Utf8 => UTF_8,
            Self::Utf16 => UTF_16BE,
            Self::Table(table) => table,
        };
        let mut decoder = table.new_decoder_without_bom_handling();
        let mut text = String::with_capacity(bytes.len() + bytes.len() / 2 + 16);
        let mut at = 0;
        loop {
            let (result, read) =
                decoder.decode_to_string_without_replacement(&bytes[at..], &mut text, !is_cut);
            at += read;
            match result {
                DecoderResult::InputEmpty => return Ok(text),
                DecoderResult::OutputFull => text.reserve(bytes.len() - at + 16),
                DecoderResult::Malformed(length, behind) => match odd {
                    Odd::Fail => return Err(at - usize::from(behind) - usize::from(length)),
                    Odd::Replace => text.push('\u{fffd}'),
                    Odd::Ignore => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
