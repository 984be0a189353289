//! The differences between MariaDB and MySQL.

use std::fmt;

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    MariaDb,
    Mysql {
        /// Statement that returns the end of the log.
        end_of_log: &'static str,
    },
}

/// A server setting that the log needs.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// The value as the server reports it.
    pub(super) needed: &'static str,
    /// The value as written in a statement.
    pub(super) written: &'static str,
}

const fn setting(name: &'static str, needed: &'static str, written: &'static str) -> Setting {
    Setting { name, needed, written }
}

impl Flavour {
    /// Detects the kind from the version text; `None` if its log lacks required information.
    pub(super) fn from_version(version: &str) -> Option<Self> {
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse().ok());
        let mut number = || numbers.next().unwrap_or(0);
        let version_of: (u32, u32, u32) = (number(), number(), number());
        // The first versions whose log can contain column names.
        match version.contains("MariaDB") {
            true => (version_of >= (10, 5, 0)).then_some(Self::MariaDb),
            false => (version_of >= (8, 0, 1)).then_some(Self::Mysql {
                end_of_log: match version_of >= (8, 2, 0) {
                    true => "SHOW BINARY LOG STATUS",
                    false => "SHOW MASTER STATUS",
                },
            }),
        }
    }

    /// Returns the settings that the log needs.
    pub(super) fn settings(self) -> &'static [Setting] {
        const MARIADB: &[Setting] = &[
            setting("binlog_format", "ROW", "ROW"),
            setting("binlog_row_image", "FULL", "FULL"),
            setting("binlog_row_metadata", "FULL", "FULL"),
            setting("log_bin_compress", "OFF", "OFF"),
        ];
        const MYSQL: &[Setting] = &[
            setting("binlog_format", "ROW", "ROW"),
            setting("binlog_row_image", "FULL", "FULL"),
            setting("binlog_row_metadata", "FULL", "FULL"),
            setting("binlog_row_value_options", "", "''"),
        ];
        match self {
            Self::MariaDb => MARIADB,
            Self::Mysql { .. } => MYSQL,
        }
    }

    /// Returns the section of the server's configuration file.
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadbd",
            Self::Mysql { .. } => "mysqld",
        }
    }

    /// Returns the setting that retains the log for longer.
    pub(super) fn keeps_log(self) -> &'static str {
        match self {
            Self::MariaDb => "expire_logs_days",
            Self::Mysql { .. } => "binlog_expire_logs_seconds",
        }
    }

    /// Returns the statement that removes the time limit of a session's statements.
    pub(super) fn no_limit(self) -> &'static str {
        match self {
            Self::MariaDb => "SET max_statement_time = 0",
            Self::Mysql { .. } => "SET max_execution_time = 0",
        }
    }

    /// Returns the statement to run before requesting the log.
    pub(super) fn reader(self) -> Option<&'static str> {
        match self {
            // Without this, the server silently hides the events particular to MariaDB.
            Self::MariaDb => Some("SET @mariadb_slave_capability = 4"),
            Self::Mysql { .. } => None,
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MariaDb => "MariaDB",
            Self::Mysql { .. } => "MySQL",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_version() {
        let new = Flavour::Mysql { end_of_log: "SHOW BINARY LOG STATUS" };
        let old = Flavour::Mysql { end_of_log: "SHOW MASTER STATUS" };
        for (version, flavour) in [
            ("10.11.19-MariaDB-0+deb12u1-log", Some(Flavour::MariaDb)),
            ("10.5.0-MariaDB", Some(Flavour::MariaDb)),
            ("10.4.34-MariaDB", None),
            ("9.7.4-2", Some(new)),
            ("8.4.3", Some(new)),
            ("8.0.35-27", Some(old)),
            ("8.0.0-dmr", None),
            ("5.7.44-log", None),
            ("", None),
        ] {
            assert_eq!(Flavour::from_version(version), flavour, "{version}");
        }
    }
}
