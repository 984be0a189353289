//! The client for databases with an ODBC driver.
//!
//! ```text
//!   sources and sinks ──► Odbc ──► jobs ──► a thread of its own ──► crate `odbc` ──► driver
//!                          ▲                      │
//!                          └── answers, rows ◄────┘   64 rows ahead at most
//! ```
//!
//! It is one of the four clients of [`Connection`](crate::connection::Connection), and the only
//! place that knows about ODBC, with two exceptions: `source::describe::odbc` decides how to select
//! a column, and `sink::statements` how to write rows. Pages, positions, ledger and staging are
//! shared with the other clients, in the dialect of the driver's database.
//!
//! Invariants:
//!
//! - A driver may block forever, so each connection has its own thread, and callers wait no longer
//!   than the statement timeout. Abandoned work ends when the driver returns, or with the process;
//!   its transaction is rolled back with the connection.
//! - A connection whose driver panicked is broken, and is not used again.
//! - The thread adds user and password to the connection string; messages contain only the URL.

use std::sync::Arc;
use std::sync::mpsc as jobs;
use std::thread;
use std::time::Duration;

use ::odbc::{Problem, Session, Value as Theirs};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;
use crate::value::Value;

/// Rows to read ahead.
const AHEAD: usize = 64;
/// Added to a statement's timeout for the network.
const ANSWER: Duration = Duration::from_secs(10);

/// Fixed formats of numbers and times for Oracle sessions, with times in UTC.
const OF_ORACLE: &str = "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,' \
     NLS_DATE_FORMAT = 'YYYY-MM-DD HH24:MI:SS' \
     NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF9' \
     NLS_TIMESTAMP_TZ_FORMAT = 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM' \
     TIME_ZONE = '+00:00'";
const OF_POSTGRES: &str = "SET timezone = 'UTC'; SET datestyle = 'ISO'; \
     SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1; SET bytea_output = 'hex'";
const OF_MYSQL: &str = "SET time_zone = '+00:00', sql_mode = \
     'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO'";
const OF_SQL_SERVER: &str = "SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; SET ANSI_PADDING ON; \
     SET ANSI_WARNINGS ON; SET XACT_ABORT OFF; SET DATEFORMAT ymd";

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// An ODBC connection.
pub(crate) struct Odbc {
    jobs: jobs::Sender<Job>,
    pub(crate) dialect: Dialect,
}

impl Odbc {
    /// Connects. The caller sets the timeout.
    ///
    /// # Errors
    /// The driver or the database does not exist, or rejects the connection.
    pub(crate) async fn open(target: &Target) -> Result<Self, SqlError> {
        let (send, jobs) = jobs::channel::<Job>();
        let (done, opened) = oneshot::channel();
        let (address, login) = (target.address.clone(), target.login.clone());
        let limit = target.connect_timeout;
        let thread = thread::Builder::new().name("odbc".to_owned()).spawn(move || {
            let login = login.as_ref().map(|(user, password)| {
                (&**user, password.as_ref().map_or("", |password| password.expose()))
            });
            let mut session = match connect(&address, login, limit) {
                Ok(session) => session,
                Err(problem) => {
                    // The caller may have given up.
                    let _ = done.send(Err(problem));
                    return;
                }
            };
            if done.send(Ok(session.dbms().to_owned())).is_err() {
                return;
            }
            while let Ok(job) = jobs.recv() {
                job(&mut session);
            }
        });
        let failed = |source| SqlError::Connect { address: target.address.clone(), source };
        thread.map_err(failed)?;
        let dbms = opened.await.map_err(|_| broken(&target.address))?;
        let dbms = dbms.map_err(|problem| SqlError::from_connect(&target.address, problem))?;
        let dialect = Dialect::from_name(&dbms);
        tracing::debug!(address = %target.address, dbms, ?dialect, "connected with ODBC");
        let mut connection = Self { jobs: send, dialect };
        let session = match dialect {
            Dialect::Oracle => OF_ORACLE,
            Dialect::Postgres => OF_POSTGRES,
            Dialect::Mysql => OF_MYSQL,
            Dialect::SqlServer => OF_SQL_SERVER,
            Dialect::Sqlite | Dialect::Standard => return Ok(connection),
        };
        connection.run(target, session).await?;
        Ok(connection)
    }

