//! Groups events of the log into complete transactions.
//!
//! ```text
//!   GTID ── TABLE_MAP ── rows ── TABLE_MAP ── rows ── XID          a transaction
//!   GTID ── BEGIN ── TABLE_MAP ── rows ── XID                      the same of MySQL
//!   GTID ── PAYLOAD [ BEGIN ── TABLE_MAP ── rows ── XID ]          compressed by MySQL
//!   GTID ── QUERY                                                  a single statement: TRUNCATE
//!   ROTATE ── FORMAT ── GTID_LIST or PREVIOUS_GTIDS                start of the next file
//! ```
//!
//! 1. Changes wait for the end of their transaction. If a server dies before it writes the end, the
//!    transaction never happened. Above [`HELD_MAX`], changes are passed on in parts.
//! 2. The position of a transaction is after its GTID, and so after the end of all earlier
//!    transactions and before its own.
//! 3. Changes in a compressed transaction have no own positions, and end with it.
//! 4. Nothing here waits or queries the server.

use std::collections::HashMap;
use std::sync::Arc;

use mysql_async::binlog::EventType;
use mysql_async::binlog::events::{Event, EventData, QueryEvent, RotateEvent, TableMapEvent};

use super::super::change::{Lsn, Xid};
use super::gtid;
use super::proof::Head;
use super::server;
use super::statement::StatementKind;
use super::table::{Charsets, MappedTable, undecodable};

/// Maximum bytes of a transaction that wait for its end.
pub(super) const HELD_MAX: usize = 16 << 20;

/// A prepared transaction.
const XA_PREPARE: u8 = 38;
/// Events that only MySQL has. MariaDB does not use their numbers.
const PREVIOUS_GTIDS: u8 = 35;
const PARTIAL_UPDATE: u8 = 39;
const PAYLOAD: u8 = 40;
/// Events that only MariaDB has.
const GTID_LIST: u8 = 163;
const COMPRESSED: std::ops::RangeInclusive<u8> = 165..=171;

/// Result of an event.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing yet.
    Nothing,
    /// A new file starts: everything before this position has arrived.
    Alive(Lsn, Head),
    /// A transaction, or a part of it.
    Changes(Changes),
}

/// Changes of a transaction.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) lsn: Lsn,
    /// `None` if it has no name.
    pub(super) xid: Option<Xid>,
    /// Since 1970.
    pub(super) millis: i64,
    /// Whether these are its first changes.
    pub(super) is_begin: bool,
    pub(super) held: Vec<Held>,
    /// End position, if these are its last changes.
    pub(super) end: Option<Lsn>,
}

/// A change that waits for the end of its transaction.
#[derive(Debug)]
pub(super) enum Held {
    Rows(Arc<MappedTable>, Event),
    /// Of this table.
    Truncate(u64),
}

/// The current transaction.
struct Group {
    lsn: Lsn,
    xid: Option<Xid>,
    millis: i64,
    /// It ends with its first statement.
    is_alone: bool,
    /// It comes from a compressed payload.
    is_packed: bool,
    held: Vec<Held>,
    bytes: usize,
    /// A part was already passed on.
    is_begun: bool,
    savepoints: Vec<(String, usize)>,
}

impl Group {
    /// Returns its name for messages.
    fn name(&self) -> String {
        self.xid.map_or_else(|| format!("at {}", self.lsn), |xid| xid.to_string())
    }

