//! Turns log messages into events, and drops stored changes.
//!
//! Nothing here waits, so that tests can check each rule with a list of messages.

use std::collections::HashMap;
use std::sync::Arc;

use peers::limits::Cut;
use pipeline::{Batch, BatchBuilder, SourcePosition};

use super::change::{Cell, Lsn, Old, Row, Xid};
use super::position::{KEY, Log, Part, State};
use crate::meaning::Meaning;
use crate::value::{Encoder, Form, Value};

/// A table, as it is for the following rows.
pub(super) struct Table {
    schema: String,
    name: String,
    columns: Vec<Column>,
    encoder: Encoder,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Part of the key.
    pub(super) is_key: bool,
    pub(super) meaning: Meaning,
}

impl Table {
    pub(super) fn new(schema: String, name: String, columns: Vec<Column>) -> Self {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let encoder = Encoder::new(Form::Json, &names);
        Self { schema, name, columns, encoder }
    }

    /// Describes how the columns differ from the earlier ones; `None` if they are the same.
    fn changes_since(&self, before: &Self) -> Option<String> {
        let names = |of: &[Column], without: &[Column]| {
            let names = of.iter().filter(|column| !without.contains(column));
            names.map(|column| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ")
        };
        let (come, gone) =
            (names(&self.columns, &before.columns), names(&before.columns, &self.columns));
        (!before.columns.is_empty() && self.columns != before.columns).then(|| {
            format!("{}.{}: new columns [{come}], removed columns [{gone}]", self.schema, self.name)
        })
    }
}

/// The position of a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChangePosition {
    /// Position of the transaction or the snapshot.
    pub(super) lsn: Lsn,
    /// Number of the change within it.
    pub(super) change: u64,
    /// `None` for a snapshot or a transaction without a name.
    pub(super) xid: Option<Xid>,
    /// Time of the commit or the snapshot, since 1970.
    pub(super) millis: i64,
}

/// A change of rows.
pub(super) enum Change {
    Snapshot(Row),
    Insert(Row),
    Update { old: Option<Old>, new: Row },
    Delete(Old),
    Truncate,
}

/// A batch in progress.
#[derive(Default)]
pub(super) struct Gather {
    builder: BatchBuilder,
    bytes: usize,
}

/// A batch to store in one write.
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) events: usize,
    /// Size of the bodies and of distinct headers.
    pub(super) bytes: usize,
}

impl Gather {
    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Returns whether the batch has reached its size limit.
    pub(super) fn is_full(&self, batch_bytes: usize, batch_bytes_max: Option<u64>) -> bool {
        let cut = batch_bytes_max.map(Cut::within);
        let bytes =
            cut.as_ref().map_or(batch_bytes as u64, |cut| cut.body_bytes.min(batch_bytes as u64));
        self.bytes as u64 >= bytes || cut.is_some_and(|cut| self.builder.len() as u64 >= cut.events)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// The row does not match the table.
    pub(super) fn push(
        &mut self,
        table: &Table,
        change: Change,
        at: ChangePosition,
    ) -> Result<(), String> {
        let mut object = Object::default();
        let mut before = None;
        let operation = match change {
            Change::Snapshot(row) => {
                object.fill(table, row, false)?;
                "snapshot"
            }
            Change::Insert(row) => {
                object.fill(table, row, false)?;
                "insert"
            }
            Change::Update { old, mut new } => {
                if let Some(old) = old {
                    if old.is_whole {
                        // The old row contains a long value that did not change.
                        for (new, old) in new.iter_mut().zip(&old.row) {
                            if *new == Cell::Unchanged {
                                new.clone_from(old);
                            }
                        }
                    }
                    let mut object = Object::default();
                    object.fill(table, old.row, !old.is_whole)?;
                    before = Some(object.json(table));
                }
                object.fill(table, new, false)?;
                "update"
            }
            Change::Delete(old) => {
                object.fill(table, old.row, !old.is_whole)?;
                "delete"
            }
            Change::Truncate => "truncate",
        };
        let body = object.json(table);
        let before = before.map(|json| String::from_utf8_lossy(&json).into_owned());
        let unchanged = object.unchanged.join(",");
        let [lsn, change, millis] =
            [at.lsn.to_string(), at.change.to_string(), at.millis.to_string()];
        let xid = at.xid.map(|xid| xid.to_string());
        let key = object.key.join(",");
        let mut headers: Vec<(&str, &str)> = vec![
            ("schema", &table.schema),
            ("table", &table.name),
            ("operation", operation),
            ("lsn", &lsn),
            ("change", &change),
            ("timestamp", &millis),
        ];
        headers.extend(xid.as_deref().map(|xid| ("xid", xid)));
        headers.extend((!object.key.is_empty()).then_some(("key", &*key)));
        headers.extend(before.as_deref().map(|before| ("old", before)));
        headers.extend((!unchanged.is_empty()).then_some(("unchanged", &*unchanged)));
        self.builder.push(&body, &headers);
        self.bytes += body.len() + headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        Ok(())
    }

    /// Finishes the batch and adds its end position.
    ///
    /// # Errors
    /// The position cannot be encoded.
    pub(super) fn finish(&mut self, source: &Arc<str>, state: &State) -> Result<Gathered, String> {
        let Self { builder, bytes } = std::mem::take(self);
        let events = builder.len();
        let mut batch = builder.finish();
        let value = serde_json::to_vec(state).map_err(|error| error.to_string())?;
        batch.envelope.positions = vec![SourcePosition {
            source: source.clone(),
            key: KEY.into(),
            value: Some(value.into()),
            after: None,
        }];
        Ok(Gathered { batch, events, bytes })
    }
}

/// Builds the body of an event.
#[derive(Default)]
struct Object {
    /// Columns with a value.
    columns: Vec<usize>,
    values: Vec<Value>,
    key: Vec<String>,
    /// Columns whose values were not sent.
    unchanged: Vec<String>,
}

impl Object {
    fn fill(&mut self, table: &Table, row: Row, key_alone: bool) -> Result<(), String> {
        if row.len() != table.columns.len() {
            return Err(format!(
                "a row of {}.{} has {} values, but the table has {} columns; the source restarts \
                 at its last position; if this repeats, report it as a bug",
                table.schema,
                table.name,
                row.len(),
                table.columns.len()
            ));
        }
        for (at, (cell, column)) in row.into_iter().zip(&table.columns).enumerate() {
            if key_alone && !column.is_key {
                continue;
            }
            let value = match cell {
                Cell::Null => Value::Null,
                Cell::Text(text) => column.meaning.value(text),
                Cell::Value(value) => value,
                Cell::Unchanged => {
                    self.unchanged.push(column.name.clone());
                    continue;
                }
            };
            if column.is_key {
                self.key.push(value.text());
            }
            self.columns.push(at);
            self.values.push(value);
        }
        Ok(())
    }

