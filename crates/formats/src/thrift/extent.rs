//! Finds the end of a message without a frame, incrementally.
//!
//! This works only in the binary encoding, where every value is preceded by its size. Each byte is
//! read once, so that a peer that sends single bytes costs no more than another.

use super::Malformed;
use super::read::{BINARY, VERSION};

/// Maximum nesting depth of values.
const DEPTH_MAX: usize = 32;

/// Expected next element; a stack, innermost last.
#[derive(Debug, Clone, Copy)]
enum Open {
    /// Version and type of the message, and the size of its name.
    Head,
    /// The sequence number, and the start of the struct.
    Sequence,
    /// The next field of a struct, or its end.
    Struct,
    /// `left` further values of a type.
    Values { kind: u8, left: u32 },
    /// `left` further pairs; `is_key` if a key is next.
    Pairs { kinds: [u8; 2], left: u32, is_key: bool },
    /// A value of this type.
    Value(u8),
}

/// Progress in one message.
#[derive(Debug, Clone)]
pub struct Extent {
    open: Vec<Open>,
    /// Bytes that have been parsed.
    at: usize,
    /// Following bytes to skip.
    skip: usize,
    bytes_max: usize,
}

impl Extent {
    /// Creates it for a message of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { open: vec![Open::Head], at: 0, skip: 0, bytes_max }
    }

    /// Continues with all bytes of the message so far, including those of earlier calls; returns
    /// the length of the message once it is complete.
    ///
    /// # Errors
    /// Fails if it is not a message, or too long, or nested too deep.
    pub fn of(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        loop {
            if self.at + self.skip > self.bytes_max {
                return Err(Malformed::Invalid {
                    what: "size of a message",
                    value: (self.at + self.skip) as i64,
                });
            }
            let here = (bytes.len().saturating_sub(self.at)).min(self.skip);
            self.at += here;
            self.skip -= here;
            if self.skip > 0 {
                return Ok(None);
            }
            let Some(open) = self.open.last().copied() else { return Ok(Some(self.at)) };
            let Some(rest) = bytes.get(self.at..) else { return Ok(None) };
            match self.step(open, rest)? {
                Some(taken) => self.at += taken,
                None => return Ok(None),
            }
        }
    }

    /// Parses the expected element; returns its length, or `None` if it is incomplete.
    fn step(&mut self, open: Open, rest: &[u8]) -> Result<Option<usize>, Malformed> {
        let taken = match open {
            Open::Head => {
                let Some([first, version, _, _, size @ ..]) = rest.first_chunk::<8>() else {
                    return Ok(None);
                };
                if (*first, *version) != (BINARY, VERSION) {
                    return Err(Malformed::Encoding {
                        first: *first,
                        expected: "TBinaryProtocol",
                        hint: "",
                    });
                }
                self.replace(Open::Sequence);
                self.skip = size_of(*size)? as usize;
                8
            }
            Open::Sequence => {
                self.replace(Open::Struct);
                self.skip = 4;
                0
            }
            Open::Struct => {
                let Some(kind) = rest.first() else { return Ok(None) };
                if *kind == 0 {
                    self.open.pop();
                    1
                } else {
                    self.push(Open::Value(*kind))?;
                    self.skip = 2;
                    1
                }
            }
            Open::Values { left: 0, .. } | Open::Pairs { left: 0, .. } => {
                self.open.pop();
                0
            }
            Open::Values { kind, left } => {
                self.replace(Open::Values { kind, left: left - 1 });
                self.push(Open::Value(kind))?;
                0
            }
            Open::Pairs { kinds, left, is_key } => {
                let left = if is_key { left } else { left - 1 };
                self.replace(Open::Pairs { kinds, left, is_key: !is_key });
                self.push(Open::Value(kinds[usize::from(!is_key)]))?;
                0
            }
            Open::Value(kind) => return self.value(kind, rest),
        };
        Ok(Some(taken))
    }

    fn value(&mut self, kind: u8, rest: &[u8]) -> Result<Option<usize>, Malformed> {
        let (taken, next) = match kind {
            2 | 3 => (1, None),
            6 => (2, None),
            8 => (4, None),
            4 | 10 => (8, None),
            16 => (16, None),
            11 => {
                let Some(size) = rest.first_chunk() else { return Ok(None) };
                (4 + size_of(*size)? as usize, None)
            }
            12 => (0, Some(Open::Struct)),
            14 | 15 => {
                let Some([kind, size @ ..]) = rest.first_chunk::<5>() else { return Ok(None) };
                (5, Some(Open::Values { kind: *kind, left: size_of(*size)? }))
            }
            13 => {
                let Some([key, value, size @ ..]) = rest.first_chunk::<6>() else {
                    return Ok(None);
                };
                let (kinds, left) = ([*key, *value], size_of(*size)?);
                (6, Some(Open::Pairs { kinds, left, is_key: true }))
            }
            other => return Err(Malformed::Invalid { what: "type", value: other.into() }),
        };
        self.open.pop();
        if let Some(next) = next {
            self.open.push(next);
        }
        // Bytes of a value may not have arrived yet.
        self.skip = taken;
        Ok(Some(0))
    }

    fn replace(&mut self, next: Open) {
        if let Some(last) = self.open.last_mut() {
            *last = next;
        }
    }

    fn push(&mut self, next: Open) -> Result<(), Malformed> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Malformed::Deep { max: DEPTH_MAX as u32 });
        }
        self.open.push(next);
        Ok(())
    }
}