    fn emit(&mut self, end: Option<Lsn>) -> Step {
        let is_begin = !std::mem::replace(&mut self.is_begun, true);
        self.bytes = 0;
        Step::Changes(Changes {
            lsn: self.lsn,
            xid: self.xid,
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
    /// Whether the format event has arrived. The checksum of the event before it, which names the
    /// requested file, is read as part of the file name.
    has_form: bool,
    /// Number of the current file.
    number: u64,
    /// Start time of the file, in seconds since 1970.
    began: u32,
    /// End of the last event.
    offset: u64,
    /// Database and name of the captured tables, with their indexes.
    wanted: Vec<(String, String)>,
    charsets: Charsets,
    /// Tables by their log number, with their undecoded map event.
    tables: HashMap<u64, (Vec<u8>, Arc<MappedTable>)>,
    group: Option<Group>,
}

impl Log {
    /// Starts at a file.
    pub(super) fn new(
        (base, number): (String, u64),
        wanted: Vec<(String, String)>,
        charsets: Charsets,
    ) -> Self {
        let (tables, group) = (HashMap::new(), None);
        let (has_form, began, offset) = (false, 0, 0);
        Self { base, has_form, number, began, offset, wanted, charsets, tables, group }
    }

    /// Processes the next event.
    ///
    /// # Errors
    /// The log has changes of these tables in an unsupported form. The message contains a hint.
    pub(super) fn take(&mut self, event: Event) -> Result<Step, String> {
        let header = event.header();
        let kind = header.event_type_raw();
        let odd = |error: std::io::Error| undecodable("an event", &error);
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
            // A server that died did not end this transaction, so it never happened.
            return self.give_up();
        }
        let begins = gtid::is_one(kind);
        let end = match &self.group {
            Some(group) if group.is_packed && !begins => server::place(self.number, self.offset),
            _ => self.end(header.log_pos())?,
        };
        match kind {
            _ if begins => {
                let step = self.give_up()?;
                self.begin(&event, end)?;
                return Ok(step);
            }
            _ if kind == EventType::FORMAT_DESCRIPTION_EVENT as u8 => {
                self.began = header.timestamp();
                return Ok(Step::Nothing);
            }
            GTID_LIST if header.log_pos() != 0 => {
                return Ok(Step::Alive(end, Head::Gtids(gtid::list(event.data()))));
            }
            PREVIOUS_GTIDS if header.log_pos() != 0 => {
                return Ok(Step::Alive(end, Head::Began(self.began)));
            }
            _ => check(kind, end)?,
        }
        self.change(kind, event, end)
    }

    /// Processes an event of a transaction.
    fn change(&mut self, kind: u8, event: Event, end: Lsn) -> Result<Step, String> {
        let odd = |error: std::io::Error| undecodable("an event", &error);
        let Some(group) = &mut self.group else { return Ok(Step::Nothing) };
        match kind {
            XA_PREPARE => self.prepared(end),
            PAYLOAD => {
                group.is_packed = true;
                Ok(Step::Nothing)
            }
            PARTIAL_UPDATE => {
                let id = event.data().iter().take(6).rev();
                let id = id.fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
                match self.tables.contains_key(&id) {
                    true => Err(IN_PART.to_owned()),
                    false => Ok(Step::Nothing),
                }
            }
            _ if kind == EventType::XID_EVENT as u8 => Ok(self.commit(end)),
            _ if kind == EventType::QUERY_EVENT as u8 => {
                let (said, schema) = {
                    let query: QueryEvent<'_> = event.read_event().map_err(odd)?;
                    (StatementKind::read(&query.query()), query.schema().into_owned())
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
                    true => Ok(group.emit(None)),
                    false => Ok(Step::Nothing),
                }
            }
            _ => Ok(Step::Nothing),
        }
    }

    /// Processes a table map.
    fn map(&mut self, event: &Event) -> Result<Step, String> {
        let odd = |error: std::io::Error| undecodable("a table description", &error);
        let map: TableMapEvent<'_> = event.read_event().map_err(odd)?;
        let (schema, name) = (map.database_name(), map.table_name());
        let index = self.wanted.iter().position(|it| (&*it.0, &*it.1) == (&schema, &name));
        let Some(index) = index else {
            self.tables.remove(&map.table_id());
            return Ok(Step::Nothing);
        };
        let known = self.tables.get(&map.table_id());
        if known.is_none_or(|(bytes, _)| bytes != event.data()) {
            let mapped = MappedTable::read(&map, index as u64, &self.charsets)?;
            let mapped = (event.data().to_vec(), Arc::new(mapped));
            self.tables.insert(map.table_id(), mapped);
        }
        Ok(Step::Nothing)
    }

    /// Returns the position after an event. Artificial events of the server have no position.
    fn end(&mut self, offset: u32) -> Result<Lsn, String> {
        let offset = u64::from(offset);
        if offset != 0 {
            if offset < self.offset {
                return Err(format!(
                    "a file of the binary log exceeds 4 GiB at {}, where positions end; make \
                     transactions smaller, and rename the source to start again",
                    server::place(self.number, self.offset)
                ));
            }
            self.offset = offset;
        }
        Ok(server::place(self.number, self.offset))
    }

    fn begin(&mut self, event: &Event, lsn: Lsn) -> Result<(), String> {
        let begun = gtid::read(event).ok_or_else(|| undecodable("a GTID event", &"truncated"))?;
        self.group = Some(Group {
            lsn,
            xid: begun.xid,
            millis: begun.millis,
            is_alone: begun.is_alone,
            is_packed: false,
            held: Vec::new(),
            bytes: 0,
            is_begun: false,
            savepoints: Vec::new(),
        });
        Ok(())
    }

    fn commit(&mut self, end: Lsn) -> Step {
        self.group.take().map_or(Step::Nothing, |mut group| group.emit(Some(end)))
    }

    /// Drops the incomplete transaction.
    fn give_up(&mut self) -> Result<Step, String> {
        match self.group.take() {
            Some(group) if group.is_begun => Err(format!(
                "the transaction {} was rolled back after more than {HELD_MAX} bytes of it were \
                 stored; rename the source to start again",
                group.name()
            )),
            // A payload contains the end of its transaction. If the end is missing, decompression
            // failed.
            Some(group) if group.is_packed => Err(format!(
                "cannot decompress the transaction {}; run `SET GLOBAL \
                 binlog_transaction_compression = OFF`, and rename the source to start again",
                group.name()
            )),
            _ => Ok(Step::Nothing),
        }
    }

    /// Rejects a prepared transaction, which may be rolled back later.
    fn prepared(&mut self, end: Lsn) -> Result<Step, String> {
        match &self.group {
            Some(group) if !group.held.is_empty() || group.is_begun => Err(format!(
                "the transaction {} is an XA transaction, which the source does not support; \
                 change these tables without XA, and rename the source to start again",
                group.name()
            )),
            _ => Ok(self.commit(end)),
        }
    }

    fn said(&mut self, said: StatementKind, schema: &str, end: Lsn) -> Result<Step, String> {
        let Some(group) = &mut self.group else { return Ok(Step::Nothing) };
        match said {
            StatementKind::Begin => {
                group.is_alone = false;
                return Ok(Step::Nothing);
            }
            StatementKind::Commit => return Ok(self.commit(end)),
            StatementKind::Rollback => {
                group.held.clear();
                return match group.is_begun {
                    true => self.give_up(),
                    false => Ok(self.commit(end)),
                };
            }
            StatementKind::Savepoint(name) => group.savepoints.push((name, group.held.len())),
            StatementKind::RollbackTo(name) => {
                let to = group.savepoints.iter().rev().find(|(of, _)| *of == name);
                match to {
                    Some((_, held)) if !group.is_begun => group.held.truncate(*held),
                    _ => {
                        return Err(format!(
                            "the transaction {} was partly rolled back, and the binary log does \
                             not show how far; rename the source to start again",
                            group.name()
                        ));
                    }
                }
            }
            StatementKind::Truncate(of, table) => {
                let schema = of.as_deref().unwrap_or(schema);
                let index = self.wanted.iter().position(|it| (&*it.0, &*it.1) == (schema, &*table));
                group.held.extend(index.map(|index| Held::Truncate(index as u64)));
            }
            StatementKind::Write(names) => {
                let hit = self.wanted.iter().find(|(_, table)| names.contains(table));
                if let Some((schema, table)) = hit {
                    return Err(format!(
                        "the transaction {} may change {schema}.{table} by a logged statement \
                         instead of rows; do not set `binlog_format` in any session, and rename \
                         the source to start again",
                        group.name()
                    ));
                }
            }
            StatementKind::Other => {}
        }
        match &self.group {
            Some(group) if group.is_alone => Ok(self.commit(end)),
            _ => Ok(Step::Nothing),
        }
    }
}

/// Hint for partial updates of JSON.
const IN_PART: &str = "a row of the binary log has only part of a JSON value; do not set \
                       `binlog_row_value_options` in any session, and rename the source to start \
                       again";

/// Rejects unsupported events.
fn check(kind: u8, end: Lsn) -> Result<(), String> {
    match kind {
        _ if kind == EventType::INCIDENT_EVENT as u8 => Err(format!(
            "the server reports at {end} that its binary log lacks changes; rename the source to \
             start again"
        )),
        _ if COMPRESSED.contains(&kind) => Err(format!(
            "the binary log has compressed events at {end}, which are not supported; run `SET \
             GLOBAL log_bin_compress = OFF`, and rename the source to start again"
        )),
        _ => Ok(()),
    }
}
