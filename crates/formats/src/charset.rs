//! Charsets: text as UTF-8, and where its lines end.
//!
//! The tables are those of the WHATWG Encoding Standard. They differ from Java's, which Flume goes
//! by, where the web is older than its standards, and two differences are taken back here:
//! `ISO-8859-1` has the controls U+0080 to U+009F, and is not `windows-1252`; `UTF-16` without a
//! mark has the high byte first. Some charsets are read as one that has all their characters and
//! more: `US-ASCII` as UTF-8, `GB2312` as `GBK`, `Shift_JIS` as `windows-31j`.
//!
//! A line ends at LF. In each charset taken here a line can be decoded without the lines before it:
//! either the byte 0x0A is always LF and never a part of another character, or characters have two
//! bytes or four, and LF is one of them. So positions in a text are those of its bytes.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, mem};
use memchr::{memchr, memchr_iter};
use pipeline::settings::unknown;

/// How the characters of a text are written as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// As the bytes are.
    Utf8,
    /// Each byte is the character of its number.
    Latin1,
    /// By the mark at the beginning, or the high byte first.
    Utf16,
    /// One of the tables.
    Table(&'static Encoding),
}

/// What becomes of bytes that are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    /// They are an error.
    Fail,
    /// They are replaced by U+FFFD.
    Replace,
    /// They are left out.
    Ignore,
}

/// Names for what is not known to be meant.
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
    /// By its name, in any case, as Java or the web writes it.
    ///
    /// # Errors
    /// There is none of this name: which may be meant. Or its lines cannot be read one by one.
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
                "`{wanted}` is not read: what its bytes mean depends on what stands before the line"
            )),
            None => Err(unknown("charset", &wanted, NAMES)),
        }
    }

    /// Whether text has the same bytes in UTF-8.
    pub fn is_utf8(self) -> bool {
        self == Self::Utf8
    }

    /// Most bytes of UTF-8 that a byte becomes.
    pub fn growth(self) -> usize {
        match self {
            Self::Utf8 => 1,
            // Half of a character of the euro's kind.
            Self::Latin1 | Self::Utf16 => 2,
            Self::Table(_) => 3,
        }
    }

    /// Bytes of a character at least: places in a text are multiples of it.
    pub fn unit(self) -> usize {
        match self {
            Self::Utf16 => 2,
            Self::Table(table) if !table.is_ascii_compatible() => 2,
            Self::Utf8 | Self::Latin1 | Self::Table(_) => 1,
        }
    }

    /// The charset of a text that begins with these bytes, two at least if it has as many; and how
    /// many of them are a mark and no text.
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

    /// Where the first line of these bytes ends: behind its LF.
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

    /// Bytes of the carriage return that these bytes end with, where they end with one.
    pub fn return_before(self, bytes: &[u8]) -> usize {
        let cr: &[u8] = match self {
            Self::Table(table) if table == UTF_16LE => b"\r\0",
            Self::Table(table) if table == UTF_16BE => b"\0\r",
            Self::Utf16 => b"\0\r",
            Self::Utf8 | Self::Latin1 | Self::Table(_) => b"\r",
        };
        if bytes.ends_with(cr) { cr.len() } else { 0 }
    }

    /// The text of these bytes as UTF-8. With `is_cut` they may end within a character, which is
    /// left out.
    ///
    /// # Errors
    /// They are no text from this place on, and `odd` is [`Odd::Fail`].
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