fn size_of(bytes: [u8; 4]) -> Result<u32, Malformed> {
    let size = i32::from_be_bytes(bytes);
    u32::try_from(size).map_err(|_| Malformed::Invalid { what: "size", value: size.into() })
}

#[cfg(test)]
mod tests {
    use super::super::write::{Type, Writer};
    use super::super::{Kind, Protocol};
    use super::*;

    fn message() -> Vec<u8> {
        let mut writer = Writer::new(Protocol::Binary);
        writer.head("get", Kind::Reply, 7);
        writer.field(Type::Map, 1, 1);
        writer.texts(2, [("a", "1"), ("b", "")].into_iter());
        writer.field(Type::List, 2, 1);
        writer.list(Type::Struct, 2);
        for flag in [true, false] {
            writer.flag(1, 1, flag);
            writer.field(Type::I32, 2, 1);
            writer.i32(-1);
            writer.stop();
        }
        writer.field(Type::List, 3, 1);
        writer.list(Type::Binary, 0);
        writer.stop();
        writer.out
    }

    #[test]
    fn a_message_ends_where_its_values_end_however_its_bytes_come() {
        let message = message();
        for step in [1, 2, 3, 7, message.len()] {
            let (mut extent, mut come) = (Extent::new(1 << 10), Vec::new());
            for bytes in message.chunks(step) {
                assert_eq!(extent.of(&come), Ok(None), "{} bytes", come.len());
                come.extend_from_slice(bytes);
            }
            come.extend(b"more");
            assert_eq!(extent.of(&come), Ok(Some(message.len())));
        }
    }

    #[test]
    fn refuses_long_deep_and_invalid_messages_before_they_arrive() {
        let head = b"\x80\x01\x00\x02\x00\x00\x00\x01x\x00\x00\x00\x01";
        let mut deep = head.to_vec();
        deep.extend([12, 0, 1].repeat(100));
        let long = [&head[..], &[11, 0, 1, 0x7f, 0xff, 0xff, 0xff]].concat();
        let many = [&head[..], &[15, 0, 1, 3, 0x7f, 0xff, 0xff, 0xff]].concat();
        let many = [many, vec![0; 2_000]].concat();
        let negative = [&head[..], &[11, 0, 1, 0xff, 0xff, 0xff, 0xff]].concat();
        let kind = [&head[..], &[9, 0, 1]].concat();
        for (bytes, text) in [
            (&deep[..], "nested"),
            (&long, "size of a message"),
            (&many, "size of a message"),
            (&negative, "-1 is not a valid size"),
            (&kind, "9 is not a valid type"),
            (b"HTTP/1.1", "TBinaryProtocol"),
        ] {
            let error = Extent::new(1_000).of(bytes).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
