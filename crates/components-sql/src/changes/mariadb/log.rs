//! Events of the log become transactions: each one in whole, when its end has come.
//!
//! ```text
//!   GTID ── TABLE_MAP ── rows ── TABLE_MAP ── rows ── XID        a transaction
//!   GTID ── QUERY                                                a statement alone: TRUNCATE
//!   ROTATE ── FORMAT ── GTID_LIST                                a file ends, another one begins
//! ```
//!
//! 1. Changes are held until the end of their transaction: one whose end is missing in the log of
//!    a server that has died never was. Above [`HELD_MAX`] they are given away in parts.
//! 2. The place of a transaction is behind its GTID. So it is behind the end of every one before,
//!    and in front of its own.
//! 3. Nothing here waits, and nothing is asked of the server.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::binlog::EventType;
use mysql_async::binlog::events::{
    Event, EventData, QueryEvent, RotateEvent, RowsEventData, TableMapEvent,
};

use super::super::assemble::Change;
use super::super::change::{Gtid, Lsn, Old};
use super::row::image;
use super::server;
use super::statement::Said;
use super::table::{Charsets, Mapped};

/// Bytes of a transaction that are held until its end has come.
pub(super) const HELD_MAX: usize = 16 << 20;

/// Events that MariaDB alone has, and a prepared transaction.
const XA_PREPARE: u8 = 38;
const GTID: u8 = 162;
const GTID_LIST: u8 = 163;
const COMPRESSED: std::ops::RangeInclusive<u8> = 165..=171;
/// Flags of a GTID: a statement without an end behind it, and one that is prepared alone.
const STANDALONE: u8 = 1;
const PREPARED: u8 = 64;

/// What has come.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing yet.
    Nothing,
    /// A file begins: everything in front of this place, and the last transactions in there.
    Alive(Lsn, Vec<Gtid>),
    /// A transaction, or a part of it.
    Changes(Changes),
}

/// Changes of a transaction.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) lsn: Lsn,
    pub(super) gtid: Gtid,
    /// Since 1970.
    pub(super) millis: i64,
    /// Its first ones.
    pub(super) is_begin: bool,
    pub(super) held: Vec<Held>,
    /// Where it ends, if this is the end.
    pub(super) end: Option<Lsn>,
}

/// A change that waits for the end of its transaction.
#[derive(Debug)]
pub(super) enum Held {
    Rows(Arc<Mapped>, Event),
    /// Of this table.
    Truncate(u64),
}

/// The transaction that comes.
struct Group {
    lsn: Lsn,
    gtid: Gtid,
    millis: i64,
    flags: u8,
    held: Vec<Held>,
    bytes: usize,
    /// A part of it was given away.
    is_begun: bool,
    savepoints: Vec<(String, usize)>,
}

impl Group {
    fn give(&mut self, end: Option<Lsn>) -> Step {
        let is_begin = !std::mem::replace(&mut self.is_begun, true);
        self.bytes = 0;
        Step::Changes(Changes {
            lsn: self.lsn,
            gtid: self.gtid,
            millis: self.millis,
            is_begin,
            held: std::mem::take(&mut self.held),
            end,
        })
    }
}

/// Reads a log.
pub(super) struct Log {
    /// Name of its files without their numbers.
    pub(super) base: String,
    /// The form of events has come. The event in front of it, which names the file that was asked
    /// for, is read with its checksum as a part of the name.
    has_form: bool,
    /// The file that comes.
    number: u64,
    /// Where the last event of it has ended.
    offset: u64,
    /// Database and name of the tables that are read, and their indices.
    wanted: Vec<(String, String)>,
    charsets: Charsets,
    /// By the numbers of the log, with the bytes that they were read from.
    tables: HashMap<u64, (Vec<u8>, Arc<Mapped>)>,
    group: Option<Group>,
}

impl Log {
    /// From a file on.
    pub(super) fn new(
        (base, number): (String, u64),
        wanted: Vec<(String, String)>,
        charsets: Charsets,
    ) -> Self {
        let (tables, group) = (HashMap::new(), None);
        Self { base, has_form: false, number, offset: 0, wanted, charsets, tables, group }
    }

