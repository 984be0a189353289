//! A test database: its tables, operations on them, and the rows to be stored.

use std::collections::BTreeMap;
use std::path::Path;

use aqueduct_tests::agent::odbc_of_postgres;
use aqueduct_tests::certificates;
use aqueduct_tests::mariadb::{self, MariaDb};
use aqueduct_tests::postgres::{self, Postgres};
use aqueduct_tests::store::counted;

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    PostgresByOdbc,
    Mariadb,
}

impl Kind {
    pub(crate) fn tables(self) -> &'static str {
        match self {
            Self::Postgres | Self::PostgresByOdbc => {
                "CREATE TABLE grow_rows (id bigserial PRIMARY KEY, v text);
                 CREATE TABLE late_rows (id bigserial PRIMARY KEY, at timestamptz NOT NULL, v int);
                 CREATE INDEX ON late_rows (at, id);
                 CREATE TABLE whole_rows (id bigint PRIMARY KEY, part int, n numeric(20, 3));
                 CREATE INDEX ON whole_rows (part, id)"
            }
            Self::Mariadb => {
                "CREATE TABLE grow_rows (id bigint AUTO_INCREMENT PRIMARY KEY, v varchar(99));
                 CREATE TABLE late_rows (id bigint AUTO_INCREMENT PRIMARY KEY,
                   at timestamp(6) NOT NULL, v int, KEY (at, id));
                 CREATE TABLE whole_rows (id bigint PRIMARY KEY, part int, n decimal(20, 3),
                   KEY (part, id))"
            }
        }
    }

    /// Fills the table that is read completely: three of four rows have the same value, a tenth has
    /// none.
    pub(crate) fn fill(self, rows: usize) -> String {
        let part = "CASE WHEN i % 10 = 0 THEN NULL WHEN i % 4 = 1 THEN i ELSE 7 END";
        let last = rows - 1;
        let source = match self {
            Self::Postgres | Self::PostgresByOdbc => format!("generate_series(0, {last}) AS i"),
            Self::Mariadb => format!("(SELECT seq AS i FROM seq_0_to_{last}) AS s"),
        };
        format!("INSERT INTO whole_rows SELECT i, {part}, i + 0.125 FROM {source}")
    }

    /// Adds rows to the growing table, and one that is not late.
    pub(crate) fn grow(self, rows: usize) -> String {
        match self {
            Self::Postgres | Self::PostgresByOdbc => format!(
                "INSERT INTO grow_rows (v) SELECT 'row ' || i FROM generate_series(1, {rows}) AS i;
                 INSERT INTO late_rows (at, v) VALUES (clock_timestamp(), 1)"
            ),
            Self::Mariadb => format!(
                "INSERT INTO grow_rows (v) SELECT concat('row ', seq) FROM seq_1_to_{rows};
                 INSERT INTO late_rows (at, v) VALUES (now(6), 1)"
            ),
        }
    }

    /// Commits rows after others with later times.
    pub(crate) fn commit_late(self) -> &'static str {
        match self {
            Self::Postgres | Self::PostgresByOdbc => {
                "BEGIN; INSERT INTO late_rows (at, v) VALUES
                   (clock_timestamp(), 2),
                   (clock_timestamp() - random() * interval '5 seconds', 3);
                 SELECT pg_sleep(0.3); COMMIT"
            }
            Self::Mariadb => {
                "BEGIN; INSERT INTO late_rows (at, v) VALUES
                   (now(6), 2),
                   (now(6) - INTERVAL floor(rand() * 5000000) MICROSECOND, 3);
                 SELECT sleep(0.3); COMMIT"
            }
        }
    }

    /// Returns the expression for the expected form of a table's rows.
    fn bodies(self, table: &str) -> &'static str {
        match (self, table) {
            (_, "grow") => "SELECT concat('{\"id\":', id, ',\"v\":\"', v, '\"}') FROM grow_rows",
            (_, "whole") => {
                "SELECT concat('{\"id\":', id, ',\"part\":', CASE WHEN part IS NULL THEN 'null' \
                 ELSE concat(part) END, ',\"n\":\"', n, '\"}') FROM whole_rows"
            }
            (Self::Postgres | Self::PostgresByOdbc, _) => {
                "SET timezone = 'UTC'; SELECT concat('{\"id\":', id, ',\"at\":\"', \
                 replace(replace(at::text, ' ', 'T'), '+00', 'Z'), '\",\"v\":', v, '}') \
                 FROM late_rows"
            }
            (Self::Mariadb, _) => {
                "SELECT concat('{\"id\":', id, ',\"at\":\"', \
                 replace(date_format(at, '%Y-%m-%dT%H:%i:%s.%fZ'), '.000000Z', 'Z'), \
                 '\",\"v\":', v, '}') FROM late_rows"
            }
        }
    }
}

