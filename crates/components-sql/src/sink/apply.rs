//! A batch in one transaction: its rows, and its identity in the ledger.
//!
//! ```text
//!   BEGIN
//!     row of the origin, locked ──► known? nothing is done
//!     SAVEPOINT ─ rows of one statement ─ RELEASE        …for all rows
//!            └─ refused: back to the savepoint; the row that is named is taken out, else halves;
//!               rows of a COPY go by statements with values then
//!     row of the origin, with the batch
//!   COMMIT ── not answered: the ledger is asked on another connection
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
use super::session::{Cause, Session, Unput};
use super::statements::Plan;
use super::table::Table;
use super::{REFUSED, UNWRITABLE};
use crate::error::SqlError;

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Applied {
    /// It is applied, but for what was refused.
    Now { delivered: Delivered, rows: usize },
    /// It was applied before.
    Before(Delivered),
    /// It is of an epoch that is closed.
    Closed,
}

/// What is read of a batch.
#[derive(Default)]
struct Read {
    rows: Vec<Row>,
    /// The events that the rows are of.
    places: Vec<usize>,
    unwritable: Refused,
}

/// How batches are applied: what the settings and the table say.
pub(super) struct Way {
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) plan: Plan,
}

impl Way {
    /// Applies a batch. When this fails, or is dropped midway, the session is of no more use: what
    /// it has begun is rolled back with its connection.
    ///
    /// # Errors
    /// It is not applied; with [`SinkProblem::Unclear`] it may be.
    pub(super) async fn apply(
        &self,
        session: &mut Session,
        (ledger, reading): (&Ledger, &Reading),
        batch: &Batch,
        key: Option<Identity>,
        floors: &FloorBoard,
    ) -> Result<Applied, SinkProblem> {
        // In front of the lock: meanwhile the batch before goes on.
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
            // To ask what is closed looks into all channels.
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

    /// The rows of a batch.
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
    /// The row is a call that lacks a parameter.
    fn callable(&self, row: Row) -> Result<Row, String> {
        if self.plan.mode != Mode::Call {
            return Ok(row);
        }
        match self.table.lacking(&self.plan.targets, &row) {
            None => Ok(row),
            Some(name) => Err(format!("the parameter `{name}` has no value, and no default")),
        }
    }

    /// Puts the rows of a batch; what is refused of it, and how many are put.
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
        // By the rules of a table that is another one meanwhile, these may be good.
        let is_whole = refused.is_empty() && unwritable.is_empty();
        if !is_whole && Table::of(session, &self.name, self.plan.mode).await? != self.table {
            return Err(SinkProblem::Changed);
        }
        let reason = if refused.is_empty() { UNWRITABLE } else { REFUSED };
        refused.append(&mut unwritable);
        Ok((all_but(refused, reason), put))
    }
}

/// Puts all rows but those that the database refuses by themselves, in their order; the places of
/// those, with the reasons. A row is put again at most as often as rows near it are refused, so
/// that statements grow with the refused rows and not with all.
async fn put_all(session: &mut Session, plan: &Plan, rows: &[Row]) -> Result<Refused, SqlError> {
    let mut refused = Refused::new();
    // The last one is next.
    let mut todo: Vec<Range<usize>> = Vec::new();
    // Rows in front of this one were not taken by COPY.
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
        if let Err(Unput { at, cause }) = result {
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

/// Puts rows by `COPY`: all of them or none. Whether the database takes them.
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
