//! Reads the rows of a statement one by one, with each of the clients. Rows that are not yet
//! requested stay in the database and in the connection's buffers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, TryStreamExt};
use mysql_async::BinaryProtocol;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::types::Type;

use super::body::Values;
use super::query::{Kind, Statement, Table};
use crate::connection::Connection;
use crate::database::Target;
use crate::error::SqlError;
use crate::mysql;
use crate::value::{Tuple, Value};

/// SQLite rows to read ahead.
const AHEAD: usize = 64;
/// Added to a statement's timeout for the network.
const ANSWER: Duration = Duration::from_secs(10);

/// A row.
pub(super) struct Row {
    /// Its values in the order.
    pub(super) order: Tuple,
    /// Value of the header `timestamp`.
    pub(super) timestamp: Option<i64>,
    pub(super) values: Values,
}

/// Rows being read.
pub(super) struct Rows<'a> {
    address: Arc<str>,
    limit: Duration,
    client: Client<'a>,
}

enum Client<'a> {
    Postgres(Pin<Box<tokio_postgres::RowStream>>),
    Mysql(mysql_async::QueryResult<'a, 'static, BinaryProtocol>),
    /// SQLite and ODBC: another thread reads.
    Thread(mpsc::Receiver<Result<Vec<Value>, SqlError>>),
}

impl<'a> Rows<'a> {
    /// Starts to read.
    ///
    /// # Errors
    /// The database rejects the statement, or does not answer.
    pub(super) async fn of(
        connection: &'a mut Connection,
        target: &Target,
        statement: &Statement,
    ) -> Result<Self, SqlError> {
        let (address, limit) = (target.address.clone(), target.statement_timeout + ANSWER);
        let beginning = Client::begin(connection, target, statement);
        let client = timeout(limit, beginning)
            .await
            .unwrap_or_else(|_| Err(SqlError::Silent { address: address.clone(), limit }))?;
        Ok(Self { address, limit, client })
    }

    /// Returns the values of the next row.
    ///
    /// # Errors
    /// The statement or the connection failed.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Value>>, SqlError> {
        let (address, limit) = (&self.address, self.limit);
        let next = async {
            match &mut self.client {
                Client::Postgres(rows) => {
                    let row = rows.try_next().await;
                    let row = row.map_err(|error| SqlError::postgres(address, &error))?;
                    row.map(|row| of_postgres(&row, row.len(), address)).transpose()
                }
                Client::Mysql(rows) => {
                    let row = rows.next().await;
                    let row = row.map_err(|error| SqlError::mysql(address, &error))?;
                    Ok(row.map(mysql::values))
                }
                Client::Thread(rows) => rows.recv().await.transpose(),
            }
        };
        let silent = |_| Err(SqlError::Silent { address: address.clone(), limit });
        timeout(limit, next).await.unwrap_or_else(silent)
    }

    /// Returns the next row of a page.
    ///
    /// # Errors
    /// Same as [`Rows::next`].
    pub(super) async fn row(&mut self, table: &Table) -> Result<Option<Row>, SqlError> {
        if table.is_binary {
            return self.binary_row(table).await;
        }
        let Some(mut order) = self.next().await? else { return Ok(None) };
        let mut values = order.split_off(table.order.len().min(order.len()));
        let timestamp = match table.timestamp.is_some() && !values.is_empty() {
            true => match values.remove(0) {
                Value::Int(millis) => Some(millis),
                _ => None,
            },
            false => None,
        };
        for (value, column) in values.iter_mut().zip(&table.columns) {
            column.meaning.apply(value);
            if let (Value::Raw(json), true, Kind::Json) =
                (&mut *value, table.has_json_texts, column.kind)
            {
                *value = Value::Text(std::mem::take(json));
            }
        }
        let values = Values::Plain(values);
        Ok(Some(Row { order: table.tuple(false, order), timestamp, values }))
    }

    /// Returns the next row of a page, with the values of its columns in PostgreSQL's binary
    /// format.
    async fn binary_row(&mut self, table: &Table) -> Result<Option<Row>, SqlError> {
        let (address, limit) = (&self.address, self.limit);
        let Client::Postgres(rows) = &mut self.client else {
            unreachable!("only PostgreSQL has the format")
        };
        // Most rows have arrived: a timer for each would cost as much as the row.
        let next = match rows.try_next().now_or_never() {
            Some(next) => next,
            None => timeout(limit, rows.try_next())
                .await
                .map_err(|_| SqlError::Silent { address: address.clone(), limit })?,
        };
        let next = next.map_err(|error| SqlError::postgres(address, &error))?;
        let Some(row) = next else { return Ok(None) };
        let first = table.order.len() + usize::from(table.timestamp.is_some());
        let mut order = of_postgres(&row, first, address)?;
        let timestamp = match order.split_off(table.order.len()).first() {
            Some(Value::Int(millis)) => Some(*millis),
            _ => None,
        };
        let order = table.tuple(false, order);
        Ok(Some(Row { order, timestamp, values: Values::Binary(row, first) }))
    }
}

