//! A connection of the sink: statements with values, and rows written by a plan.

mod put;
mod transaction;

use std::collections::HashMap;

use bytes::Bytes;
use futures::SinkExt;
use futures::future::BoxFuture;
use mysql_async::prelude::Queryable;
use mysql_async::{DriverError, Params};
use pipeline::{Classify, ErrorClass};
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::bound::{
    copy_text, of_mysql, of_odbc, of_postgres, of_sqlite, text_of, to_mysql, to_odbc,
};
use super::config::Mode;
use super::row::Row;
use super::statements::Plan;
use super::value::Value;
use crate::connection::{Connection, Postgres};
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;

/// Maximum number of prepared statements per PostgreSQL connection.
const PREPARED_MAX: usize = 64;

/// Rows per chunk of `COPY` text.
const COPY_ROWS: usize = 500;

/// A connection with its state.
pub(super) struct Session {
    connection: Connection,
    target: Target,
    prepared: HashMap<String, Statement>,
    /// Whether transactions prevent procedures from committing.
    guards_commits: bool,
}

/// Why rows were not written. The statement had no effect, except that SQLite and updates may have
/// written earlier rows, which the savepoint rolls back.
#[derive(Debug)]
pub(super) struct RowError {
    /// The first row that was not written, if known.
    pub(super) at: Option<usize>,
    pub(super) cause: Cause,
}

/// Why a row was not written.
#[derive(Debug)]
pub(super) enum Cause {
    /// The database rejected it, or failed.
    Sql(SqlError),
    /// No row has its key.
    NoRow,
    /// Its text contains NUL.
    Nul,
}

impl From<SqlError> for RowError {
    fn from(error: SqlError) -> Self {
        Self { at: None, cause: Cause::Sql(error) }
    }
}

