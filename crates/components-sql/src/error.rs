//! Database errors, and whether a retry helps.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::odbc::Problem;
use pipeline::{Classify, ErrorClass, SourceError};
use thiserror::Error;

use crate::database::Target;
use crate::dialect::Dialect;

/// Why a connection or a statement failed.
#[derive(Debug, Error)]
pub(crate) enum SqlError {
    /// The connection failed.
    #[error(
        "cannot connect to {address}; check that the database is running and reachable from this \
         host"
    )]
    Connect {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The database did not answer in time.
    #[error("{address} did not answer within {limit:?}: check the database and the network")]
    Silent { address: Arc<str>, limit: Duration },
    /// The connection broke: the last statement may or may not have taken effect.
    #[error(
        "lost the connection to {address}: {problem}; see the log of the database, and check the \
         network"
    )]
    Broken { address: Arc<str>, problem: String },
    /// The database rejected a statement or the connection; the statement had no effect.
    #[error("{address} returned error {code}: {problem}{}", help(code))]
    Refused { address: Arc<str>, code: String, problem: String, class: ErrorClass },
    /// A new slot that PostgreSQL could not read, and that was therefore dropped.
    #[error(
        "the table {table} was altered or truncated while the slot `{slot}` was created, so \
         PostgreSQL would miss changes; the slot is recreated automatically; no action needed"
    )]
    Altered { table: String, slot: String },
    /// The database does not have the named objects, or they are unusable.
    #[error("{problem}")]
    Misfit { problem: String },
}

impl Classify for SqlError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } | Self::Silent { .. } | Self::Altered { .. } => {
                ErrorClass::Transient
            }
            Self::Broken { .. } => ErrorClass::Indeterminate,
            Self::Refused { class, .. } => *class,
            Self::Misfit { .. } => ErrorClass::Blocked,
        }
    }
}

/// Returns a hint for an error code.
fn help(code: &str) -> &'static str {
    match code {
        "57014" | "1969" | "3024" => "; raise `database.statement_timeout`, or read less per query",
        "28P01" | "28000" | "1045" | "1698" => "; check `database.user` and `database.password`",
        "HYT00" => "; raise `database.statement_timeout`, or read less per query",
        "IM000" => {
            "; build it with `cargo build --features odbc`, which needs unixODBC \
             (docs/components/sources/sql.md)"
        }
        "IM002" | "IM003" | "01000" => {
            "; `odbcinst -q -d` and `odbcinst -q -s` list the drivers and data sources of this \
             system: install the driver, or set another `Driver=` or `DSN=` in `database.url`"
        }
        "2D000" | "1399" => {
            "; the procedure must not commit, roll back or begin a transaction: its rows would be \
             applied twice"
        }
        "42P01" | "1146" | "42S02" => {
            "; check the name and schema of the table, including upper and lower case"
        }
        "42501" | "1142" | "1044" | "1227" => "; grant the user this privilege",
        _ => "; see the log of the database",
    }
}

impl SqlError {
    /// Converts an error of the PostgreSQL client.
    pub(crate) fn postgres(address: &Arc<str>, error: &tokio_postgres::Error) -> Self {
        let address = address.clone();
        let Some(said) = error.as_db_error() else {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            let problem = format!("{error}{}", cause.unwrap_or_default());
            return match error.is_closed() || is_of_stream(error) {
                true => Self::Broken { address, problem },
                false => Self::Misfit { problem },
            };
        };
        let code = said.code().code().to_owned();
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let problem = format!("{}{detail}", said.message());
        Self::of_state(&address, code, problem)
    }

    /// Classifies a PostgreSQL error by its SQLSTATE.
    pub(crate) fn of_state(address: &Arc<str>, code: String, problem: String) -> Self {
        let class = of_state(&code);
        Self::Refused { address: address.clone(), code, problem, class }
    }

    /// Adds the requirements of a replication connection.
    pub(crate) fn of_replication(self, target: &Target) -> Self {
        let user = target.login.as_ref().map_or("", |(user, _)| user);
        let help = match &self {
            Self::Refused { code, .. } if code == "42501" => {
                format!(
                    "; the user needs the replication privilege: `ALTER ROLE \"{user}\" \
                     REPLICATION`"
                )
            }
            Self::Refused { code, .. } if code == "53300" => {
                "; raise `max_wal_senders` of the server".to_owned()
            }
            _ => return self,
        };
        self.with_help(&help)
    }