    fn json(&self, table: &Table) -> Vec<u8> {
        let mut body = Vec::new();
        if self.columns.is_empty() {
            return b"{}".to_vec();
        }
        if self.columns.len() == table.columns.len() {
            table.encoder.encode(&self.values, &mut body);
        } else {
            let names = self.columns.iter().map(|at| table.columns[*at].name.clone());
            let encoder = Encoder::new(Form::Json, &names.collect::<Vec<_>>());
            encoder.encode(&self.values, &mut body);
        }
        body
    }
}

/// The current transaction.
struct Transaction {
    at: ChangePosition,
    /// Number of its changes that are already stored; `None` for all.
    stored: Option<u64>,
}

/// Turns messages into events.
pub(super) struct Assembler {
    tables: HashMap<u64, Table>,
    transaction: Option<Transaction>,
    /// Exactly the transactions committed before this place have arrived.
    come: Lsn,
    /// Time of the last received commit, since 1970.
    pub(super) committed_millis: Option<i64>,
    /// The log, if a position is only valid in one log.
    pub(super) log: Option<Log>,
    state: State,
    pub(super) gather: Gather,
}

impl Assembler {
    /// Continues from the position in the channel.
    pub(super) fn new(state: State) -> Self {
        Self {
            tables: HashMap::new(),
            transaction: None,
            come: state.done,
            committed_millis: None,
            log: state.log.clone(),
            state,
            gather: Gather::default(),
        }
    }

    /// Adds or updates a table. Returns the change of its columns, if any.
    pub(super) fn relation(&mut self, id: u64, table: Table) -> Option<String> {
        let changes = self.tables.get(&id).and_then(|it| table.changes_since(it));
        self.tables.insert(id, table);
        changes
    }

    /// Starts a transaction, which was committed after all earlier ones.
    pub(super) fn begin(&mut self, commit: Lsn, millis: i64, xid: Option<Xid>) {
        let at = ChangePosition { lsn: commit, change: 0, xid, millis };
        self.transaction = Some(Transaction { at, stored: self.state.stored(commit) });
    }

    pub(super) fn commit(&mut self, end: Lsn) {
        self.committed_millis = self.transaction.take().map(|it| it.at.millis);
        self.come = self.come.max(end);
    }

    /// Records that everything before `end` has arrived.
    pub(super) fn alive(&mut self, end: Lsn) {
        if self.transaction.is_none() {
            self.come = self.come.max(end);
        }
    }

    /// Adds a change to the table with this number.
    ///
    /// # Errors
    /// The table or the transaction is unknown.
    pub(super) fn change(&mut self, relation: u64, change: Change) -> Result<(), String> {
        let Some(transaction) = &mut self.transaction else {
            return Err(
                "the server sent a change outside of a transaction; the source restarts at its \
                 last position; if this repeats, report it as a bug"
                    .to_owned(),
            );
        };
        let at = transaction.at;
        transaction.at.change += 1;
        if transaction.stored.is_none_or(|stored| at.change < stored) {
            return Ok(());
        }
        let table = self.tables.get(&relation);
        let table = table.ok_or_else(|| {
            format!(
                "the server sent a change of a table that it has not described (number \
                 {relation}); the source restarts at its last position; if this repeats, report it \
                 as a bug"
            )
        })?;
        self.gather.push(table, change, at)
    }

    /// Returns whether no transaction is in progress.
    pub(super) fn is_between(&self) -> bool {
        self.transaction.is_none()
    }

    /// Returns whether the channel does not yet have the current position.
    pub(super) fn has_news(&self) -> bool {
        self.is_between() && self.come > self.state.done
    }

    /// Returns the events so far, with their end position.
    ///
    /// # Errors
    /// Same as [`Gather::finish`].
    pub(super) fn flush(&mut self, source: &Arc<str>) -> Result<(Gathered, State), String> {
        let part = self.transaction.as_ref();
        let part = part.map(|it| Part { commit: it.at.lsn, changes: it.at.change });
        self.state.number += 1;
        (self.state.done, self.state.part) = (self.come, part);
        self.state.log.clone_from(&self.log);
        Ok((self.gather.finish(source, &self.state)?, self.state.clone()))
    }
}

#[cfg(test)]
mod tests;
