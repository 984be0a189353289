//! The protocol of a slot: frames with messages of the plugin `pgoutput`, version 1.
//!
//! ```text
//!   frame      'w' start(8) end(8) time(8) message        'k' end(8) time(8) wants a reply(1)
//!   message    'B' commit(8) time(8) xid(4)               'C' flags(1) commit(8) end(8) time(8)
//!              'R' id(4) schema\0 name\0 identity(1) n(2) { flags(1) name\0 type(4) modifier(4) }
//!              'I' id(4) 'N' row                          'T' n(4) flags(1) { id(4) }
//!              'U' id(4) ['K' row | 'O' row] 'N' row      'D' id(4) 'K' row | 'O' row
//!   row        n(2) { 'n' | 'u' | 't' length(4) text }
//! ```
//!
//! Numbers are big-endian. The server sends complete transactions after their commit, in commit
//! order.

use bytes::{Buf, Bytes, TryGetError};

use super::super::change::{Cell, Lsn, Old, Row};

/// A frame of the stream.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Message(Message),
    /// Everything committed before `end` was sent.
    Alive {
        end: Lsn,
        wants_answer: bool,
    },
}

/// A message of the plugin.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Begin {
        commit: Lsn,
        /// Since 2000.
        micros: i64,
        xid: u32,
    },
    Commit {
        end: Lsn,
    },
    Relation(Relation),
    Insert {
        relation: u32,
        new: Row,
    },
    Update {
        relation: u32,
        old: Option<Old>,
        new: Row,
    },
    Delete {
        relation: u32,
        old: Old,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// Types, origins, and messages that were not requested.
    Other,
}

/// A table, as it is for the following rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether old rows are complete: `REPLICA IDENTITY FULL`.
    pub(super) is_full: bool,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Part of the key.
    pub(super) is_key: bool,
    /// Oid of its type.
    pub(super) kind: u32,
}

impl Frame {
    /// Parses a frame.
    ///
    /// # Errors
    /// The bytes are not a frame.
    pub(super) fn read(mut bytes: Bytes) -> Result<Self, String> {
        let of = bytes.clone();
        let mut read = || -> Result<Option<Self>, TryGetError> {
            Ok(Some(match bytes.try_get_u8()? {
                b'w' => {
                    let (_, _, _) =
                        (bytes.try_get_u64()?, bytes.try_get_u64()?, bytes.try_get_i64()?);
                    let Some(message) = message(&mut bytes)? else { return Ok(None) };
                    Self::Message(message)
                }
                b'k' => {
                    let (end, _) = (Lsn(bytes.try_get_u64()?), bytes.try_get_i64()?);
                    Self::Alive { end, wants_answer: bytes.try_get_u8()? != 0 }
                }
                _ => return Ok(None),
            }))
        };
        match read() {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(format!(
                "the replication slot sent an unknown message ({}); check the version of the \
                 server, and report this as a bug if it repeats",
                start(&of)
            )),
            Err(_) => Err(format!(
                "the replication slot sent a truncated message ({}); reconnecting; if this \
                 repeats, check the network and proxies",
                start(&of)
            )),
        }
    }
}

