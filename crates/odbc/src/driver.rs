//! A connection by the driver manager of the system.

mod bind;
mod fetch;

use std::time::Duration;

use odbc_api::handles::StatementImpl;
use odbc_api::{
    Connection, ConnectionOptions, CursorImpl, Error, environment, escape_attribute_value,
};

use crate::types::{Column, Problem, Value};
use bind::bound;
use fetch::{buffer, by_blocks, by_rows, described};

/// A connection. One statement at a time.
#[derive(Debug)]
pub struct Session {
    connection: Connection<'static>,
    dbms: String,
    /// The driver takes a limit of time for a statement.
    has_limit: bool,
}

impl Session {
    /// Whether this build can connect.
    pub const IS_BUILT: bool = true;

    /// Connects by a text of ODBC, `DSN=…` or `Driver=…;…`; `login` is added to it.
    ///
    /// # Errors
    /// There is no such driver or database, or it refuses.
    pub fn connect(
        text: &str,
        login: Option<(&str, &str)>,
        limit: Duration,
    ) -> Result<Self, Problem> {
        let mut whole = text.trim_end_matches(';').to_owned();
        if let Some((user, password)) = login {
            for (name, value) in [("UID", user), ("PWD", password)] {
                if !value.is_empty() {
                    whole.push_str(&format!(";{name}={}", escaped(value)));
                }
            }
        }
        let environment = environment().map_err(|error| to_problem(&error))?;
        let seconds = u32::try_from(seconds(limit)).unwrap_or(u32::MAX);
        let options = ConnectionOptions { login_timeout_sec: Some(seconds), ..Default::default() };
        let connection = environment.connect_with_connection_string(&whole, options);
        // Not every driver takes a limit.
        let connection = match connection.map_err(|error| to_problem(&error)) {
            Err(problem) if is_of_option(&problem) => environment
                .connect_with_connection_string(&whole, ConnectionOptions::default())
                .map_err(|error| to_problem(&error)),
            other => other,
        };
        let connection = connection.map_err(|problem| hidden(problem, login))?;
        let dbms =
            connection.database_management_system_name().map_err(|error| to_problem(&error))?;
        let has_limit = connection
            .preallocate()
            .is_ok_and(|mut statement| statement.set_query_timeout_sec(60).is_ok());
        Ok(Self { connection, dbms, has_limit })
    }

    /// Name of the database system, as its driver has it.
    pub fn dbms(&self) -> &str {
        &self.dbms
    }

    /// Whether the connection is gone, as far as the driver knows.
    pub fn is_dead(&self) -> bool {
        self.connection.is_dead().unwrap_or(false)
    }

    /// Runs a statement; how many rows it has put, changed or deleted, if the driver says so.
    ///
    /// # Errors
    /// It has failed.
    pub fn execute(
        &self,
        sql: &str,
        values: &[Value],
        limit: Duration,
    ) -> Result<Option<u64>, Problem> {
        let mut statement = self.connection.preallocate().map_err(|error| to_problem(&error))?;
        if let Some(seconds) = self.limit(limit) {
            statement.set_query_timeout_sec(seconds).map_err(|error| to_problem(&error))?;
        }
        let values: Vec<_> = values.iter().map(bound).collect();
        statement.execute(sql, &values[..]).map_err(|error| to_problem(&error))?;
        let count = statement.row_count().map_err(|error| to_problem(&error))?;
        Ok(count.map(|count| count as u64))
    }

    /// The columns of a result. The statement is run: one without rows costs little.
    ///
    /// # Errors
    /// It has failed, or answers no rows.
    pub fn describe(&self, sql: &str, limit: Duration) -> Result<Vec<Column>, Problem> {
        described(&mut self.cursor(sql, &[], limit)?)
    }

    /// Gives each row of a result to `each`, until that says that it wants no more.
    ///
    /// # Errors
    /// It has failed.
    pub fn query(
        &self,
        sql: &str,
        values: &[Value],
        limit: Duration,
        each: &mut dyn FnMut(Vec<Value>) -> bool,
    ) -> Result<(), Problem> {
        let mut cursor = self.cursor(sql, values, limit)?;
        let columns = described(&mut cursor)?;
        match columns.iter().map(buffer).collect::<Option<Vec<_>>>() {
            Some(buffers) if !buffers.is_empty() => by_blocks(cursor, &columns, &buffers, each),
            _ => by_rows(cursor, &columns, each),
        }
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// The driver has none.
    pub fn begin(&self) -> Result<(), Problem> {
        self.connection.set_autocommit(false).map_err(|error| to_problem(&error))
    }

    /// Ends the transaction that was begun.
    ///
    /// # Errors
    /// It has failed; whether it is committed may be unknown then.
    pub fn end(&self, commits: bool) -> Result<(), Problem> {
        let ended = if commits { self.connection.commit() } else { self.connection.rollback() };
        ended.map_err(|error| to_problem(&error))?;
        self.connection.set_autocommit(true).map_err(|error| to_problem(&error))
    }

    fn limit(&self, limit: Duration) -> Option<usize> {
        self.has_limit.then(|| seconds(limit))
    }

    fn cursor(
        &self,
        sql: &str,
        values: &[Value],
        limit: Duration,
    ) -> Result<CursorImpl<StatementImpl<'_>>, Problem> {
        let values: Vec<_> = values.iter().map(bound).collect();
        let cursor = self.connection.execute(sql, &values[..], self.limit(limit));
        let cursor = cursor.map_err(|error| to_problem(&error))?;
        cursor.ok_or_else(|| {
            Problem::new("07005", "the statement returned no result set; write a SELECT")
        })
    }
}

/// At least one: none would be no limit.
fn seconds(limit: Duration) -> usize {
    usize::try_from(limit.as_secs()).unwrap_or(usize::MAX).clamp(1, i32::MAX as usize)
}

/// A value in a text that connects. What a driver takes for a sign of its own is in braces.
fn escaped(value: &str) -> String {
    match value.contains(['{', '}', ';', '=', ' ', '?', '*', '!', '@', '(', ')', '[', ']']) {
        true => format!("{{{}}}", value.replace('}', "}}")),
        false => escape_attribute_value(value).into_owned(),
    }
}

/// Without the password, should a driver repeat what it was given.
fn hidden(mut problem: Problem, login: Option<(&str, &str)>) -> Problem {
    if let Some((_, password)) = login.filter(|(_, password)| !password.is_empty()) {
        problem.message = problem.message.replace(password, "…");
    }
    problem
}

fn to_problem(error: &Error) -> Problem {
    match error {
        Error::Diagnostics { record, .. }
        | Error::UnsupportedOdbcApiVersion(record)
        | Error::UnableToRepresentNull(record)
        | Error::OracleOdbcDriverDoesNotSupport64Bit(record)
        | Error::InvalidRowArraySize { record, .. } => Problem {
            state: record.state.as_str().to_owned(),
            native: record.native_error,
            message: String::from_utf16_lossy(&record.message).trim().replace('\n', " "),
        },
        Error::TooLargeValueForBuffer { .. } => Problem::new(
            "22001",
            "the driver returned a longer value than it declared for the column; cast the column \
             to a longer type in a `query`",
        ),
        other => Problem::new("HY000", other.to_string()),
    }
}

fn is_of_option(problem: &Problem) -> bool {
    ["HYC00", "HY092", "IM001"].contains(&&*problem.state)
}