impl Cause {
    /// Returns whether an error concerns rows, so that other rows may be written.
    pub(super) fn is_of_rows(error: &SqlError) -> bool {
        error.class() == ErrorClass::Poison
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The address is the same for all rows.
            Self::Sql(SqlError::Refused { code, problem, .. }) => {
                write!(f, "the database rejects the row with error {code}: {problem}")
            }
            Self::Sql(error) => error.fmt(f),
            Self::NoRow => f.write_str(
                "no row of the table has this key, and `mode = \"update\"` adds none; insert the \
                 row, or set `mode = \"upsert\"`",
            ),
            Self::Nul => f.write_str(
                "a text contains a NUL character, which ODBC does not support; remove it at the \
                 sender",
            ),
        }
    }
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) async fn open(target: &Target) -> Result<Self, SqlError> {
        let mut connection = connected(target).await?;
        // Avoid gap locks, on which transactions of other origins would wait.
        let level = match connection.dialect() {
            Dialect::Mysql => Some("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            Dialect::SqlServer => Some("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"),
            _ => None,
        };
        if let Some(level) = level {
            connection.batch(target, level).await?;
        }
        Ok(Self {
            connection,
            target: target.clone(),
            prepared: HashMap::new(),
            guards_commits: false,
        })
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    /// Returns whether this is an ODBC connection.
    pub(super) fn is_odbc(&self) -> bool {
        self.connection.is_odbc()
    }

    /// Returns what the text of a statement depends on.
    pub(super) fn way(&self) -> (Dialect, bool) {
        (self.dialect(), self.is_odbc())
    }

    /// Runs statements without values.
    ///
    /// # Errors
    /// One of them failed.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), SqlError> {
        self.connection.batch(&self.target, sql).await
    }

    /// Runs a statement with values: `$1` … for the PostgreSQL client, `?` for the others. Returns
    /// the number of affected rows.
    ///
    /// # Errors
    /// The statement failed.
    pub(super) async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<u64, SqlError> {
        let target = &self.target;
        match &mut self.connection {
            Connection::Postgres(postgres) => {
                let failed = |error| SqlError::postgres(&target.address, &error);
                let statement = prepared(postgres, &mut self.prepared, sql).await;
                let statement = statement.map_err(failed)?;
                postgres.client.execute(&statement, &bound(&values)).await.map_err(failed)
            }
            Connection::Mysql(mysql) => {
                let done = asked(mysql, sql.to_owned(), parameters(sql, values)).await;
                done.map_err(|error| SqlError::mysql(&target.address, &error))?;
                Ok(mysql.affected_rows())
            }
            Connection::Sqlite(sqlite) => {
                let sql = sql.to_owned();
                let done = sqlite.call(target, move |connection| {
                    connection.execute(&sql, rusqlite::params_from_iter(values))
                });
                Ok(done.await? as u64)
            }
            Connection::Odbc(odbc) => {
                let (sql, limit) = (sql.to_owned(), target.statement_timeout);
                let values: Vec<_> = values.into_iter().map(to_odbc).collect();
                let done = odbc.call(target, move |it| it.execute(&sql, &values, limit));
                Ok(done.await?.unwrap_or(0))
            }
        }
    }

    /// Runs a query with values. Returns rows of numbers, text and bytes.
    ///
    /// # Errors
    /// The query failed.
    pub(super) async fn query(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Vec<Value>>, SqlError> {
        let target = &self.target;
        match &mut self.connection {
            Connection::Postgres(postgres) => {
                let failed = |error| SqlError::postgres(&target.address, &error);
                let statement = prepared(postgres, &mut self.prepared, sql).await;
                let statement = statement.map_err(failed)?;
                let rows = postgres.client.query(&statement, &bound(&values)).await;
                let rows = rows.map_err(failed)?;
                rows.iter().map(of_postgres).collect::<Result<_, _>>().map_err(failed)
            }
            Connection::Mysql(mysql) => {
                let rows = asked(mysql, sql.to_owned(), parameters(sql, values)).await;
                let rows = rows.map_err(|error| SqlError::mysql(&target.address, &error))?;
                Ok(rows.into_iter().map(of_mysql).collect())
            }
            Connection::Sqlite(sqlite) => {
                let sql = sql.to_owned();
                let asked = sqlite.call(target, move |connection| {
                    let mut statement = connection.prepare(&sql)?;
                    let columns = statement.column_count();
                    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                    let mut found = Vec::new();
                    while let Some(row) = rows.next()? {
                        let values = (0..columns).map(|at| row.get_ref(at).map(of_sqlite));
                        found.push(values.collect::<Result<Vec<_>, _>>()?);
                    }
                    Ok(found)
                });
                asked.await
            }
            Connection::Odbc(odbc) => {
                let (sql, limit) = (sql.to_owned(), target.statement_timeout);
                let values: Vec<_> = values.into_iter().map(to_odbc).collect();
                let asked = odbc.call(target, move |it| {
                    let mut found = Vec::new();
                    it.query(&sql, &values, limit, &mut |row| {
                        found.push(row.into_iter().map(of_odbc).collect());
                        true
                    })?;
                    Ok(found)
                });
                asked.await
            }
        }
    }

    /// Inserts rows with the same columns by `COPY`. Only plans for PostgreSQL use it.
    ///
    /// # Errors
    /// No row was written: roll back to the savepoint.
    pub(super) async fn copy(&mut self, plan: &Plan, rows: &[Row]) -> Result<(), SqlError> {
        let (Connection::Postgres(postgres), Some(first)) = (&mut self.connection, rows.first())
        else {
            return Ok(());
        };
        let address = self.target.address.clone();
        let failed = |error| SqlError::postgres(&address, &error);
        let sql = plan.copy(&first.columns);
        let statement = prepared(postgres, &mut self.prepared, &sql).await.map_err(failed)?;
        let copying = postgres.client.copy_in::<_, Bytes>(&statement).await.map_err(failed)?;
        let mut copying = Box::pin(copying);
        for rows in rows.chunks(COPY_ROWS) {
            let mut text = Vec::new();
            copy_text(rows, &mut text);
            copying.feed(text.into()).await.map_err(failed)?;
        }
        copying.as_mut().finish().await.map(drop).map_err(failed)
    }

    /// Writes rows with the same columns, according to the plan.
    ///
    /// # Errors
    /// Not all rows were written: roll back to the savepoint.
    pub(super) async fn put(&mut self, plan: &Plan, rows: &[Row]) -> Result<(), RowError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let sql = plan.statement(&first.columns, rows.len());
        let order = plan.order(&first.columns);
        let of = |row: &Row| -> Vec<Value> {
            order.iter().map(|column| row.value(*column).cloned().unwrap_or(Value::Null)).collect()
        };
        let target = &self.target;
        match &mut self.connection {
            Connection::Postgres(postgres) => {
                let failed = |error| SqlError::postgres(&target.address, &error);
                let columns: Vec<Vec<Option<String>>> = (0..first.columns.len())
                    .map(|at| rows.iter().map(|row| row.values.get(at).and_then(text_of)).collect())
                    .collect();
                let values: Vec<_> =
                    columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect();
                let statement = prepared(postgres, &mut self.prepared, &sql).await;
                let statement = statement.map_err(failed)?;
                if plan.mode == Mode::Call {
                    return put::calls_of_postgres(postgres, target, &statement, rows).await;
                }
                if plan.mode != Mode::Update {
                    postgres.client.execute(&statement, &values).await.map_err(failed)?;
                    return Ok(());
                }
                let done = postgres.client.query_one(&statement, &values).await.map_err(failed)?;
                let done: i64 = done.try_get(0).map_err(failed)?;
                match usize::try_from(done) == Ok(rows.len()) {
                    true => Ok(()),
                    false => Err(RowError { at: None, cause: Cause::NoRow }),
                }
            }
            Connection::Mysql(mysql) if !matches!(plan.mode, Mode::Update | Mode::Call) => {
                let values = rows.iter().flat_map(of).map(to_mysql).collect();
                let put = asked(mysql, sql, Params::Positional(values)).await.map(drop);
                put.map_err(|error| of_rows(target, &error).into())
            }
            Connection::Mysql(mysql) => {
                for (at, row) in rows.iter().enumerate() {
                    let values = Params::Positional(of(row).into_iter().map(to_mysql).collect());
                    let put = asked(mysql, sql.clone(), values).await;
                    put.map_err(|error| {
                        let cause = Cause::Sql(of_rows(target, &error));
                        RowError { at: Some(at), cause }
                    })?;
                    // An unchanged row counts as matched, but not as affected.
                    let is_update = plan.mode == Mode::Update;
                    if is_update && mysql.affected_rows() == 0 && matched(&mysql.info()) == 0 {
                        return Err(RowError { at: Some(at), cause: Cause::NoRow });
                    }
                }
                Ok(())
            }
            Connection::Sqlite(sqlite) => {
                let sql = plan.statement(&first.columns, 1);
                put::by_sqlite(sqlite, target, plan.mode, sql, rows.iter().map(of).collect()).await
            }
            Connection::Odbc(odbc) => {
                if let Some(at) = rows.iter().position(Row::has_nul) {
                    return Err(RowError { at: Some(at), cause: Cause::Nul });
                }
                let rows = rows.iter().map(|row| plan.bound(of(row)).map(to_odbc).collect());
                put::by_odbc(odbc, target, plan.mode, sql, rows.collect()).await
            }
        }
    }
}