/// Returns the first bytes for messages.
fn start(bytes: &[u8]) -> String {
    bytes.iter().take(40).map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a message; `None` if its format is unknown.
fn message(bytes: &mut Bytes) -> Result<Option<Message>, TryGetError> {
    Ok(Some(match bytes.try_get_u8()? {
        b'B' => Message::Begin {
            commit: Lsn(bytes.try_get_u64()?),
            micros: bytes.try_get_i64()?,
            xid: bytes.try_get_u32()?,
        },
        b'C' => {
            let (_, _) = (bytes.try_get_u8()?, bytes.try_get_u64()?);
            Message::Commit { end: Lsn(bytes.try_get_u64()?) }
        }
        b'R' => Message::Relation(relation(bytes)?),
        b'I' => {
            let (relation, b'N') = (bytes.try_get_u32()?, bytes.try_get_u8()?) else {
                return Ok(None);
            };
            let Some(new) = row(bytes)? else { return Ok(None) };
            Message::Insert { relation, new }
        }
        b'U' => {
            let (relation, mut kind) = (bytes.try_get_u32()?, bytes.try_get_u8()?);
            let mut old = None;
            if kind != b'N' {
                let Some(row) = before(kind, bytes)? else { return Ok(None) };
                (old, kind) = (Some(row), bytes.try_get_u8()?);
            }
            match (kind, row(bytes)?) {
                (b'N', Some(new)) => Message::Update { relation, old, new },
                _ => return Ok(None),
            }
        }
        b'D' => {
            let (relation, kind) = (bytes.try_get_u32()?, bytes.try_get_u8()?);
            let Some(old) = before(kind, bytes)? else { return Ok(None) };
            Message::Delete { relation, old }
        }
        b'T' => {
            let (count, _) = (bytes.try_get_u32()?, bytes.try_get_u8()?);
            let relations = (0..count).map(|_| bytes.try_get_u32());
            Message::Truncate { relations: relations.collect::<Result<_, _>>()? }
        }
        b'O' | b'Y' | b'M' => Message::Other,
        _ => return Ok(None),
    }))
}

fn relation(bytes: &mut Bytes) -> Result<Relation, TryGetError> {
    let (id, schema, name) = (bytes.try_get_u32()?, text(bytes)?, text(bytes)?);
    let (is_full, count) = (bytes.try_get_u8()? == b'f', bytes.try_get_u16()?);
    let mut columns = Vec::new();
    for _ in 0..count {
        let (flags, name, kind) = (bytes.try_get_u8()?, text(bytes)?, bytes.try_get_u32()?);
        bytes.try_get_i32()?;
        columns.push(Column { name, is_key: flags & 1 != 0, kind });
    }
    Ok(Relation { id, schema, name, is_full, columns })
}

fn before(kind: u8, bytes: &mut Bytes) -> Result<Option<Old>, TryGetError> {
    if kind != b'K' && kind != b'O' {
        return Ok(None);
    }
    Ok(row(bytes)?.map(|row| Old { is_whole: kind == b'O', row }))
}

fn row(bytes: &mut Bytes) -> Result<Option<Row>, TryGetError> {
    let mut row = Row::new();
    for _ in 0..bytes.try_get_u16()? {
        row.push(match bytes.try_get_u8()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = bytes.try_get_u32()? as usize;
                if length > bytes.len() {
                    return Err(TryGetError { requested: length, available: bytes.len() });
                }
                Cell::Text(String::from_utf8_lossy(&bytes.split_to(length)).into_owned())
            }
            _ => return Ok(None),
        });
    }
    Ok(Some(row))
}

/// Reads a NUL-terminated text.
fn text(bytes: &mut Bytes) -> Result<String, TryGetError> {
    let available = bytes.len();
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or(TryGetError { requested: available + 1, available })?;
    let text = String::from_utf8_lossy(&bytes.split_to(end)).into_owned();
    bytes.advance(1);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wraps a message in a frame.
    fn frame(message: &[u8]) -> Bytes {
        [&b"w"[..], &[0; 24], message].concat().into()
    }

    #[test]
    fn a_place_in_the_log_is_written_as_the_server_writes_it() {
        for text in ["0/0", "0/16B3748", "A/FFFFFFFF"] {
            assert_eq!(Lsn::read(text).map(|lsn| lsn.to_string()), Some(text.to_owned()));
        }
        assert_eq!(Lsn::read("1/0"), Some(Lsn(1 << 32)));
        assert_eq!(Lsn::read("16B3748"), None);
    }

    #[test]
    fn messages_are_read_and_none_that_is_cut_anywhere_is_taken() {
        let update = [&b"U\0\0\0\x07K\0\x01t\0\0\0\x011N\0\x03t\0\0\0\x012nu"[..]].concat();
        let relation = [
            &b"R\0\0\0\x07shop\0orders\0d\0\x02"[..],
            b"\x01id\0\0\0\0\x17\xff\xff\xff\xff\0note\0\0\0\0\x19\xff\xff\xff\xff",
        ]
        .concat();
        let truncate = b"T\0\0\0\x02\0\0\0\0\x07\0\0\0\x08".to_vec();
        let one = |text: &str| Cell::Text(text.to_owned());
        let column = |name: &str, is_key, kind| Column { name: name.to_owned(), is_key, kind };
        let expected = [
            Message::Update {
                relation: 7,
                old: Some(Old { is_whole: false, row: vec![one("1")] }),
                new: vec![one("2"), Cell::Null, Cell::Unchanged],
            },
            Message::Relation(Relation {
                id: 7,
                schema: "shop".into(),
                name: "orders".into(),
                is_full: false,
                columns: vec![column("id", true, 23), column("note", false, 25)],
            }),
            Message::Truncate { relations: vec![7, 8] },
        ];
        for (bytes, expected) in [update, relation, truncate].iter().zip(expected) {
            assert_eq!(Frame::read(frame(bytes)), Ok(Frame::Message(expected)));
            for end in 0..bytes.len() {
                let problem = Frame::read(frame(&bytes[..end])).unwrap_err();
                assert!(problem.contains("truncated message"), "{end}: {problem}");
            }
        }
        let alive = [&b"k"[..], &9_u64.to_be_bytes(), &[0; 8], &[1]].concat();
        let expected = Frame::Alive { end: Lsn(9), wants_answer: true };
        assert_eq!(Frame::read(alive.into()), Ok(expected));
        assert!(Frame::read(frame(b"?")).unwrap_err().contains("sent an unknown message (77"));
    }
}