impl<'a> Client<'a> {
    async fn begin(
        connection: &'a mut Connection,
        target: &Target,
        Statement { text, parameters }: &Statement,
    ) -> Result<Self, SqlError> {
        match connection {
            Connection::Postgres(it) => {
                let failed = |error| SqlError::postgres(&target.address, &error);
                let statement = it.client.prepare(text).await.map_err(failed)?;
                let texts: Vec<String> = parameters.iter().map(Value::text).collect();
                let rows = it.client.query_raw(&statement, texts).await.map_err(failed)?;
                Ok(Self::Postgres(Box::pin(rows)))
            }
            Connection::Mysql(it) => {
                let parameters: Vec<_> = parameters.iter().map(to_mysql).collect();
                let parameters = match parameters.is_empty() {
                    true => mysql_async::Params::Empty,
                    false => mysql_async::Params::Positional(parameters),
                };
                let rows = it.exec_iter(text.clone(), parameters).await;
                rows.map(Self::Mysql).map_err(|error| SqlError::mysql(&target.address, &error))
            }
            Connection::Sqlite(it) => {
                let (send, rows) = mpsc::channel(AHEAD);
                let (text, parameters) = (text.clone(), parameters.clone());
                let address = target.address.clone();
                it.start(target, move |connection| {
                    let read = read_sqlite(connection, &text, &parameters, &send);
                    if let Err(error) = read {
                        let error = SqlError::sqlite(&address, &error);
                        // If the reader is gone, the error is not needed.
                        let _ = send.blocking_send(Err(error));
                    }
                });
                Ok(Self::Thread(rows))
            }
            Connection::Odbc(it) => Ok(Self::Thread(it.rows(target, text, parameters))),
        }
    }
}

fn read_sqlite(
    connection: &rusqlite::Connection,
    text: &str,
    parameters: &[Value],
    rows: &mpsc::Sender<Result<Vec<Value>, SqlError>>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(text)?;
    let parameters = rusqlite::params_from_iter(parameters.iter().map(to_sqlite));
    let columns = statement.column_count();
    let mut found = statement.query(parameters)?;
    while let Some(row) = found.next()? {
        let values = (0..columns).map(|at| row.get_ref(at).map(of_sqlite));
        let values = values.collect::<rusqlite::Result<Vec<Value>>>()?;
        if rows.blocking_send(Ok(values)).is_err() {
            break;
        }
    }
    Ok(())
}

fn to_sqlite(value: &Value) -> rusqlite::types::Value {
    use rusqlite::types::Value as Theirs;
    match value {
        Value::Null => Theirs::Null,
        Value::Bool(it) => Theirs::Integer((*it).into()),
        Value::Int(it) => Theirs::Integer(*it),
        Value::Uint(it) => Theirs::Text(it.to_string()),
        Value::Raw(it) => match it.parse() {
            Ok(number) => Theirs::Real(number),
            Err(_) => Theirs::Text(it.clone()),
        },
        Value::Text(it) => Theirs::Text(it.clone()),
        Value::Bytes(it) => Theirs::Blob(it.clone()),
    }
}

/// Converts a value of SQLite.
pub(super) fn of_sqlite(value: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef as Theirs;
    match value {
        Theirs::Null => Value::Null,
        Theirs::Integer(it) => Value::Int(it),
        Theirs::Real(it) => Value::float(it),
        Theirs::Text(it) => Value::Text(String::from_utf8_lossy(it).into_owned()),
        Theirs::Blob(it) => Value::Bytes(it.to_vec()),
    }
}

fn to_mysql(value: &Value) -> mysql_async::Value {
    use mysql_async::Value as Theirs;
    match value {
        Value::Null => Theirs::NULL,
        Value::Bool(it) => Theirs::Int((*it).into()),
        Value::Int(it) => Theirs::Int(*it),
        Value::Uint(it) => Theirs::UInt(*it),
        Value::Raw(it) | Value::Text(it) => Theirs::Bytes(it.clone().into_bytes()),
        Value::Bytes(it) => Theirs::Bytes(it.clone()),
    }
}

/// Converts the first values of a row.
fn of_postgres(
    row: &tokio_postgres::Row,
    count: usize,
    address: &Arc<str>,
) -> Result<Vec<Value>, SqlError> {
    let values = row.columns().iter().take(count).enumerate().map(|(at, column)| {
        // Everything is selected as text, except the header `timestamp`.
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at).map(|it| it.map(Value::Int)),
            _ => row.try_get::<_, Option<String>>(at).map(|it| it.map(Value::Text)),
        };
        value.map(|value| value.unwrap_or(Value::Null))
    });
    let values: Result<Vec<Value>, _> = values.collect();
    values.map_err(|error| SqlError::postgres(address, &error))
}
