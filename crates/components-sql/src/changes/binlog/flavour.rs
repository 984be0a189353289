//! What MariaDB and MySQL do in different words: everything else here is the same of both.

use std::fmt;

/// Which server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    MariaDb,
    Mysql {
        /// How it is asked for the end of its log.
        end_of_log: &'static str,
    },
}

/// A setting of the server without which the log lacks something.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// As the server answers it.
    pub(super) needed: &'static str,
    /// As a statement has it.
    pub(super) written: &'static str,
}

const fn setting(name: &'static str, needed: &'static str, written: &'static str) -> Setting {
    Setting { name, needed, written }
}

impl Flavour {
    /// By the text of its version; `None`: its log does not have what is needed.
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse().ok());
        let mut number = || numbers.next().unwrap_or(0);
        let version_of: (u32, u32, u32) = (number(), number(), number());
        // The first versions whose log can have the names of columns.
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

    /// What the log needs.
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

    /// The part of the configuration of the server that has its settings.
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadbd",
            Self::Mysql { .. } => "mysqld",
        }
    }

    /// What keeps the log for longer.
    pub(super) fn keeps_log(self) -> &'static str {
        match self {
            Self::MariaDb => "expire_logs_days",
            Self::Mysql { .. } => "binlog_expire_logs_seconds",
        }
    }

    /// Lets the statements of a session run for as long as they take.
    pub(super) fn no_limit(self) -> &'static str {
        match self {
            Self::MariaDb => "SET max_statement_time = 0",
            Self::Mysql { .. } => "SET max_execution_time = 0",
        }
    }

    /// What a session says before it asks for the log.
    pub(super) fn reader(self) -> Option<&'static str> {
        match self {
            // Without this the server hides what is particular to MariaDB, and is silent.
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
            assert_eq!(Flavour::of(version), flavour, "{version}");
        }
    }
}