    /// The next event.
    ///
    /// # Errors
    /// Changes of these tables stand in the log in a form that is not read, and what helps.
    pub(super) fn take(&mut self, event: Event) -> Result<Step, String> {
        let header = event.header();
        let kind = header.event_type_raw();
        let odd = |error: std::io::Error| format!("an event of the log cannot be read: {error}");
        self.has_form |= kind == EventType::FORMAT_DESCRIPTION_EVENT as u8;
        if !self.has_form {
            return Ok(Step::Nothing);
        }
        if kind == EventType::ROTATE_EVENT as u8 {
            let (base, number) = {
                let rotate: RotateEvent<'_> = event.read_event().map_err(odd)?;
                server::parts(&rotate.name()).map_err(|error| error.to_string())?
            };
            (self.base, self.number, self.offset) = (base, number, 0);
            // A transaction that a server has not ended in a file never was.
            return self.give_up();
        }
        let end = self.end(header.log_pos())?;
        match kind {
            GTID => {
                let step = self.give_up()?;
                self.begin(&event, end)?;
                return Ok(step);
            }
            GTID_LIST if header.log_pos() != 0 => return Ok(Step::Alive(end, gtids(event.data()))),
            _ => check(kind, end)?,
        }
        let Some(group) = &mut self.group else { return Ok(Step::Nothing) };
        match kind {
            XA_PREPARE => self.prepared(end),
            _ if kind == EventType::XID_EVENT as u8 => Ok(self.commit(end)),
            _ if kind == EventType::QUERY_EVENT as u8 => {
                let (said, schema) = {
                    let query: QueryEvent<'_> = event.read_event().map_err(odd)?;
                    (Said::read(&query.query()), query.schema().into_owned())
                };
                self.said(said, &schema, end)
            }
            _ if kind == EventType::TABLE_MAP_EVENT as u8 => self.map(&event),
            23..=25 | 30..=32 => {
                let id = match event.read_data().map_err(odd)? {
                    Some(EventData::RowsEvent(rows)) => rows.table_id(),
                    _ => return Ok(Step::Nothing),
                };
                let Some((_, mapped)) = self.tables.get(&id) else { return Ok(Step::Nothing) };
                group.bytes += event.data().len();
                group.held.push(Held::Rows(mapped.clone(), event));
                match group.bytes > HELD_MAX {
                    true => Ok(group.give(None)),
                    false => Ok(Step::Nothing),
                }
            }
            _ => Ok(Step::Nothing),
        }
    }

    /// What the log says of a table.
    fn map(&mut self, event: &Event) -> Result<Step, String> {
        let odd = |error: std::io::Error| format!("a table of the log cannot be read: {error}");
        let map: TableMapEvent<'_> = event.read_event().map_err(odd)?;
        let (schema, name) = (map.database_name(), map.table_name());
        let index = self.wanted.iter().position(|it| (&*it.0, &*it.1) == (&schema, &name));
        let Some(index) = index else {
            self.tables.remove(&map.table_id());
            return Ok(Step::Nothing);
        };
        let known = self.tables.get(&map.table_id());
        if known.is_none_or(|(bytes, _)| bytes != event.data()) {
            let mapped = Mapped::read(&map, index as u64, &self.charsets)?;
            let mapped = (event.data().to_vec(), Arc::new(mapped));
            self.tables.insert(map.table_id(), mapped);
        }
        Ok(Step::Nothing)
    }

    /// The place behind an event. Events that the server makes up for this reader have none.
    fn end(&mut self, offset: u32) -> Result<Lsn, String> {
        let offset = u64::from(offset);
        if offset != 0 {
            if offset < self.offset {
                return Err(format!(
                    "a file of the log is larger than 4 GiB at {}, and has no places behind that; \
                     make transactions smaller, and give the source another name: then it begins \
                     anew",
                    server::place(self.number, self.offset)
                ));
            }
            self.offset = offset;
        }
        Ok(server::place(self.number, self.offset))
    }