    /// Adds a hint for slots: the server itself may fail repeatedly at a position of its log.
    pub(crate) fn of_slot(self, slot: &str) -> Self {
        let help = match &self {
            Self::Refused { code, .. } if code == "XX000" => format!(
                "; if this repeats, the server cannot read the slot: run `SELECT \
                 pg_drop_replication_slot('{slot}')` and set `on_lost = \"snapshot\"`"
            ),
            _ => return self,
        };
        self.with_help(&help)
    }

    fn with_help(self, help: &str) -> Self {
        match self {
            Self::Refused { address, code, problem, class } => {
                Self::Refused { address, code, problem: problem + help, class }
            }
            other => other,
        }
    }

    /// Converts an error of the client of MySQL and MariaDB.
    pub(crate) fn mysql(address: &Arc<str>, error: &mysql_async::Error) -> Self {
        let address = address.clone();
        match error {
            mysql_async::Error::Server(said) => Self::Refused {
                address,
                code: said.code.to_string(),
                problem: said.message.clone(),
                class: of_number(said.code, &said.state),
            },
            mysql_async::Error::Io(_) | mysql_async::Error::Driver(_) => {
                Self::Broken { address, problem: error.to_string() }
            }
            mysql_async::Error::Other(_) | mysql_async::Error::Url(_) => {
                Self::Misfit { problem: error.to_string() }
            }
        }
    }

    /// Converts an error of an ODBC driver.
    pub(crate) fn odbc(address: &Arc<str>, dialect: Dialect, problem: Problem) -> Self {
        let address = address.clone();
        if problem.is_of_connection() {
            return Self::Broken { address, problem: problem.to_string() };
        }
        let class = of_odbc(dialect, &problem);
        let Problem { state: code, message: problem, .. } = problem;
        Self::Refused { address, code, problem, class }
    }

    /// Same, while connecting.
    pub(crate) fn from_connect(address: &Arc<str>, problem: Problem) -> Self {
        if problem.is_of_connection() {
            let source = io::Error::other(problem.to_string());
            return Self::Connect { address: address.clone(), source };
        }
        Self::odbc(address, Dialect::Standard, problem)
    }

    /// Converts an error of SQLite.
    pub(crate) fn sqlite(address: &Arc<str>, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let Some(code) = error.sqlite_error_code() else {
            return Self::Misfit { problem: format!("{address}: {error}") };
        };
        let class = match code {
            Code::DatabaseBusy
            | Code::DatabaseLocked
            | Code::DiskFull
            | Code::SystemIoFailure
            | Code::OperationInterrupted
            | Code::OutOfMemory
            | Code::SchemaChanged => ErrorClass::Transient,
            Code::ConstraintViolation | Code::TypeMismatch | Code::TooBig => ErrorClass::Poison,
            _ => ErrorClass::Blocked,
        };
        let (address, code) = (address.clone(), format!("{code:?}"));
        Self::Refused { address, code, problem: error.to_string(), class }
    }
}

/// Converts an error of the database into a source error.
#[expect(clippy::needless_pass_by_value, reason = "an error at hand is given away")]
pub(crate) fn failed(error: SqlError) -> SourceError {
    let cause = std::error::Error::source(&error).map(|cause| cause.to_string().into());
    SourceError { class: error.class(), message: error.to_string(), source: cause }
}

/// Returns an error that blocks the source until an operator acts.
pub(crate) fn refused(message: String) -> SourceError {
    SourceError { class: ErrorClass::Blocked, message, source: None }
}

/// Returns whether the error comes from the stream below the client.
fn is_of_stream(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(at) = cause {
        if at.is::<io::Error>() {
            return true;
        }
        cause = at.source();
    }
    false
}

/// Classifies a SQLSTATE.
fn of_state(state: &str) -> ErrorClass {
    match state {
        // A busy lock, a statement timeout, or a server that stops, starts or is now a standby.
        "55P03" | "57014" | "57P01" | "57P02" | "57P03" | "25006" | "55006" => {
            ErrorClass::Transient
        }
        _ => match state.get(..2).unwrap_or_default() {
            // Connections, resources, conflicts between transactions, the server itself.
            "08" | "40" | "53" | "58" | "72" | "XX" => ErrorClass::Transient,
            // Values, constraints, triggers, sizes; a row twice in a statement.
            "21" | "22" | "23" | "44" | "45" | "54" | "P0" => ErrorClass::Poison,
            _ => ErrorClass::Blocked,
        },
    }
}

