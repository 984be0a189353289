//! Applies a batch in one transaction: its rows, and its identity in the ledger.
//!
//! ```text
//!   BEGIN
//!     row of the origin, locked ──► known? done
//!     SAVEPOINT ─ rows of one statement ─ RELEASE        …for all rows
//!            └─ rejected: back to the savepoint; remove the named row, or split in halves;
//!               rows of a COPY then use statements with values
//!     row of the origin, with the batch
//!   COMMIT ── not answered: ask the ledger on another connection
//! ```

use std::ops::Range;

use kit::record::Known;
use kit::refused::{Refused, all_but};
use peers::FloorBoard;
use pipeline::deliver::Delivered;
use pipeline::{Batch, Floors, Identity};

use super::config::Mode;
use super::ledger::Ledger;
use super::problem::SinkProblem;
use super::row::{Reader, Reading, Row};
use super::session::{Cause, RowError, Session};
use super::statements::Plan;
use super::table::Table;
use super::{REFUSED, UNWRITABLE};
use crate::error::SqlError;

/// Result of a batch.
#[derive(Debug)]
pub(super) enum Applied {
    /// Applied, except for rejected rows.
    Now { delivered: Delivered, rows: usize },
    /// Already applied before.
    Before(Delivered),
    /// Its epoch is closed.
    Closed,
}

/// The rows of a batch.
#[derive(Default)]
struct Read {
    rows: Vec<Row>,
    /// The event index of each row.
    places: Vec<usize>,
    unwritable: Refused,
}

/// How to apply batches, according to the settings and the table.
pub(super) struct ApplyPlan {
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) plan: Plan,
}

impl ApplyPlan {
    /// Applies a batch. After an error or a cancellation, do not use the session again: closing its
    /// connection rolls back the transaction.
    ///
    /// # Errors
    /// The batch is not applied; with [`SinkProblem::Unclear`] it may be.
    pub(super) async fn apply(
        &self,
        session: &mut Session,
        (ledger, reading): (&Ledger, &Reading),
        batch: &Batch,
        key: Option<Identity>,
        floors: &FloorBoard,
    ) -> Result<Applied, SinkProblem> {
        // Before the lock, so that the previous batch can continue in the meantime.
        let read = self.read(reading, batch);
        session.begin().await?;
        let mut record = None;
        if let Some(key) = key {
            let found = ledger.lock(session, key.origin).await?;
            let before = match found.knows(key) {
                Known::New => None,
                Known::Applied => Some(Applied::Before(ledger.delivered(session, key).await?)),
                Known::Closed => Some(Applied::Closed),
            };
            if let Some(before) = before {
                session.rollback().await?;
                return Ok(before);
            }
            record = Some((key, found));
        }
        let (delivered, rows) = self.rows(session, read).await?;
        if let Some((key, record)) = &mut record {
            // Finding out the closed epochs asks all channels.
            let floors =
                if record.can_forget(*key) { floors.declarable() } else { Floors::default() };
            record.add(*key, &floors);
            ledger.write(session, *key, record, rows, &delivered).await?;
        }
        match session.commit().await {
            Ok(()) => Ok(Applied::Now { delivered, rows }),
            Err(error @ (SqlError::Broken { .. } | SqlError::Silent { .. })) => {
                Err(SinkProblem::Unclear(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the rows of a batch.
    fn read(&self, reading: &Reading, batch: &Batch) -> Read {
        let mut reader = Reader::new(reading, &self.plan.targets, &self.plan.key);
        let mut read = Read::default();
        for event in batch.iter() {
            match reader.row(event).and_then(|row| self.callable(row)) {
                Ok(row) => {
                    read.places.push(event.index());
                    read.rows.push(row);
                }
                Err(problem) => read.unwritable.push((event.index(), problem)),
            }
        }
        read
    }

    /// # Errors
    /// The row is a call without a required parameter.
    fn callable(&self, row: Row) -> Result<Row, String> {
        if self.plan.mode != Mode::Call {
            return Ok(row);
        }
        match self.table.lacking(&self.plan.targets, &row) {
            None => Ok(row),
            Some(name) => Err(format!("the parameter `{name}` has neither a value nor a default")),
        }
    }

    /// Writes the rows of a batch. Returns the rejected ones, and how many were written.
    async fn rows(
        &self,
        session: &mut Session,
        read: Read,
    ) -> Result<(Delivered, usize), SinkProblem> {
        let Read { places, rows, mut unwritable } = read;
        let mut refused: Refused = put_all(session, &self.plan, &rows)
            .await?
            .into_iter()
            .map(|(place, problem)| (places[place], problem))
            .collect();
        let put = rows.len() - refused.len();
        // If the table has changed in the meantime, these rows may be valid.
        let is_whole = refused.is_empty() && unwritable.is_empty();
        if !is_whole && Table::of(session, &self.name, self.plan.mode).await? != self.table {
            return Err(SinkProblem::Changed);
        }
        let reason = if refused.is_empty() { UNWRITABLE } else { REFUSED };
        refused.append(&mut unwritable);
        Ok((all_but(refused, reason), put))
    }
}

/// Writes all rows except those that the database rejects, in order. Returns the rejected rows with
/// the reasons. A row is repeated at most as often as rows near it are rejected, so that the number
/// of statements grows with the rejected rows only.
async fn put_all(session: &mut Session, plan: &Plan, rows: &[Row]) -> Result<Refused, SqlError> {
    let mut refused = Refused::new();
    // The last range is next.
    let mut todo: Vec<Range<usize>> = Vec::new();
    // COPY rejected rows before this index.
    let mut valued = 0;
    if !rows.is_empty() {
        todo.push(0..rows.len());
    }
    while let Some(mut range) = todo.pop() {
        let copied = if range.start < valued { 0 } else { plan.copied(&rows[range.clone()]) };
        if copied > 0 {
            todo.push(range.start + copied..range.end);
            range.end = range.start + copied;
            if !copy(session, plan, &rows[range.clone()]).await? {
                valued = range.end;
                todo.push(range);
            }
            todo.retain(|range| !range.is_empty());
            continue;
        }
        let end = range.start + plan.fit(&rows[range.clone()]);
        if end < range.end {
            todo.push(end..range.end);
            range.end = end;
        }
        session.save().await?;
        let result = session.put(plan, &rows[range.clone()]).await;
        if let Err(RowError { at, cause }) = result {
            let cause = match cause {
                Cause::Sql(error) if !Cause::is_of_rows(&error) => return Err(error),
                cause => cause,
            };
            session.back().await?;
            match at.or((range.len() == 1).then_some(0)) {
                Some(at) => {
                    let at = range.start + at;
                    refused.push((at, cause.to_string()));
                    todo.push(at + 1..range.end);
                    todo.push(range.start..at);
                }
                None => {
                    let middle = range.start + range.len() / 2;
                    todo.push(middle..range.end);
                    todo.push(range.start..middle);
                }
            }
            todo.retain(|range| !range.is_empty());
        }
        session.release().await?;
    }
    Ok(refused)
}

/// Writes rows by `COPY`: all or none. Returns whether the database accepted them.
async fn copy(session: &mut Session, plan: &Plan, rows: &[Row]) -> Result<bool, SqlError> {
    session.save().await?;
    let is_taken = match session.copy(plan, rows).await {
        Ok(()) => true,
        Err(error) if Cause::is_of_rows(&error) => {
            session.back().await?;
            false
        }
        Err(error) => return Err(error),
    };
    session.release().await?;
    Ok(is_taken)
}
