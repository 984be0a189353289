//! Answers questions of an operator: the result of a statement, tables, databases. Values are text.

use std::sync::Arc;

use futures::TryStreamExt;
use mysql_async::prelude::Queryable;
use pipeline::{BuildContext, SourceError};
use tokio_postgres::SimpleQueryMessage as Message;

use super::config::Config;
use super::failed;
use super::query::Statement;
use super::rows::Rows;
use super::survey::wrong;
use crate::connection::{Connection, Postgres, Sqlite};
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::mysql;
use crate::value::Value;

/// Maximum number of rows of an answer.
pub const ANSWER_ROWS_MAX: usize = 10_000;

/// A question to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// The result of this statement, which may change the database.
    Statement(&'a str),
    /// The tables of the current schema, without views.
    Tables,
    /// The databases of the server.
    Databases,
}

/// The result of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Names of the columns. Empty if the statement returns no rows.
    pub columns: Vec<String>,
    /// The rows. `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Number of changed rows, if the statement returns no rows and the database states it.
    pub changed: Option<u64>,
    /// Whether there are more than [`ANSWER_ROWS_MAX`] rows.
    pub is_cut: bool,
}

impl Answer {
    /// Adds a row, unless there are too many.
    fn push(&mut self, row: Vec<Option<String>>) {
        self.is_cut = self.rows.len() >= ANSWER_ROWS_MAX;
        if !self.is_cut {
            self.rows.push(row);
        }
    }
}

fn shown(value: &Value) -> Option<String> {
    (*value != Value::Null).then(|| value.text())
}

/// Returns the statement that lists tables.
fn tables(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON \
             n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND \
             n.nspname = current_schema() ORDER BY 1"
        }
        Dialect::Mysql => {
            "SELECT CAST(table_name AS CHAR) AS name FROM information_schema.tables WHERE \
             table_type = 'BASE TABLE' AND table_schema = database() ORDER BY 1"
        }
        Dialect::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' \
             ESCAPE '\\' ORDER BY 1"
        }
        Dialect::Oracle => "SELECT table_name AS name FROM user_tables ORDER BY 1",
        Dialect::SqlServer | Dialect::Standard => {
            "SELECT table_name AS name FROM information_schema.tables WHERE table_type = 'BASE \
             TABLE' ORDER BY 1"
        }
    }
}

/// Returns the statement that lists databases.
fn databases(dialect: Dialect) -> Result<&'static str, SqlError> {
    match dialect {
        Dialect::Postgres => {
            Ok("SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1")
        }
        Dialect::Mysql => {
            Ok("SELECT CAST(schema_name AS CHAR) AS name FROM information_schema.schemata \
                ORDER BY 1")
        }
        Dialect::SqlServer => Ok("SELECT name FROM sys.databases ORDER BY 1"),
        Dialect::Sqlite | Dialect::Oracle | Dialect::Standard => {
            let problem = "this database has no list of databases; use `list-tables`";
            Err(SqlError::Misfit { problem: problem.to_owned() })
        }
    }
}

/// Asks the database. Uses only the connection settings of `config`.
///
/// # Errors
/// The connection fails, or the database rejects the statement.
pub async fn ask(
    config: Config,
    question: Question<'_>,
    cx: &BuildContext,
) -> Result<Answer, SourceError> {
    let (database, _) = config.into_table();
    let target = database.target(cx).map_err(|error| wrong(&error))?;
    let mut connection = Connection::open(&target).await.map_err(failed)?;
    let dialect = connection.dialect();
    let sql = match question {
        Question::Statement(sql) => sql,
        Question::Tables => tables(dialect),
        Question::Databases => databases(dialect).map_err(failed)?,
    };
    let answer = match &mut connection {
        Connection::Postgres(it) => of_postgres(it, &target.address, sql).await,
        Connection::Mysql(it) => of_mysql(it, &target.address, sql).await,
        Connection::Sqlite(it) => of_sqlite(it, &target, sql.to_owned()).await,
        Connection::Odbc(_) => by_odbc(&mut connection, &target, sql.to_owned()).await,
    };
    answer.map_err(failed)
}

async fn of_postgres(
    connection: &Postgres,
    address: &Arc<str>,
    sql: &str,
) -> Result<Answer, SqlError> {
    let failed = |error| SqlError::postgres(address, &error);
    let mut answer = Answer::default();
    let mut messages = Box::pin(connection.client.simple_query_raw(sql).await.map_err(failed)?);
    while let Some(message) = messages.try_next().await.map_err(failed)? {
        match message {
            Message::RowDescription(columns) => {
                answer.columns = columns.iter().map(|it| it.name().to_owned()).collect();
            }
            Message::Row(row) => {
                let values = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                answer.push(values.collect());
            }
            Message::CommandComplete(rows) => {
                answer.changed = answer.columns.is_empty().then_some(rows);
            }
            _ => {}
        }
        if answer.is_cut {
            break;
        }
    }
    Ok(answer)
}

async fn of_mysql(
    connection: &mut mysql_async::Conn,
    address: &Arc<str>,
    sql: &str,
) -> Result<Answer, SqlError> {
    let failed = |error| SqlError::mysql(address, &error);
    let mut result = connection.query_iter(sql).await.map_err(failed)?;
    let columns = result.columns_ref().iter().map(|it| it.name_str().into_owned()).collect();
    let mut answer = Answer { columns, ..Answer::default() };
    if answer.columns.is_empty() {
        answer.changed = Some(result.affected_rows());
        return Ok(answer);
    }
    while let Some(row) = result.next().await.map_err(failed)? {
        answer.push(mysql::values(row).iter().map(shown).collect());
        if answer.is_cut {
            break;
        }
    }
    Ok(answer)
}

async fn of_sqlite(connection: &Sqlite, target: &Target, sql: String) -> Result<Answer, SqlError> {
    let asked = connection.call(target, move |connection| {
        let mut statement = connection.prepare(&sql)?;
        let columns = statement.column_names().map(str::to_owned).collect();
        let mut answer = Answer { columns, ..Answer::default() };
        if answer.columns.is_empty() {
            answer.changed = Some(statement.execute([])? as u64);
            return Ok(answer);
        }
        let count = answer.columns.len();
        let mut rows = statement.query([])?;
        while !answer.is_cut
            && let Some(row) = rows.next()?
        {
            let values = (0..count).map(|at| row.get_ref(at).map(super::rows::of_sqlite));
            let values: rusqlite::Result<Vec<Value>> = values.collect();
            answer.push(values?.iter().map(shown).collect());
        }
        Ok(answer)
    });
    asked.await
}

/// A driver does not name the columns of a result: they have numbers.
async fn by_odbc(
    connection: &mut Connection,
    target: &Target,
    text: String,
) -> Result<Answer, SqlError> {
    let statement = Statement { text, parameters: Vec::new() };
    let mut rows = Rows::of(connection, target, &statement).await?;
    let mut answer = Answer::default();
    while !answer.is_cut
        && let Some(row) = rows.next().await?
    {
        answer.columns = (1..=row.len()).map(|number| number.to_string()).collect();
        answer.push(row.iter().map(shown).collect());
    }
    Ok(answer)
}