/// The MariaDB user that must use TLS with a certificate.
const SECURED: &str = "secured";

/// A running server with a database `shop`. MariaDB is only reachable over TLS.
pub(crate) enum Server {
    Postgres(Postgres),
    PostgresByOdbc(Postgres),
    Mariadb(MariaDb),
}

impl Server {
    pub(crate) fn start(kind: Kind, dir: &Path) -> Self {
        let server = match kind {
            Kind::Postgres => Self::Postgres(Postgres::start(dir)),
            Kind::PostgresByOdbc => Self::PostgresByOdbc(Postgres::start(dir)),
            Kind::Mariadb => {
                certificates::make(dir);
                let files = [("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")];
                let [ca, certificate, key] =
                    files.map(|(option, name)| format!("--ssl-{option}={}/{name}", dir.display()));
                let options = ["--require-secure-transport=ON", &ca, &certificate, &key];
                Self::Mariadb(MariaDb::start_with(dir, &options))
            }
        };
        match &server {
            Self::Postgres(it) | Self::PostgresByOdbc(it) => {
                it.ask("postgres", "CREATE DATABASE shop")
            }
            Self::Mariadb(it) => {
                let user = format!("'{SECURED}'@'%' IDENTIFIED BY '{}'", mariadb::PASSWORD);
                it.ask("mysql", &format!("GRANT ALL ON *.* TO {user} REQUIRE X509"));
                it.ask("mysql", "CREATE DATABASE shop")
            }
        };
        server
    }

    /// Runs statements; returns the rows, one per line.
    pub(crate) fn ask(&self, sql: &str) -> String {
        match self {
            Self::Postgres(it) | Self::PostgresByOdbc(it) => it.ask("shop", sql),
            Self::Mariadb(it) => it.ask("shop", sql),
        }
    }

    /// Restarts the server; connections are cut.
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Postgres(it) | Self::PostgresByOdbc(it) => {
                it.stop();
                it.revive();
            }
            Self::Mariadb(it) => {
                it.stop();
                it.revive();
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Postgres(_) => Kind::Postgres,
            Self::PostgresByOdbc(_) => Kind::PostgresByOdbc,
            Self::Mariadb(_) => Kind::Mariadb,
        }
    }

    /// Returns the settings of `database`, with this authority if TLS is required. The certificates
    /// are in `dir`.
    pub(crate) fn settings(&self, dir: &Path, authority: &str) -> String {
        match self {
            Self::Postgres(it) => {
                format!("url = \"postgres://{}/shop\"\nuser = \"{}\"", it.address, postgres::USER)
            }
            Self::PostgresByOdbc(it) => {
                let url = odbc_of_postgres(it.address, "shop");
                format!("url = \"{url}\"\nuser = \"{}\"", postgres::USER)
            }
            Self::Mariadb(it) => format!(
                "url = \"mysql://{}/shop\"\nuser = \"{SECURED}\"\npassword = \"{}\"\n\
                 tls = {{ ca = \"{at}/{authority}\", certificate = \"{at}/client.pem\", \
                 key = \"{at}/client.key\" }}",
                it.address,
                mariadb::PASSWORD,
                at = dir.display()
            ),
        }
    }

    /// Returns the rows of a table in the expected form.
    pub(crate) fn lines(&self, table: &str) -> BTreeMap<String, usize> {
        counted(self.ask(self.kind().bodies(table)).lines())
    }
}