    /// Runs `work` in the thread of the connection, and waits up to the statement timeout.
    ///
    /// # Errors
    /// The error of `work`, or a timeout.
    pub(crate) async fn call<T: Send + 'static>(
        &mut self,
        target: &Target,
        work: impl FnOnce(&mut Session) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, SqlError> {
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            // The caller may have given up.
            let _ = done.send(work(session).map_err(|problem| normalize(session, problem)));
        });
        self.jobs.send(job).map_err(|_| broken(&target.address))?;
        let limit = target.statement_timeout + ANSWER;
        match timeout(limit, result).await {
            Ok(Ok(result)) => {
                result.map_err(|problem| SqlError::odbc(&target.address, self.dialect, problem))
            }
            Ok(Err(_)) => Err(broken(&target.address)),
            Err(_) => Err(SqlError::Silent { address: target.address.clone(), limit }),
        }
    }

    /// Runs a statement without values.
    ///
    /// # Errors
    /// The statement failed.
    pub(crate) async fn run(&mut self, target: &Target, sql: &str) -> Result<(), SqlError> {
        let (sql, limit) = (sql.to_owned(), target.statement_timeout);
        self.call(target, move |session| session.execute(&sql, &[], limit).map(drop)).await
    }

    /// Starts a query, whose rows arrive one by one.
    pub(crate) fn rows(
        &mut self,
        target: &Target,
        sql: &str,
        values: &[Value],
    ) -> mpsc::Receiver<Result<Vec<Value>, SqlError>> {
        let (send, rows) = mpsc::channel(AHEAD);
        let (sql, limit) = (sql.to_owned(), target.statement_timeout);
        let values: Vec<Theirs> = values.iter().map(to_odbc).collect();
        let (address, dialect) = (target.address.clone(), self.dialect);
        let refused = send.clone();
        let job: Job = Box::new(move |session| {
            let read = session.query(&sql, &values, limit, &mut |row| {
                send.blocking_send(Ok(row.into_iter().map(of_odbc).collect())).is_ok()
            });
            if let Err(problem) = read {
                let problem = normalize(session, problem);
                // If the reader is gone, the error is not needed.
                let _ = send.blocking_send(Err(SqlError::odbc(&address, dialect, problem)));
            }
        });
        if self.jobs.send(job).is_err() {
            // The channel has space: this is the first message.
            let _ = refused.try_send(Err(broken(&target.address)));
        }
        rows
    }
}

/// Connects. For PostgreSQL, connects a second time to turn off the driver's savepoints: with one
/// per statement, every statement runs in a subtransaction, which cannot export a snapshot. Other
/// drivers reject the option.
fn connect(text: &str, login: Option<(&str, &str)>, limit: Duration) -> Result<Session, Problem> {
    let session = Session::connect(text, login, limit)?;
    let is_set = text.to_ascii_lowercase().contains("protocol=");
    if is_set || Dialect::from_name(session.dbms()) != Dialect::Postgres {
        return Ok(session);
    }
    let plain = Session::connect(&format!("{text};Protocol=7.4-0"), login, limit);
    Ok(plain.unwrap_or(session))
}

/// Normalizes the driver's errors for a lost connection, which have various states.
fn normalize(session: &Session, problem: Problem) -> Problem {
    if session.is_dead() { problem.of_dead() } else { problem }
}

fn broken(address: &Arc<str>) -> SqlError {
    let problem = "the thread of the ODBC driver has stopped; the agent connects again; if this \
                   repeats, check the ODBC driver"
        .to_owned();
    SqlError::Broken { address: address.clone(), problem }
}

fn to_odbc(value: &Value) -> Theirs {
    match value {
        Value::Null => Theirs::Null,
        Value::Bool(it) => Theirs::Bool(*it),
        Value::Int(it) => Theirs::Int(*it),
        Value::Uint(it) => Theirs::Text(it.to_string()),
        Value::Raw(it) => match it.parse() {
            Ok(number) => Theirs::Double(number),
            Err(_) => Theirs::Text(it.clone()),
        },
        Value::Text(it) => Theirs::Text(it.clone()),
        Value::Bytes(it) => Theirs::Bytes(it.clone()),
    }
}

fn of_odbc(value: Theirs) -> Value {
    match value {
        Theirs::Null => Value::Null,
        Theirs::Bool(it) => Value::Bool(it),
        Theirs::Int(it) => Value::Int(it),
        Theirs::Single(it) => Value::single(it),
        Theirs::Double(it) => Value::float(it),
        Theirs::Text(it) => Value::Text(it),
        Theirs::Bytes(it) => Value::Bytes(it),
    }
}

#[cfg(test)]
#[cfg(feature = "odbc")]
mod tests;
