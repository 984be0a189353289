//! MessagePack: a reader of values, and a search for the end of a message. Pure.
//!
//! A value has no length prefix, so [`Scan`] searches for the end of a message incrementally.
//!
//! Source: the MessagePack specification; the crate `rmp` knows its markers.

use rmp::Marker;

/// Beginning of a value.
struct Head {
    marker: Marker,
    /// Bytes before its content.
    header: usize,
    /// Bytes of its content.
    payload: usize,
    /// Number of nested values that follow.
    children: u64,
}

/// Parses the beginning of a value; `None` if it is incomplete.
fn head(bytes: &[u8]) -> Option<Head> {
    let marker = Marker::from_u8(*bytes.first()?);
    let number = |size: usize| {
        let digits = bytes.get(1..=size)?;
        Some(digits.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let of_size = |size: usize, more: usize| Some((1 + size + more, number(size)? as usize, 0));
    let (header, payload, children) = match marker {
        Marker::FixMap(pairs) => (1, 0, 2 * u64::from(pairs)),
        Marker::FixArray(values) => (1, 0, u64::from(values)),
        Marker::FixStr(length) => (1, usize::from(length), 0),
        Marker::U8 | Marker::I8 => (1, 1, 0),
        Marker::U16 | Marker::I16 => (1, 2, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (1, 4, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (1, 8, 0),
        Marker::Str8 | Marker::Bin8 => of_size(1, 0)?,
        Marker::Str16 | Marker::Bin16 => of_size(2, 0)?,
        Marker::Str32 | Marker::Bin32 => of_size(4, 0)?,
        Marker::FixExt1 => (2, 1, 0),
        Marker::FixExt2 => (2, 2, 0),
        Marker::FixExt4 => (2, 4, 0),
        Marker::FixExt8 => (2, 8, 0),
        Marker::FixExt16 => (2, 16, 0),
        Marker::Ext8 => of_size(1, 1)?,
        Marker::Ext16 => of_size(2, 1)?,
        Marker::Ext32 => of_size(4, 1)?,
        Marker::Array16 => (3, 0, number(2)?),
        Marker::Array32 => (5, 0, number(4)?),
        Marker::Map16 => (3, 0, 2 * number(2)?),
        Marker::Map32 => (5, 0, 2 * number(4)?),
        Marker::FixPos(_)
        | Marker::FixNeg(_)
        | Marker::Null
        | Marker::True
        | Marker::False
        | Marker::Reserved => (1, 0, 0),
    };
    Some(Head { marker, header, payload, children })
}

/// Incremental search for the end of a message.
#[derive(Debug)]
pub(super) struct Scan {
    /// Number of bytes known to belong to the message; may exceed the available bytes.
    at: usize,
    /// Number of missing values.
    open: u64,
}

impl Scan {
    /// Starts at the beginning of a message.
    pub(super) fn new() -> Self {
        Self { at: 0, open: 1 }
    }

    /// Continues with all bytes of the message so far; returns its length once it is complete.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.open > 0 {
            let head = head(bytes.get(self.at..)?)?;
            self.at = self.at.saturating_add(head.header).saturating_add(head.payload);
            self.open = (self.open - 1).saturating_add(head.children);
        }
        (self.at <= bytes.len()).then_some(self.at)
    }

    /// Returns the minimum length of the message.
    pub(super) fn least(&self) -> u64 {
        (self.at as u64).saturating_add(self.open)
    }
}

/// Reason why bytes are not a message.
pub(super) type Problem = String;

/// Reads values one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// A value, or the beginning of one with nested values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// A 32-bit float: its shortest text differs from that of the same number in 64 bits.
    Single(f32),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Extension(i8, &'a [u8]),
    Array(u64),
    /// Number of pairs.
    Map(u64),
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns true if all values are read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the next value, or the beginning of one with nested values.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Problem> {
        let cut = || "a value is truncated".to_owned();
        let head = head(self.rest).ok_or_else(cut)?;
        let (value, rest) =
            self.rest.split_at_checked(head.header.saturating_add(head.payload)).ok_or_else(cut)?;
        self.rest = rest;
        let held = &value[head.header..];
        Ok(match head.marker {
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(number) => Token::Uint(number.into()),
            Marker::FixNeg(number) => Token::Int(number.into()),
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => Token::Uint(unsigned(held)),
            Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {
                let unused = 64 - 8 * held.len() as u32;
                Token::Int(((unsigned(held) << unused) as i64) >> unused)
            }
            Marker::F32 => Token::Single(f32::from_bits(unsigned(held) as u32)),
            Marker::F64 => Token::Float(f64::from_bits(unsigned(held))),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Token::Text(held),
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Token::Bytes(held),
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32 => Token::Extension(value[head.header - 1] as i8, held),
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => Token::Array(head.children),
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Token::Map(head.children / 2),
            Marker::Reserved => return Err("the byte 0xc1 is not valid in MessagePack".into()),
        })
    }

    /// Skips a value with all nested values.
    pub(super) fn skip(&mut self) -> Result<(), Problem> {
        let length = Scan::new().end(self.rest).ok_or("a value is truncated")?;
        self.rest = &self.rest[length..];
        Ok(())
    }
}

/// Reads a big-endian number of up to eight bytes.
pub(super) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns messages with values of each type.
    fn messages() -> Vec<Vec<u8>> {
        let mut messages = vec![
            vec![0xc0],
            vec![0x93, 0x01, 0x81, 0xa1, b'k', 0xc3, 0xd9, 3, b'a', b'b', b'c'],
            vec![0xc7, 3, 5, 1, 2, 3],
            vec![0xd7, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            vec![0xdc, 0, 2, 0xde, 0, 1, 0xff, 0xd1, 0xff, 0xfe, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
            vec![0xdd, 0, 0, 0, 1, 0xdf, 0, 0, 0, 0],
        ];
        for length in [0xda, 0xc5] {
            messages.push([&[length, 1, 0][..], &[b'x'; 256]].concat());
        }
        messages
    }

    #[test]
    fn the_end_of_a_message_is_found_however_its_bytes_come() {
        for message in messages() {
            let more = [&message[..], &[0xc0; 3]].concat();
            for step in 1..=message.len() {
                let (mut scan, mut come) = (Scan::new(), 0);
                let end = loop {
                    come = more.len().min(come + step);
                    if let Some(end) = scan.end(&more[..come]) {
                        break end;
                    }
                    assert!(come < message.len(), "{message:?}");
                };
                assert_eq!(end, message.len(), "{message:?}");
            }
        }
    }

    #[test]
    fn counts_announced_values_before_they_arrive() {
        for (bytes, least) in [
            (&[0xc6, 0xff, 0xff, 0xff, 0xff][..], u64::from(u32::MAX) + 5),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff], u64::from(u32::MAX) + 5),
            (&[0xdf, 0xff, 0xff, 0xff, 0xff], 2 * u64::from(u32::MAX) + 5),
        ] {
            let mut scan = Scan::new();
            assert_eq!(scan.end(bytes), None);
            assert_eq!(scan.least(), least);
        }
    }

    #[test]
    fn each_number_is_read_with_its_sign_and_size() {
        for (bytes, token) in [
            (&[0x7f][..], Token::Uint(127)),
            (&[0xff], Token::Int(-1)),
            (&[0xd0, 0x80], Token::Int(-128)),
            (&[0xd2, 0xff, 0xff, 0xff, 0xfe], Token::Int(-2)),
            (&[0xcd, 1, 0], Token::Uint(256)),
            (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Token::Uint(u64::MAX)),
            (&[0xca, 0x3f, 0x80, 0, 0], Token::Single(1.0)),
            (&[0xd4, 0xfe, 7], Token::Extension(-2, &[7])),
        ] {
            assert_eq!(Reader::new(bytes).next(), Ok(token), "{bytes:?}");
            assert!(Reader::new(&bytes[..bytes.len() - 1]).next().is_err());
        }
        assert!(Reader::new(&[0xc1]).next().is_err());
    }
}
