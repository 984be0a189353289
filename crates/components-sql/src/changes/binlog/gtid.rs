//! GTIDs: events by which transactions begin.

use mysql_async::binlog::events::Event;

use super::super::change::{Gtid, Xid};

/// Of MySQL: with a name, without one, and one with a tag, which has another form.
const NUMBERED: u8 = 33;
const ANONYMOUS: u8 = 34;
const TAGGED: u8 = 42;
/// Of MariaDB.
const NAMED: u8 = 162;
/// Flags of MariaDB: a statement without an end behind it, and one that is prepared alone.
const STANDALONE: u8 = 1;
const PREPARED: u8 = 64;

/// What is said of a transaction in front of it.
pub(super) struct Begun {
    pub(super) xid: Option<Xid>,
    /// It is a statement alone, as far as is known yet.
    pub(super) is_alone: bool,
    /// Since 1970.
    pub(super) millis: i64,
}

/// Whether a transaction begins by an event of this kind.
pub(super) fn is_one(kind: u8) -> bool {
    matches!(kind, NUMBERED | ANONYMOUS | TAGGED | NAMED)
}

/// What the event says; `None`: it is cut.
pub(super) fn read(event: &Event) -> Option<Begun> {
    let header = event.header();
    let millis = i64::from(header.timestamp()) * 1000;
    match header.event_type_raw() {
        NAMED => named(event.data(), header.server_id(), millis),
        TAGGED => Some(Begun { xid: None, is_alone: true, millis }),
        kind => numbered(event.data(), kind == NUMBERED),
    }
}

/// A GTID of MariaDB. Its time is that of the event.
fn named(data: &[u8], server: u32, millis: i64) -> Option<Begun> {
    let (number, rest) = data.split_first_chunk()?;
    let (domain, rest) = rest.split_first_chunk()?;
    let flags = *rest.first()?;
    let (domain, number) = (u32::from_le_bytes(*domain), u64::from_le_bytes(*number));
    let is_alone = flags & STANDALONE != 0 && flags & PREPARED == 0;
    Some(Begun { xid: Some(Xid::Gtid(Gtid { domain, server, number })), is_alone, millis })
}

/// A GTID of MySQL, whose name may be left empty. That it is no statement alone, `BEGIN` says.
fn numbered(data: &[u8], has_name: bool) -> Option<Begun> {
    let (server, rest) = data.get(1..)?.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (server, number) = (u128::from_be_bytes(*server), u64::from_le_bytes(*number));
    // Behind the numbers of its group: microseconds since 1970 of 55 bits, and a flag.
    let micros = rest.get(17..24)?.iter().rev().fold(0, |sum, byte| sum << 8 | i64::from(*byte));
    let millis = (micros & ((1 << 55) - 1)) / 1000;
    let xid = has_name.then_some(Xid::Numbered { server, number });
    Some(Begun { xid, is_alone: true, millis })
}

/// The last transactions of each domain and server, the last one of a domain behind its others.
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
