//! Writes rows one by one, or over ODBC.

use futures::future::join_all;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

use super::{Cause, RowError};
use crate::connection::{Postgres, Sqlite};
use crate::database::Target;
use crate::error::SqlError;
use crate::odbc::Odbc;
use crate::sink::bound::text_of;
use crate::sink::config::Mode;
use crate::sink::row::Row;
use crate::sink::value::Value;

/// Calls a PostgreSQL procedure with each of these rows, in order. Pipelines the calls.
///
/// # Errors
/// The first row that failed; later rows are not written either.
pub(super) async fn calls_of_postgres(
    postgres: &Postgres,
    target: &Target,
    statement: &Statement,
    rows: &[Row],
) -> Result<(), RowError> {
    let texts: Vec<Vec<Option<String>>> =
        rows.iter().map(|row| row.values.iter().map(text_of).collect()).collect();
    let calls = texts.iter().map(|row| async move {
        let values: Vec<_> = row.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        postgres.client.execute(statement, &values).await
    });
    for (at, called) in join_all(calls).await.into_iter().enumerate() {
        called.map_err(|error| {
            let cause = Cause::Sql(SqlError::postgres(&target.address, &error));
            RowError { at: Some(at), cause }
        })?;
    }
    Ok(())
}

/// Writes rows to SQLite, one after the other.
///
/// # Errors
/// The row that failed.
pub(super) async fn by_sqlite(
    sqlite: &Sqlite,
    target: &Target,
    mode: Mode,
    sql: String,
    rows: Vec<Vec<Value>>,
) -> Result<(), RowError> {
    let address = target.address.clone();
    let put = sqlite.call(target, move |connection| {
        let mut statement = connection.prepare(&sql)?;
        for (at, row) in rows.into_iter().enumerate() {
            let cause = match statement.execute(rusqlite::params_from_iter(row)) {
                Ok(0) if mode == Mode::Update => Cause::NoRow,
                Ok(_) => continue,
                Err(error) => Cause::Sql(SqlError::sqlite(&address, &error)),
            };
            return Ok(Err(RowError { at: Some(at), cause }));
        }
        Ok(Ok(()))
    });
    put.await?
}

/// Writes rows over ODBC: all with one statement, except updates, which each report whether the row
/// exists.
///
/// # Errors
/// No row was written, or the missing row of an update.
pub(super) async fn by_odbc(
    odbc: &mut Odbc,
    target: &Target,
    mode: Mode,
    sql: String,
    rows: Vec<Vec<::odbc::Value>>,
) -> Result<(), RowError> {
    let limit = target.statement_timeout;
    let put = odbc.call(target, move |session| {
        if mode != Mode::Update {
            let values: Vec<_> = rows.into_iter().flatten().collect();
            return session.execute(&sql, &values, limit).map(|_| Ok(()));
        }
        for (at, row) in rows.iter().enumerate() {
            if session.execute(&sql, row, limit)? == Some(0) {
                return Ok(Err(RowError { at: Some(at), cause: Cause::NoRow }));
            }
        }
        Ok(Ok(()))
    });
    put.await?
}