    fn begin(&mut self, event: &Event, lsn: Lsn) -> Result<(), String> {
        let short = || "a GTID of the log is cut".to_owned();
        let (number, rest) = event.data().split_first_chunk().ok_or_else(short)?;
        let (domain, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let flags = *rest.first().ok_or_else(short)?;
        let gtid = Gtid {
            domain: u32::from_le_bytes(*domain),
            server: event.header().server_id(),
            number: u64::from_le_bytes(*number),
        };
        let millis = i64::from(event.header().timestamp()) * 1000;
        let (held, savepoints) = (Vec::new(), Vec::new());
        let (bytes, is_begun) = (0, false);
        self.group = Some(Group { lsn, gtid, millis, flags, held, bytes, is_begun, savepoints });
        Ok(())
    }

    fn commit(&mut self, end: Lsn) -> Step {
        self.group.take().map_or(Step::Nothing, |mut group| group.give(Some(end)))
    }

    /// The transaction that has come in part never was.
    fn give_up(&mut self) -> Result<Step, String> {
        match self.group.take() {
            Some(group) if group.is_begun => Err(format!(
                "the transaction {} was taken back after more than {HELD_MAX} bytes of it were \
                 stored; give the source another name: then it begins anew",
                group.gtid
            )),
            _ => Ok(Step::Nothing),
        }
    }

    /// A transaction that is prepared alone, and may be taken back later.
    fn prepared(&mut self, end: Lsn) -> Result<Step, String> {
        match &self.group {
            Some(group) if !group.held.is_empty() || group.is_begun => Err(format!(
                "the transaction {} is one of XA, whose changes stand in the log before it is \
                 known whether they are made: they are not read; change these tables without XA, \
                 and give the source another name: then it begins anew",
                group.gtid
            )),
            _ => Ok(self.commit(end)),
        }
    }

    fn said(&mut self, said: Said, schema: &str, end: Lsn) -> Result<Step, String> {
        let Some(group) = &mut self.group else { return Ok(Step::Nothing) };
        match said {
            Said::Commit => return Ok(self.commit(end)),
            Said::Rollback => {
                group.held.clear();
                return match group.is_begun {
                    true => self.give_up(),
                    false => Ok(self.commit(end)),
                };
            }
            Said::Savepoint(name) => group.savepoints.push((name, group.held.len())),
            Said::RollbackTo(name) => {
                let to = group.savepoints.iter().rev().find(|(of, _)| *of == name);
                match to {
                    Some((_, held)) if !group.is_begun => group.held.truncate(*held),
                    _ => {
                        return Err(format!(
                            "the transaction {} was taken back in part, and how far is not in the \
                             log; give the source another name: then it begins anew",
                            group.gtid
                        ));
                    }
                }
            }
            Said::Truncate(of, table) => {
                let schema = of.as_deref().unwrap_or(schema);
                let index = self.wanted.iter().position(|it| (&*it.0, &*it.1) == (schema, &*table));
                group.held.extend(index.map(|index| Held::Truncate(index as u64)));
            }
            Said::Write(names) => {
                let hit = self.wanted.iter().find(|(_, table)| names.contains(table));
                if let Some((schema, table)) = hit {
                    return Err(format!(
                        "the transaction {} changes {schema}.{table}, perhaps, by a statement in \
                         place of rows; let no session set `binlog_format`, and give the source \
                         another name: then it begins anew",
                        group.gtid
                    ));
                }
            }
            Said::Other => {}
        }
        match &self.group {
            Some(group) if group.flags & STANDALONE != 0 && group.flags & PREPARED == 0 => {
                Ok(self.commit(end))
            }
            _ => Ok(Step::Nothing),
        }
    }
}

/// The last transactions of each domain and server, the last one of a domain behind its others.
fn gtids(list: &[u8]) -> Vec<Gtid> {
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

/// Refuses what is never read.
fn check(kind: u8, end: Lsn) -> Result<(), String> {
    match kind {
        _ if kind == EventType::INCIDENT_EVENT as u8 => Err(format!(
            "the server says at {end} that its log lacks changes; give the source another \
                 name: then it begins anew"
        )),
        _ if COMPRESSED.contains(&kind) => Err(format!(
            "compressed events stand in the log at {end}, which are not read; run `SET \
                 GLOBAL log_bin_compress = OFF`, and give the source another name: then it \
                 begins anew"
        )),
        _ => Ok(()),
    }
}

/// The changes that an event has.
///
/// # Errors
/// It cannot be read.
pub(super) fn changes(mapped: &Mapped, event: &Event) -> Result<Vec<Change>, String> {
    let data = event.read_data().map_err(|error| format!("rows cannot be read: {error}"))?;
    let Some(EventData::RowsEvent(rows)) = data else { return Ok(Vec::new()) };
    let images = [rows.columns_before_image(), rows.columns_after_image()];
    if rows.num_columns() != mapped.shapes.len() as u64
        || images.iter().flatten().any(|image| !image.all())
    {
        return Err("a row of the log lacks columns; let no session set `binlog_row_image`, and \
                    give the source another name: then it begins anew"
            .to_owned());
    }
    let (mut changes, mut bytes) = (Vec::new(), rows.rows_data());
    let bytes = &mut bytes;
    while !bytes.is_empty() {
        let old = |row| Old { is_whole: true, row };
        changes.push(match &rows {
            RowsEventData::WriteRowsEvent(_) | RowsEventData::WriteRowsEventV1(_) => {
                Change::Insert(image(&mapped.shapes, bytes)?)
            }
            RowsEventData::DeleteRowsEvent(_) | RowsEventData::DeleteRowsEventV1(_) => {
                Change::Delete(old(image(&mapped.shapes, bytes)?))
            }
            _ => {
                let before = Some(old(image(&mapped.shapes, bytes)?));
                Change::Update { old: before, new: image(&mapped.shapes, bytes)? }
            }
        });
    }
    Ok(changes)
}