/// Classifies an ODBC error. If its state is generic, the native error code decides.
fn of_odbc(dialect: Dialect, problem: &Problem) -> ErrorClass {
    let state = &*problem.state;
    let native = problem.native.unsigned_abs();
    match (dialect, state) {
        (_, "HYT00" | "HYT01" | "HY001" | "HY008") => ErrorClass::Transient,
        // Too many connections, or the server is stopping.
        (_, "08004") => ErrorClass::Transient,
        (Dialect::Mysql, _) => of_number(u16::try_from(native).unwrap_or(0), state),
        // Busy, locked, out of memory, read error, full; then values that do not fit.
        (Dialect::Sqlite, "HY000") => match native {
            5..=7 | 10 | 13 | 17 => ErrorClass::Transient,
            18..=20 => ErrorClass::Poison,
            _ => ErrorClass::Blocked,
        },
        // A deadlock, a busy lock, no space, a snapshot conflict.
        (Dialect::SqlServer, _) if [1205, 1222, 1105, 3960, 9002].contains(&native) => {
            ErrorClass::Transient
        }
        // Values that do not fit, and constraints.
        (Dialect::SqlServer, _)
            if [515, 547, 2601, 2627, 2628, 8115, 8152, 241, 242, 245, 8114].contains(&native) =>
        {
            ErrorClass::Poison
        }
        // A busy resource, a deadlock, no space, a serialization failure, a stopping server.
        (Dialect::Oracle, _)
            if [54, 60, 1033, 1034, 1089, 1652, 1653, 8177, 12516, 12519].contains(&native) =>
        {
            ErrorClass::Transient
        }
        (Dialect::Oracle, _)
            if [1, 1400, 1407, 1438, 1722, 1830, 1843, 1858, 1861, 2290, 2291, 2292, 12899]
                .contains(&native) =>
        {
            ErrorClass::Poison
        }
        _ => of_state(state),
    }
}

/// Classifies an error number of MySQL or MariaDB.
fn of_number(number: u16, state: &str) -> ErrorClass {
    match number {
        // Too many connections, disk full, a stopping or read-only server, locks, timeouts, a table
        // changed after the snapshot.
        1020
        | 1021
        | 1037
        | 1040
        | 1041
        | 1053
        | 1077
        | 1078
        | 1079
        | 1080
        | 1114
        | 1129
        | 1158..=1161
        | 1180
        | 1203
        | 1205
        | 1213
        | 1226
        | 1290
        | 1317
        | 1412
        | 1614
        | 1836
        | 1927
        | 1969
        | 3024
        | 3572 => ErrorClass::Transient,
        // Values that do not fit a column.
        1153 | 1264 | 1265 | 1292 | 1364 | 1366 | 1406 => ErrorClass::Poison,
        _ if state.starts_with("08") || state.starts_with("40") => ErrorClass::Transient,
        // Values, constraints, triggers.
        _ if ["22", "23", "44", "45"].iter().any(|class| state.starts_with(class)) => {
            ErrorClass::Poison
        }
        _ => ErrorClass::Blocked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_decide_whether_to_retry() {
        for (state, class) in [
            ("40001", ErrorClass::Transient),
            ("57P01", ErrorClass::Transient),
            ("53300", ErrorClass::Transient),
            ("22001", ErrorClass::Poison),
            ("23505", ErrorClass::Poison),
            ("P0001", ErrorClass::Poison),
            ("2D000", ErrorClass::Blocked),
            ("42P01", ErrorClass::Blocked),
            ("28P01", ErrorClass::Blocked),
        ] {
            assert_eq!(of_state(state), class, "{state}");
        }
        for (number, state, class) in [
            (1213, "40001", ErrorClass::Transient),
            (1040, "08004", ErrorClass::Transient),
            (1366, "HY000", ErrorClass::Poison),
            (1062, "23000", ErrorClass::Poison),
            (1644, "45000", ErrorClass::Poison),
            (1146, "42S02", ErrorClass::Blocked),
            (1399, "XAE07", ErrorClass::Blocked),
            (1045, "28000", ErrorClass::Blocked),
        ] {
            assert_eq!(of_number(number, state), class, "{number}");
        }
    }
}
