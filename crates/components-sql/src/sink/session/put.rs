//! Rows that are put row by row, or by a driver of ODBC.

use super::{Cause, Unput};
use crate::connection::Sqlite;
use crate::database::Target;
use crate::error::SqlError;
use crate::odbc::Odbc;
use crate::sink::config::Mode;
use crate::sink::value::Value;

/// Puts rows into SQLite, one after the other.
///
/// # Errors
/// Which row is not put.
pub(super) async fn by_sqlite(
    sqlite: &Sqlite,
    target: &Target,
    mode: Mode,
    sql: String,
    rows: Vec<Vec<Value>>,
) -> Result<(), Unput> {
    let address = target.address.clone();
    let put = sqlite.call(target, move |connection| {
        let mut statement = connection.prepare(&sql)?;
        for (at, row) in rows.into_iter().enumerate() {
            let cause = match statement.execute(rusqlite::params_from_iter(row)) {
                Ok(0) if mode == Mode::Update => Cause::NoRow,
                Ok(_) => continue,
                Err(error) => Cause::Sql(SqlError::sqlite(&address, &error)),
            };
            return Ok(Err(Unput { at: Some(at), cause }));
        }
        Ok(Ok(()))
    });
    put.await?
}

/// Puts rows by ODBC: all by one statement, but for updates, of which each says whether there was a
/// row.
///
/// # Errors
/// None of them is put, or which row is not there.
pub(super) async fn by_odbc(
    odbc: &mut Odbc,
    target: &Target,
    mode: Mode,
    sql: String,
    rows: Vec<Vec<::odbc::Value>>,
) -> Result<(), Unput> {
    let limit = target.statement_timeout;
    let put = odbc.call(target, move |session| {
        if mode != Mode::Update {
            let values: Vec<_> = rows.into_iter().flatten().collect();
            return session.execute(&sql, &values, limit).map(|_| Ok(()));
        }
        for (at, row) in rows.iter().enumerate() {
            if session.execute(&sql, row, limit)? == Some(0) {
                return Ok(Err(Unput { at: Some(at), cause: Cause::NoRow }));
            }
        }
        Ok(Ok(()))
    });
    put.await?
}
