//! Differences between SQL dialects: quotes, row limits, times.
//!
//! Each native client has one dialect. Over ODBC, the driver names the database; an unknown one
//! gets standard SQL.

use std::time::Duration;

/// The kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
    /// Microsoft SQL Server; only over ODBC.
    SqlServer,
    /// Oracle; only over ODBC.
    Oracle,
    /// Any other database, over ODBC.
    Standard,
}

impl Dialect {
    /// Detects the dialect from the database name that an ODBC driver reports.
    pub(crate) fn from_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match () {
            () if name.contains("postgresql") => Self::Postgres,
            () if name.contains("mysql") || name.contains("mariadb") => Self::Mysql,
            () if name.contains("sqlite") => Self::Sqlite,
            () if name.contains("microsoft sql") || name.contains("sql server") => Self::SqlServer,
            () if name.contains("oracle") => Self::Oracle,
            () => Self::Standard,
        }
    }

    /// Quotes a name.
    pub(crate) fn quote(self, name: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite | Self::Oracle | Self::Standard => {
                format!("\"{}\"", name.replace('"', "\"\""))
            }
            Self::Mysql => format!("`{}`", name.replace('`', "``")),
            Self::SqlServer => format!("[{}]", name.replace(']', "]]")),
        }
    }

    /// Quotes a table name, with an optional schema before a dot.
    pub(crate) fn quote_table(self, table: &str) -> String {
        let parts: Vec<String> = table.split('.').map(|part| self.quote(part)).collect();
        parts.join(".")
    }

    /// Puts a statement in brackets and names it.
    pub(crate) fn named(self, statement: &str, name: &str) -> String {
        // Oracle does not allow `AS` before a table alias.
        let between = if self == Self::Oracle { "" } else { "AS " };
        format!("({statement}) {between}{name}")
    }

    /// Returns the text after `SELECT` and the text at the end that limit the rows.
    pub(crate) fn limit(self, rows: u32) -> (String, String) {
        match self {
            Self::Postgres | Self::Mysql | Self::Sqlite => {
                (String::new(), format!(" LIMIT {rows}"))
            }
            Self::SqlServer => (format!("TOP ({rows}) "), String::new()),
            Self::Oracle | Self::Standard => {
                (String::new(), format!(" FETCH FIRST {rows} ROWS ONLY"))
            }
        }
    }

    /// Returns whether comparisons `(a, b) > (x, y)` work and use an index.
    pub(crate) fn compares_rows(self) -> bool {
        matches!(self, Self::Postgres | Self::Sqlite)
    }

    /// Returns the expression for the milliseconds since 1970 of a quoted column.
    pub(crate) fn millis(self, name: &str) -> String {
        match self {
            Self::Postgres => format!("floor(extract(epoch FROM {name}) * 1000)::int8"),
            Self::Mysql => format!("TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name}) DIV 1000"),
            Self::Sqlite => format!(
                "CASE typeof({name}) WHEN 'text' THEN \
                 CAST(strftime('%s', {name}) AS INTEGER) * 1000 \
                 ELSE CAST({name} * 1000 AS INTEGER) END"
            ),
            Self::SqlServer => format!("DATEDIFF_BIG(millisecond, '1970-01-01', {name})"),
            Self::Oracle | Self::Standard => {
                let since =
                    format!("(CAST({name} AS TIMESTAMP) - TIMESTAMP '1970-01-01 00:00:00')");
                let parts = [
                    ("DAY", 86_400_000),
                    ("HOUR", 3_600_000),
                    ("MINUTE", 60_000),
                    ("SECOND", 1000),
                ];
                let parts =
                    parts.map(|(part, millis)| format!("EXTRACT({part} FROM {since}) * {millis}"));
                match self {
                    Self::Oracle => format!("FLOOR({})", parts.join(" + ")),
                    _ => format!("CAST({} AS BIGINT)", parts.join(" + ")),
                }
            }
        }
    }

    /// Returns the texts before and after a time that subtract a duration.
    pub(crate) fn earlier(self, by: Duration) -> (String, String) {
        let micros = by.as_micros();
        match self {
            Self::Postgres => (String::new(), format!(" - interval '{micros} microseconds'")),
            Self::Mysql => (String::new(), format!(" - INTERVAL {micros} MICROSECOND")),
            // Seconds since 1970.
            Self::Sqlite => (String::new(), format!(" - {:.6}", by.as_secs_f64())),
            Self::SqlServer => {
                // Both arguments have 32 bits.
                let (seconds, rest) = (by.as_secs(), by.subsec_micros());
                let before = format!("DATEADD(microsecond, -{rest}, DATEADD(second, -{seconds}, ");
                (before, "))".to_owned())
            }
            Self::Oracle => {
                let seconds = format!("{:.6}", by.as_secs_f64());
                (String::new(), format!(" - NUMTODSINTERVAL({seconds}, 'SECOND')"))
            }
            Self::Standard => {
                (String::new(), format!(" - INTERVAL '{:.6}' SECOND(9, 6)", by.as_secs_f64()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(Dialect::Postgres.quote_table("s.a\"b"), "\"s\".\"a\"\"b\"");
        assert_eq!(Dialect::Mysql.quote("a`b"), "`a``b`");
        assert_eq!(Dialect::SqlServer.quote_table("dbo.a]b"), "[dbo].[a]]b]");
        assert_eq!(Dialect::Oracle.quote("A\"B"), "\"A\"\"B\"");
    }

    #[test]
    fn detects_the_database_from_the_driver() {
        for (name, dialect) in [
            ("PostgreSQL", Dialect::Postgres),
            ("SQLite", Dialect::Sqlite),
            ("Microsoft SQL Server", Dialect::SqlServer),
            ("SQL Server", Dialect::SqlServer),
            ("Oracle", Dialect::Oracle),
            ("MariaDB", Dialect::Mysql),
            ("MySQL", Dialect::Mysql),
            ("DB2/LINUXX8664", Dialect::Standard),
            ("Adaptive Server Enterprise", Dialect::Standard),
        ] {
            assert_eq!(Dialect::from_name(name), dialect, "{name}");
        }
    }
}
