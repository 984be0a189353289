//! Reads a whole table once, in ranges, over several connections in parallel.
//!
//! ```text
//!   plan: the next range ends `fetch_size` rows further
//!     reader ──┐
//!     reader ──┼── pieces, a few at a time ──► stored one by one, with the rest of
//!     reader ──┘                               each open range
//! ```
//!
//! A reader that is done takes the next range, so that frequent keys and gaps do not slow down one
//! of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kit::follow::Puts;
use pipeline::{Intake, SourceError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::body::BodyEncoder;
use super::config::Options;
use super::gather::{Gathered, RowBatch};
use super::position::{self, Plan, Range, STATE, forgotten, numbered};
use super::query::{Statement, Table};
use super::rows::Rows;
use super::{Opened, Sql, failed, refused};
use crate::connection::Connection;
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::odbc::Odbc;
use crate::value::{Tuple, Value};

/// Rows of a range, and its progress.
struct Piece {
    range: u64,
    gathered: Gathered,
    /// Whether the range is complete.
    is_last: bool,
}

/// The remaining work.
#[derive(Default)]
struct Work {
    plan: Plan,
    /// Unfinished ranges of an earlier run.
    waiting: VecDeque<Range>,
    /// Open ranges.
    open: BTreeMap<u64, Range>,
    /// Open ranges that changed since the last write.
    changed: BTreeSet<u64>,
}

/// State shared by the readers.
struct Shared {
    work: Mutex<Work>,
    /// Held by the reader that determines the next range.
    planning: tokio::sync::Mutex<()>,
    options: Arc<Options>,
    table: Table,
    encoder: BodyEncoder,
    intake: Arc<dyn Intake>,
}

impl Work {
    /// Loads the state from a channel.
    fn load(plan: Plan, known: &[(Bytes, Bytes)]) -> Result<Self, String> {
        let mut work = Self { plan, ..Self::default() };
        for (number, _) in numbered(known, 'r') {
            let range: Option<Range> = position::read(known, &format!("r{number}"))?;
            if let Some(range) = range {
                work.waiting.push_back(range.clone());
                work.open.insert(number, range);
            }
        }
        Ok(work)
    }

    /// Records that the range of this number is read up to `last`, or completely.
    fn read(&mut self, number: u64, last: Option<Tuple>, is_last: bool) {
        self.changed.insert(number);
        if is_last {
            self.open.remove(&number);
        } else if let (Some(range), Some(last)) = (self.open.get_mut(&number), last) {
            range.after = Some(last);
        }
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next range; `None` if all rows are in ranges.
    async fn next(&self, connection: &mut Connection) -> Result<Option<Range>, SqlError> {
        let _planning = self.planning.lock().await;
        loop {
            let (in_nulls, end) = {
                let mut work = self.work();
                if let Some(range) = work.waiting.pop_front() {
                    return Ok(Some(range));
                }
                if work.plan.is_whole {
                    return Ok(None);
                }
                (work.plan.in_nulls, work.plan.end.clone())
            };
            let statement = self.table.boundary(in_nulls, end.as_ref(), self.options.fetch_size);
            let mut rows = Rows::of(connection, &self.options.target, &statement).await?;
            let until = rows.next().await?.map(|row| self.table.tuple(in_nulls, row));
            let mut work = self.work();
            match until {
                Some(until) => {
                    let number = work.plan.next;
                    let range = Range { number, in_nulls, after: end, until: Some(until.clone()) };
                    work.plan.next += 1;
                    work.plan.end = Some(until);
                    work.open.insert(number, range.clone());
                    work.changed.insert(number);
                    return Ok(Some(range));
                }
                None if self.options.has_nulls && !in_nulls => {
                    work.plan.in_nulls = true;
                    work.plan.values_end = work.plan.end.take();
                }
                None => work.plan.is_whole = true,
            }
        }
    }

    /// Reads one range after the other.
    async fn read(
        &self,
        mut connection: Connection,
        pieces: mpsc::Sender<Piece>,
    ) -> Result<(), SqlError> {
        while let Some(range) = self.next(&mut connection).await? {
            let (mut after, rows_max) = (range.after.clone(), self.options.fetch_size);
            loop {
                let statement = self.table.range(&range, after.as_ref(), rows_max);
                let mut rows = Rows::of(&mut connection, &self.options.target, &statement).await?;
                let (mut gather, mut found) = (RowBatch::default(), 0);
                while let Some(mut row) = rows.row(&self.table).await? {
                    found += 1;
                    // In the NULL ranges, the first column is not part of the order.
                    let order = row.order.split_off(usize::from(range.in_nulls));
                    row.order = order;
                    gather.push(row, &self.options, &self.encoder)?;
                    if gather.is_full(&self.options, self.intake.batch_bytes_max()) {
                        after.clone_from(&gather.last);
                        let gathered = gather.finish();
                        let piece = Piece { range: range.number, gathered, is_last: false };
                        if pieces.send(piece).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                if let Some(last) = &gather.last {
                    after = Some(last.clone());
                }
                let is_last = found < rows_max || after == range.until;
                let piece = Piece { range: range.number, gathered: gather.finish(), is_last };
                if pieces.send(piece).await.is_err() {
                    return Ok(());
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Sql {
    /// Reads the rest of the table. Returns when everything is stored.
    ///
    /// # Errors
    /// An error of the database or the channels.
    pub(super) async fn import(
        &mut self,
        opened: Opened,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        let Opened { connection, table, encoder, mut state, known, intake, .. } = opened;
        if state.plan.is_done {
            return Ok(());
        }
        let work = Work::load(state.plan.clone(), &known).map_err(refused)?;
        let connections = self.snapshot(connection).await.map_err(failed)?;
        let shared = Arc::new(Shared {
            work: Mutex::new(work),
            planning: tokio::sync::Mutex::default(),
            options: self.options.clone(),
            table,
            encoder,
            intake,
        });
        let (send, mut pieces) = mpsc::channel(1);
        let mut readers = JoinSet::new();
        for connection in connections {
            let (shared, send) = (shared.clone(), send.clone());
            readers.spawn(async move { shared.read(connection, send).await });
        }
        drop(send);
        while let Some(Piece { range, gathered, is_last }) = pieces.recv().await {
            shared.work().read(range, gathered.last.clone(), is_last);
            self.keep(&mut state, &shared, gathered, puts).await?;
        }
        while let Some(ended) = readers.join_next().await {
            match ended {
                Ok(ended) => ended.map_err(failed)?,
                Err(error) => {
                    return Err(refused(format!(
                        "a task that reads a range of rows failed: {error}; the source restarts; \
                         report this as a bug"
                    )));
                }
            }
        }
        shared.work().plan.is_done = true;
        self.keep(&mut state, &shared, RowBatch::default().finish(), puts).await?;
        self.at_end();
        tracing::info!(source = %self.name, "the import is complete: all rows are stored");
        Ok(())
    }

    /// Stores a batch with the remaining work, in one write.
    async fn keep(
        &mut self,
        state: &mut super::State,
        shared: &Shared,
        mut gathered: Gathered,
        puts: &mut Puts,
    ) -> Result<(), SourceError> {
        state.number += 1;
        let positions: &mut Vec<_> = &mut gathered.batch.envelope.positions;
        {
            let mut work = shared.work();
            state.plan = work.plan.clone();
            for number in std::mem::take(&mut work.changed) {
                let key = format!("r{number}");
                positions.push(match work.open.get(&number) {
                    Some(range) => position::stored(&self.name, &key, range).map_err(refused)?,
                    None => forgotten(&self.name, &key),
                });
            }
            self.ranges_open.set(work.open.len() as f64);
        }
        positions.push(position::stored(&self.name, STATE, state).map_err(refused)?);
        self.put(gathered, puts).await;
        Ok(())
    }

    /// Opens connections that share a snapshot, if the database supports it.
    async fn snapshot(&self, mut first: Connection) -> Result<Vec<Connection>, SqlError> {
        let (target, splits) = (&self.options.target, self.options.splits);
        let mut id = None;
        begin_snapshot(&mut first, target).await?;
        if first.dialect() == Dialect::Postgres && splits > 1 {
            let text = "SELECT pg_export_snapshot()".to_owned();
            let statement = Statement { text, parameters: Vec::new() };
            let mut rows = Rows::of(&mut first, target, &statement).await?;
            id = rows.next().await?.and_then(|row| row.first().map(Value::text));
        }
        let mut connections = vec![first];
        for _ in 1..splits {
            let mut next = Connection::open(target).await?;
            begin_snapshot(&mut next, target).await?;
            if let Some(id) = &id {
                let join = format!("SET TRANSACTION SNAPSHOT '{}'", id.replace('\'', "''"));
                next.batch(target, &join).await?;
            }
            connections.push(next);
        }
        Ok(connections)
    }
}

/// How a MySQL session starts a snapshot.
const OF_MYSQL: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
];

/// Starts a snapshot on the connection, if the database supports it.
///
/// # Errors
/// The database rejects it, or does not answer.
pub(super) async fn begin_snapshot(
    connection: &mut Connection,
    target: &Target,
) -> Result<(), SqlError> {
    if let Connection::Odbc(odbc) = connection {
        return begin_snapshot_by_odbc(odbc, target).await;
    }
    match connection.dialect() {
        Dialect::Postgres => {
            connection.batch(target, "SET idle_in_transaction_session_timeout = 0").await?;
            connection.batch(target, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
        }
        Dialect::Mysql => connection.batch(target, &OF_MYSQL.join("; ")).await,
        _ => Ok(()),
    }
}

/// Same over ODBC, where the driver controls transactions and runs one statement at a time.
async fn begin_snapshot_by_odbc(odbc: &mut Odbc, target: &Target) -> Result<(), SqlError> {
    match odbc.dialect {
        Dialect::Postgres => {
            odbc.run(target, "SET idle_in_transaction_session_timeout = 0").await?;
            odbc.call(target, |session| session.begin()).await?;
            odbc.run(target, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await
        }
        Dialect::Oracle => {
            odbc.call(target, |session| session.begin()).await?;
            odbc.run(target, "SET TRANSACTION READ ONLY").await
        }
        Dialect::Mysql => {
            for statement in OF_MYSQL {
                odbc.run(target, statement).await?;
            }
            Ok(())
        }
        Dialect::Sqlite | Dialect::SqlServer | Dialect::Standard => Ok(()),
    }
}
