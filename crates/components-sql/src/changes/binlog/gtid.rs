//! GTID events, which start transactions.

use mysql_async::binlog::events::Event;

use super::super::change::{Gtid, Xid};

/// MySQL: with a name, without one, and with a tag, which has a different format.
const NUMBERED: u8 = 33;
const ANONYMOUS: u8 = 34;
const TAGGED: u8 = 42;
/// MariaDB.
const NAMED: u8 = 162;
/// MariaDB flags: a statement without an end event, and a prepared transaction.
const STANDALONE: u8 = 1;
const PREPARED: u8 = 64;

/// The start of a transaction.
pub(super) struct Begun {
    pub(super) xid: Option<Xid>,
    /// Whether it is a single statement, as far as known.
    pub(super) is_alone: bool,
    /// Since 1970.
    pub(super) millis: i64,
}

/// Returns whether an event of this kind starts a transaction.
pub(super) fn is_one(kind: u8) -> bool {
    matches!(kind, NUMBERED | ANONYMOUS | TAGGED | NAMED)
}

/// Parses the event; `None` if it is truncated.
pub(super) fn read(event: &Event) -> Option<Begun> {
    let header = event.header();
    let millis = i64::from(header.timestamp()) * 1000;
    match header.event_type_raw() {
        NAMED => named(event.data(), header.server_id(), millis),
        TAGGED => Some(Begun { xid: None, is_alone: true, millis }),
        kind => numbered(event.data(), kind == NUMBERED),
    }
}

/// Parses a GTID of MariaDB. The event header contains its time.
fn named(data: &[u8], server: u32, millis: i64) -> Option<Begun> {
    let (number, rest) = data.split_first_chunk()?;
    let (domain, rest) = rest.split_first_chunk()?;
    let flags = *rest.first()?;
    let (domain, number) = (u32::from_le_bytes(*domain), u64::from_le_bytes(*number));
    let is_alone = flags & STANDALONE != 0 && flags & PREPARED == 0;
    Some(Begun { xid: Some(Xid::Gtid(Gtid { domain, server, number })), is_alone, millis })
}

/// Parses a GTID of MySQL, which may lack a name. A following `BEGIN` shows that it is not a single
/// statement.
fn numbered(data: &[u8], has_name: bool) -> Option<Begun> {
    let (server, rest) = data.get(1..)?.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (server, number) = (u128::from_be_bytes(*server), u64::from_le_bytes(*number));
    // After its group numbers: 55 bits of microseconds since 1970, and a flag.
    let micros = rest.get(17..24)?.iter().rev().fold(0, |sum, byte| sum << 8 | i64::from(*byte));
    let millis = (micros & ((1 << 55) - 1)) / 1000;
    let xid = has_name.then_some(Xid::Numbered { server, number });
    Some(Begun { xid, is_alone: true, millis })
}

/// Returns the last transaction of each domain and server; the last one of a domain comes last.
pub(super) fn list(list: &[u8]) -> Vec<Gtid> {
    let read = |entry: &[u8]| {
        let (domain, rest) = entry.split_first_chunk()?;
        let (server, rest) = rest.split_first_chunk()?;
        Some(Gtid {
            domain: u32::from_le_bytes(*domain),
            server: u32::from_le_bytes(*server),
            number: u64::from_le_bytes(*rest.first_chunk()?),
        })
    };
    list.get(4..).unwrap_or_default().chunks(16).map_while(read).collect()
}