/// Converts values for the PostgreSQL client.
fn bound(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// Converts values for the MySQL client.
fn parameters(sql: &str, values: Vec<Value>) -> Params {
    match sql.contains('?') {
        true => Params::Positional(values.into_iter().map(to_mysql).collect()),
        false => Params::Empty,
    }
}

/// Boxed, because the compiler cannot prove that longer futures with it are `Send`.
fn connected(target: &Target) -> BoxFuture<'_, Result<Connection, SqlError>> {
    Box::pin(Connection::open(target))
}

/// Boxed for the same reason.
fn asked(
    mysql: &mut mysql_async::Conn,
    sql: String,
    values: Params,
) -> BoxFuture<'_, mysql_async::Result<Vec<mysql_async::Row>>> {
    mysql.exec(sql, values)
}

async fn prepared(
    postgres: &Postgres,
    known: &mut HashMap<String, Statement>,
    sql: &str,
) -> Result<Statement, tokio_postgres::Error> {
    if let Some(statement) = known.get(sql) {
        return Ok(statement.clone());
    }
    let statement = postgres.client.prepare(sql).await?;
    if known.len() >= PREPARED_MAX {
        known.clear();
    }
    known.insert(sql.to_owned(), statement.clone());
    Ok(statement)
}

/// A row larger than a packet is rejected; the connection is fine.
fn of_rows(target: &Target, error: &mysql_async::Error) -> SqlError {
    match error {
        mysql_async::Error::Driver(DriverError::PacketTooLarge) => SqlError::Refused {
            address: target.address.clone(),
            code: "1153".to_owned(),
            problem: "the row exceeds `max_allowed_packet` of the server; raise it there"
                .to_owned(),
            class: ErrorClass::Poison,
        },
        _ => SqlError::mysql(&target.address, error),
    }
}

/// Returns how many rows an update matched: `Rows matched: 1  Changed: 0  Warnings: 0`.
fn matched(info: &str) -> u64 {
    let number = info.split(':').nth(1).and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
