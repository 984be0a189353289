//! Inspects a table before it is read: its key, its columns, and the number of rows.

use pipeline::{BuildContext, BuildError, ErrorClass, SourceError};

use super::config::Config;
use super::query::Statement;
use super::rows::Rows;
use super::{describe, failed};
use crate::connection::Connection;
use crate::dialect::Dialect;
use crate::value::Value;

pub use super::query::Kind;

/// A readable table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The columns to read, with their types.
    pub columns: Vec<(String, Kind)>,
    /// Number of rows, if requested.
    pub rows: Option<u64>,
}

const POSTGRES: &str = "\
SELECT a.attname::text FROM pg_catalog.pg_index i \
 CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) \
 JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
WHERE i.indrelid = to_regclass($1::text) AND i.indisprimary ORDER BY k.place";

const MYSQL: &str = "\
SELECT CAST(column_name AS CHAR) FROM information_schema.statistics \
WHERE index_name = 'PRIMARY' AND table_schema = coalesce(?, database()) AND table_name = ? \
ORDER BY seq_in_index";

const SQLITE: &str = "\
SELECT name FROM pragma_table_info(?1, coalesce(?2, 'main')) WHERE pk > 0 ORDER BY pk";

const SQL_SERVER: &str = "\
SELECT c.name FROM sys.indexes i \
 JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id \
 JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id \
WHERE i.is_primary_key = 1 AND i.object_id = OBJECT_ID(?) ORDER BY k.key_ordinal";

const ORACLE: &str = "\
SELECT k.column_name FROM all_constraints c \
 JOIN all_cons_columns k ON k.owner = c.owner AND k.constraint_name = c.constraint_name \
WHERE c.constraint_type = 'P' \
 AND c.owner = coalesce(CAST(? AS VARCHAR2(128)), SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')) \
 AND c.table_name = ? ORDER BY k.position";

/// Replaces numbered parameters by `?`, for ODBC.
pub(crate) fn marks(text: &str) -> String {
    text.replace("$1", "?").replace("?1", "?").replace("?2", "?")
}

/// Returns an error about a setting.
pub(super) fn wrong(error: &BuildError) -> SourceError {
    SourceError { class: ErrorClass::Blocked, message: error.to_string(), source: None }
}

/// Returns the primary key columns of `table`; empty without one. Uses only the connection settings
/// of `config`.
///
/// # Errors
/// The connection fails, the database does not answer, or the table does not exist.
pub async fn primary_key(config: Config, cx: &BuildContext) -> Result<Vec<String>, SourceError> {
    let (database, table) = config.into_table();
    let target = database.target(cx).map_err(|error| wrong(&error))?;
    let Some(table) = table else { return Ok(Vec::new()) };
    let mut connection = Connection::open(&target).await.map_err(failed)?;
    let (schema, name) = match table.split_once('.') {
        Some((schema, name)) => (Value::Text(schema.to_owned()), name),
        None => (Value::Null, &*table),
    };
    let name = Value::Text(name.to_owned());
    let dialect = connection.dialect();
    let (text, parameters) = match dialect {
        Dialect::Postgres => (POSTGRES, vec![Value::Text(dialect.quote_table(&table))]),
        Dialect::Mysql => (MYSQL, vec![schema, name]),
        Dialect::Sqlite => (SQLITE, vec![name, schema]),
        Dialect::SqlServer => (SQL_SERVER, vec![Value::Text(dialect.quote_table(&table))]),
        Dialect::Oracle => (ORACLE, vec![schema, name]),
        // No portable view lists key columns in order.
        Dialect::Standard => return Ok(Vec::new()),
    };
    let text = match connection.is_odbc() {
        true => marks(text),
        false => text.to_owned(),
    };
    let statement = Statement { text, parameters };
    let mut key = Vec::new();
    {
        let mut rows = Rows::of(&mut connection, &target, &statement).await.map_err(failed)?;
        while let Some(row) = rows.next().await.map_err(failed)? {
            key.extend(row.first().map(Value::text));
        }
    }
    if key.is_empty() {
        let text = format!("SELECT 1 FROM {} WHERE 1 = 0", dialect.quote_table(&table));
        let statement = Statement { text, parameters: Vec::new() };
        let mut rows = Rows::of(&mut connection, &target, &statement).await.map_err(failed)?;
        rows.next().await.map_err(failed)?;
    }
    Ok(key)
}

/// Inspects the relation of the settings like the source does when it opens. Counts the rows if
/// requested.
///
/// # Errors
/// Any error with which the source would fail.
pub async fn survey(
    config: Config,
    counts: bool,
    cx: &BuildContext,
) -> Result<Survey, SourceError> {
    let options = config.options(cx).map_err(|error| wrong(&error))?;
    let mut connection = Connection::open(&options.target).await.map_err(failed)?;
    let table = describe::table(&mut connection, &options).await.map_err(failed)?;
    describe::check_key(&mut connection, &options, &table).await.map_err(failed)?;
    let mut counted = None;
    if counts {
        let statement = table.count();
        let rows = Rows::of(&mut connection, &options.target, &statement).await;
        let mut rows = rows.map_err(failed)?;
        let row = rows.next().await.map_err(failed)?;
        counted = row.and_then(|row| row.first().and_then(|it| it.text().parse().ok()));
    }
    let columns = table.columns.into_iter().map(|column| (column.name, column.kind)).collect();
    Ok(Survey { columns, rows: counted })
}
