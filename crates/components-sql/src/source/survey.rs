//! Inspects a table before it is read: its key, its columns, and the number of rows.

use pipeline::{BuildContext, BuildError, ErrorClass, SourceError};

use super::config::Config;
use super::query::Statement;
use super::rows::Rows;
use super::{describe, failed, refused};
use crate::connection::Connection;
use crate::database::Target;
use crate::dialect::Dialect;
use crate::value::Value;

pub use super::kind::Kind;

/// A readable table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The columns to read, with their types.
    pub columns: Vec<(String, Kind)>,
    /// Number of rows, if requested.
    pub rows: Option<u64>,
}

/// Queries for names of columns, by dialect.
struct Questions {
    postgres: &'static str,
    mysql: &'static str,
    sqlite: &'static str,
    sql_server: &'static str,
    oracle: &'static str,
}

const KEY: Questions = Questions {
    postgres: "\
SELECT a.attname::text FROM pg_catalog.pg_index i \
 CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) \
 JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
WHERE i.indrelid = to_regclass($1::text) AND i.indisprimary ORDER BY k.place",
    mysql: "\
SELECT CAST(column_name AS CHAR) FROM information_schema.statistics \
WHERE index_name = 'PRIMARY' AND table_schema = coalesce(?, database()) AND table_name = ? \
ORDER BY seq_in_index",
    sqlite: "\
SELECT name FROM pragma_table_info(?1, coalesce(?2, 'main')) WHERE pk > 0 ORDER BY pk",
    sql_server: "\
SELECT c.name FROM sys.indexes i \
 JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id \
 JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id \
WHERE i.is_primary_key = 1 AND i.object_id = OBJECT_ID(?) ORDER BY k.key_ordinal",
    oracle: "\
SELECT k.column_name FROM all_constraints c \
 JOIN all_cons_columns k ON k.owner = c.owner AND k.constraint_name = c.constraint_name \
WHERE c.constraint_type = 'P' \
 AND c.owner = coalesce(CAST(? AS VARCHAR2(128)), SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')) \
 AND c.table_name = ? ORDER BY k.position",
};

/// Columns that the database computes.
const GENERATED: Questions = Questions {
    // Servers before version 12 have no column `attgenerated`.
    postgres: "\
SELECT a.attname::text FROM pg_catalog.pg_attribute a \
WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped \
 AND coalesce(row_to_json(a)->>'attgenerated', '') <> '' ORDER BY a.attnum",
    // `DEFAULT_GENERATED` means a default.
    mysql: "\
SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
WHERE table_schema = coalesce(?, database()) AND table_name = ? AND (extra LIKE '%VIRTUAL%' \
 OR extra LIKE '%STORED GENERATED%' OR extra LIKE '%PERSISTENT%') ORDER BY ordinal_position",
    sqlite: "\
SELECT name FROM pragma_table_xinfo(?1, coalesce(?2, 'main')) WHERE hidden IN (2, 3) ORDER BY cid",
    sql_server: "\
SELECT c.name FROM sys.columns c \
WHERE c.is_computed = 1 AND c.object_id = OBJECT_ID(?) ORDER BY c.column_id",
    oracle: "\
SELECT column_name FROM all_tab_cols WHERE virtual_column = 'YES' AND hidden_column = 'NO' \
 AND owner = coalesce(CAST(? AS VARCHAR2(128)), SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')) \
 AND table_name = ? ORDER BY column_id",
};

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
    let key = KEY.ask(&mut connection, &target, &table).await?;
    if key.is_empty() {
        let text =
            format!("SELECT 1 FROM {} WHERE 1 = 0", connection.dialect().quote_table(&table));
        let statement = Statement { text, parameters: Vec::new() };
        let mut rows = Rows::of(&mut connection, &target, &statement).await.map_err(failed)?;
        rows.next().await.map_err(failed)?;
    }
    Ok(key)
}

/// Returns the columns of `table` that the database computes. Uses only the connection settings of
/// `config`.
///
/// # Errors
/// The connection fails, or the database does not answer.
pub async fn generated(config: Config, cx: &BuildContext) -> Result<Vec<String>, SourceError> {
    let (database, table) = config.into_table();
    let target = database.target(cx).map_err(|error| wrong(&error))?;
    let Some(table) = table else { return Ok(Vec::new()) };
    let mut connection = Connection::open(&target).await.map_err(failed)?;
    GENERATED.ask(&mut connection, &target, &table).await
}

impl Questions {
    /// Returns the names for a table.
    async fn ask(
        &self,
        connection: &mut Connection,
        target: &Target,
        table: &str,
    ) -> Result<Vec<String>, SourceError> {
        let (schema, name) = match table.split_once('.') {
            Some((schema, name)) => (Value::Text(schema.to_owned()), name),
            None => (Value::Null, table),
        };
        let name = Value::Text(name.to_owned());
        let dialect = connection.dialect();
        let (text, parameters) = match dialect {
            Dialect::Postgres => (self.postgres, vec![Value::Text(dialect.quote_table(table))]),
            Dialect::Mysql => (self.mysql, vec![schema, name]),
            Dialect::Sqlite => (self.sqlite, vec![name, schema]),
            Dialect::SqlServer => (self.sql_server, vec![Value::Text(dialect.quote_table(table))]),
            Dialect::Oracle => (self.oracle, vec![schema, name]),
            // No portable view has this.
            Dialect::Standard => return Ok(Vec::new()),
        };
        let text = match connection.is_odbc() {
            true => marks(text),
            false => text.to_owned(),
        };
        let statement = Statement { text, parameters };
        let mut rows = Rows::of(connection, target, &statement).await.map_err(failed)?;
        let mut names = Vec::new();
        while let Some(row) = rows.next().await.map_err(failed)? {
            names.extend(row.first().map(Value::text));
        }
        Ok(names)
    }
}

/// Rejects rows with the zero date of MySQL in a `TIMESTAMP`, which files with types cannot
/// represent. Reads the whole relation, if it has such columns.
///
/// # Errors
/// A row has a zero date; the message names its column. Or the database does not answer.
pub async fn check_zeros(config: Config, cx: &BuildContext) -> Result<(), SourceError> {
    let options = config.options(cx).map_err(|error| wrong(&error))?;
    let mut connection = Connection::open(&options.target).await.map_err(failed)?;
    let table = describe::table(&mut connection, &options).await.map_err(failed)?;
    let zeros = match connection.dialect() {
        Dialect::Mysql if !connection.is_odbc() => table.zeros(),
        _ => None,
    };
    let Some(statement) = zeros else { return Ok(()) };
    let mut rows = Rows::of(&mut connection, &options.target, &statement).await.map_err(failed)?;
    let Some(row) = rows.next().await.map_err(failed)? else { return Ok(()) };
    let at: Option<usize> = row.first().and_then(|value| value.text().parse().ok());
    let name = at.and_then(|at| table.columns.get(at)).map_or("?", |column| &*column.name);
    Err(refused(format!(
        "the column `{name}` has a row with the zero date `0000-00-00 00:00:00`, which Avro and \
         Parquet cannot represent; use --as-textfile, or NULLIF({name}, 0) in a --query"
    )))
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
