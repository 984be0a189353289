//! Locks of a table: the calls of the metastore's transaction manager, and their responses. Pure.

use formats::thrift::Malformed;
use formats::thrift::read::{Reader, Type as Found};
use formats::thrift::write::{Type, Writer};

use super::messages::{BINARY, Call, Exception, put_text};

pub(super) const LOCK: Call =
    Call { name: "lock", throws: &[Exception::Transaction, Exception::Transaction] };
pub(super) const CHECK_LOCK: Call = Call {
    name: "check_lock",
    throws: &[Exception::Transaction, Exception::Transaction, Exception::NoSuchLock],
};
pub(super) const UNLOCK: Call =
    Call { name: "unlock", throws: &[Exception::NoSuchLock, Exception::Transaction] };
pub(super) const HEARTBEAT: Call = Call {
    name: "heartbeat",
    throws: &[Exception::NoSuchLock, Exception::Transaction, Exception::Transaction],
};
pub(super) const SHOW_LOCKS: Call = Call { name: "show_locks", throws: &[] };

/// Thrift's number of integers of 64 bits.
const I64: u8 = 10;
/// `LockType.EXCLUSIVE`.
const EXCLUSIVE: i32 = 3;
/// `LockLevel.TABLE`.
const OF_TABLE: i32 = 2;

/// State of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockState {
    /// It is held.
    Acquired,
    /// Another lock is in the way.
    Waiting,
    /// The metastore has given it up.
    Other,
}

/// A lock of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    /// Its number.
    pub(crate) id: i64,
    /// Its state.
    pub(crate) state: LockState,
}

/// A lock in the list of the metastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownLock {
    /// Number and state.
    pub(crate) lock: Lock,
    /// The user of the holder.
    pub(crate) user: String,
    /// The host of the holder.
    pub(crate) host: String,
    /// The program, as it names itself.
    pub(crate) agent: String,
    /// Time of its last sign of life, in milliseconds since 1970.
    pub(crate) last_heartbeat_ms: i64,
}

/// Requester of a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder<'a> {
    pub(super) user: &'a str,
    pub(super) host: &'a str,
    /// Identifies the request, even if its response is lost.
    pub(super) agent: &'a str,
}

/// Writes the arguments of [`LOCK`]: an exclusive lock of a table.
pub(super) fn lock(writer: &mut Writer, database: &str, table: &str, holder: Holder<'_>) {
    writer.field(Type::Struct, 1, 1);
    writer.field(Type::List, 1, 1);
    writer.list(Type::Struct, 1);
    for (id, value) in [(1, EXCLUSIVE), (2, OF_TABLE)] {
        writer.field(Type::I32, id, 1);
        writer.i32(value);
    }
    put_text(writer, 3, database);
    put_text(writer, 4, table);
    writer.stop();
    put_text(writer, 3, holder.user);
    put_text(writer, 4, holder.host);
    put_text(writer, 5, holder.agent);
    writer.stop();
}

/// Writes the arguments of [`CHECK_LOCK`], [`UNLOCK`] and [`HEARTBEAT`].
pub(super) fn of_lock(writer: &mut Writer, id: i64) {
    writer.field(Type::Struct, 1, 1);
    put_number(writer, 1, id);
    writer.stop();
}

/// Writes the arguments of [`SHOW_LOCKS`].
pub(super) fn show_locks(writer: &mut Writer, database: &str, table: &str) {
    writer.field(Type::Struct, 1, 1);
    put_text(writer, 1, database);
    put_text(writer, 2, table);
    writer.stop();
}

/// Decodes the response of [`LOCK`] and [`CHECK_LOCK`].
pub(super) fn read_lock(value: &[u8]) -> Result<Lock, Malformed> {
    let (mut reader, mut last) = (Reader::new(BINARY, value), 0);
    let (mut id, mut state) = (None, None);
    while let Some(field) = reader.field(&mut last)? {
        match (field.id, field.kind) {
            (1, Found::I64) => id = Some(number(&mut reader)?),
            (2, Found::I32) => state = Some(state_of(reader.i32()?)),
            (_, kind) => reader.skip(kind)?,
        }
    }
    let lock = id.zip(state).map(|(id, state)| Lock { id, state });
    lock.ok_or(Malformed::Field { field: "lockid" })
}

/// Decodes the response of [`SHOW_LOCKS`].
pub(super) fn read_locks(value: &[u8]) -> Result<Vec<ShownLock>, Malformed> {
    let (mut reader, mut last, mut locks) = (Reader::new(BINARY, value), 0, Vec::new());
    while let Some(field) = reader.field(&mut last)? {
        match (field.id, field.kind) {
            (1, Found::List) => {
                let (kind, count) = reader.list()?;
                if count > 0 && kind != Found::Struct {
                    return Err(Malformed::Field { field: "locks" });
                }
                for _ in 0..count {
                    locks.push(shown(&mut reader)?);
                }
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    Ok(locks)
}

fn shown(reader: &mut Reader<'_>) -> Result<ShownLock, Malformed> {
    let mut lock = ShownLock {
        lock: Lock { id: 0, state: LockState::Other },
        user: String::new(),
        host: String::new(),
        agent: String::new(),
        last_heartbeat_ms: 0,
    };
    let mut last = 0;
    while let Some(field) = reader.field(&mut last)? {
        match (field.id, field.kind) {
            (1, Found::I64) => lock.lock.id = number(reader)?,
            (5, Found::I32) => lock.lock.state = state_of(reader.i32()?),
            (8, Found::I64) => lock.last_heartbeat_ms = number(reader)?,
            (10, Found::Binary) => lock.user = text(reader)?,
            (11, Found::Binary) => lock.host = text(reader)?,
            (13, Found::Binary) => lock.agent = text(reader)?,
            (_, kind) => reader.skip(kind)?,
        }
    }
    Ok(lock)
}

/// Writes an integer of 64 bits, which the service of Flume, and so the writer, does not have.
pub(super) fn put_number(writer: &mut Writer, id: u8, value: i64) {
    writer.out.extend([I64, 0, id]);
    writer.out.extend(value.to_be_bytes());
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(String::from_utf8_lossy(reader.bytes()?).into_owned())
}

/// Reads an integer of 64 bits.
fn number(reader: &mut Reader<'_>) -> Result<i64, Malformed> {
    let bytes = reader.rest().first_chunk().copied().ok_or(Malformed::Short)?;
    reader.skip(Found::I64)?;
    Ok(i64::from_be_bytes(bytes))
}

fn state_of(number: i32) -> LockState {
    match number {
        1 => LockState::Acquired,
        2 => LockState::Waiting,
        _ => LockState::Other,
    }
}
