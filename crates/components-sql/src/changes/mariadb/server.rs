//! What the server says of itself: whether changes can be read at all, the tables, the log.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use tokio::time::timeout;

use super::super::change::Lsn;
use super::super::config::Options;
use super::super::position::Log;
use super::table::{Charset, Charsets};
use crate::connection::Connection;
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;

/// The first version whose log can have the names of columns.
const VERSION_MIN: (u32, u32) = (10, 5);
/// What is added to the time that a statement may take, for the way of the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Types whose values stand in the log in a form of their own.
const UNREAD: [&str; 4] = ["uuid", "inet4", "inet6", "vector"];

/// Asks the server.
pub(super) struct Server {
    pub(super) connection: Box<mysql_async::Conn>,
    target: Target,
}

fn misfit<T>(problem: String) -> Result<T, SqlError> {
    Err(SqlError::Misfit { problem })
}

/// Name of a file of the log.
pub(super) fn file(base: &str, place: Lsn) -> String {
    format!("{base}.{:06}", place.0 >> 32)
}

/// The number of a file in the upper half, and the place within it in the lower one.
pub(super) fn place(number: u64, offset: u64) -> Lsn {
    Lsn(number << 32 | (offset & 0xffff_ffff))
}

/// Name and number of a file of the log.
pub(super) fn parts(file: &str) -> Result<(String, u64), SqlError> {
    let parts = file.rsplit_once('.');
    let number = parts.and_then(|(base, digits)| Some((base.to_owned(), digits.parse().ok()?)));
    number.ok_or_else(|| SqlError::Misfit {
        problem: format!("a file of the log has a name without a number: `{file}`"),
    })
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// There is no connection, or the server is none of MariaDB.
    pub(super) async fn open(target: &Target) -> Result<Self, SqlError> {
        let Connection::Mysql(connection) = Connection::open(target).await? else {
            return misfit("changes are read from MariaDB alone".to_owned());
        };
        let mut server = Self { connection, target: target.clone() };
        let version: Vec<String> = server.rows("SELECT VERSION()").await?;
        let version = version.concat();
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse().ok());
        let numbers = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if !version.contains("MariaDB") || numbers < VERSION_MIN {
            return misfit(format!(
                "{} is {version}: changes are read from MariaDB 10.5 and later alone; read its \
                 tables by the source `sql` with `mode = \"modified\"`",
                target.address
            ));
        }
        Ok(server)
    }

    /// The rows that answer a statement.
    ///
    /// # Errors
    /// The server refuses it, or does not answer.
    pub(super) async fn rows<T>(&mut self, sql: &str) -> Result<Vec<T>, SqlError>
    where
        T: FromRow + Send + 'static,
    {
        let (address, limit) = (&self.target.address, self.target.statement_timeout + ANSWER);
        let asked = timeout(limit, self.connection.query(sql)).await;
        let asked = asked.map_err(|_| SqlError::Silent { address: address.clone(), limit })?;
        asked.map_err(|error| SqlError::mysql(address, &error))
    }

    /// Runs a statement without rows.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), SqlError> {
        self.rows::<mysql_async::Row>(sql).await.map(drop)
    }

    /// Looks whether the log has everything that is needed of these tables.
    ///
    /// # Errors
    /// It has not, and what helps.
    pub(super) async fn check(&mut self, options: &Options) -> Result<(), SqlError> {
        let address = self.target.address.clone();
        let sql = "SELECT @@global.log_bin, @@global.log_bin_compress, @@global.binlog_format, \
                   @@global.binlog_row_image, @@global.binlog_row_metadata";
        let settings: Vec<(bool, bool, String, String, String)> = self.rows(sql).await?;
        let Some((has_log, is_compressed, format, image, metadata)) = settings.into_iter().next()
        else {
            return misfit(format!("{address} has no settings"));
        };
        if !has_log {
            return misfit(format!(
                "{address} writes no log; set `log_bin`, `binlog_format = ROW` and \
                 `binlog_row_metadata = FULL` below `[mariadbd]`, and restart the server"
            ));
        }
        let compressed = if is_compressed { "ON" } else { "OFF" };
        for (name, value, needed) in [
            ("binlog_format", &*format, "ROW"),
            ("binlog_row_image", &*image, "FULL"),
            ("binlog_row_metadata", &*metadata, "FULL"),
            ("log_bin_compress", compressed, "OFF"),
        ] {
            if value != needed {
                return misfit(format!(
                    "`{name}` of {address} is `{value}`, and its log lacks what is needed for \
                     changes; run `SET GLOBAL {name} = {needed}`, set it below `[mariadbd]`, too, \
                     and let applications connect anew"
                ));
            }
        }
        for (schema, name) in &options.tables {
            self.check_table(schema, name, options.snapshot).await?;
        }
        Ok(())
    }

    async fn check_table(
        &mut self,
        schema: &str,
        name: &str,
        snapshot: bool,
    ) -> Result<(), SqlError> {
        let text = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        let of = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", text(schema), text(name));
        let sql = format!("SELECT ENGINE FROM information_schema.TABLES WHERE {of}");
        let engine: Vec<Option<String>> = self.rows(&sql).await?;
        let shown = Dialect::Mysql.quote_table(&format!("{schema}.{name}"));
        let Some(engine) = engine.into_iter().next() else {
            let address = &self.target.address;
            return misfit(format!(
                "{address} has no table {shown}, or the user may not see it; see `tables`"
            ));
        };
        if snapshot && engine.as_deref() != Some("InnoDB") {
            let engine = engine.unwrap_or_default();
            return misfit(format!(
                "the table {shown} is of the engine `{engine}`, which has no snapshot; run \
                 `ALTER TABLE {shown} ENGINE = InnoDB`, or set `snapshot = false`"
            ));
        }
        let sql = format!(
            "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, COLUMN_TYPE LIKE '%COMPRESSED%' \
             FROM information_schema.COLUMNS WHERE {of}"
        );
        let columns: Vec<(String, String, Option<String>, bool)> = self.rows(&sql).await?;
        for (column, kind, charset, is_compressed) in columns {
            let known = charset.as_ref().is_none_or(|it| Charset::named(it).is_some());
            if known && !is_compressed && !UNREAD.contains(&&*kind) {
                continue;
            }
            let what = match (known, is_compressed) {
                (false, _) => format!("charset {}", charset.unwrap_or_default()),
                (true, true) => "form `COMPRESSED`".to_owned(),
                (true, false) => format!("type `{kind}`"),
            };
            return misfit(format!(
                "the column `{column}` of {shown} has the {what}, whose values are not read from \
                 the log; convert it, or take the table out of `tables`"
            ));
        }
        Ok(())
    }

    /// The charsets by their collations.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(super) async fn charsets(&mut self) -> Result<Charsets, SqlError> {
        let sql = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS \
                   NOT NULL AND CHARACTER_SET_NAME IS NOT NULL";
        Ok(Charsets::new(self.rows::<(u64, String)>(sql).await?))
    }

    /// The last transaction of each domain in front of this place; `None`: the log has no such
    /// place.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(super) async fn gtids(&mut self, base: &str, at: Lsn) -> Result<Option<String>, SqlError> {
        let (file, offset) = (file(base, at), at.0 & 0xffff_ffff);
        let sql = format!("SELECT BINLOG_GTID_POS('{}', {offset})", file.replace('\'', "''"));
        Ok(self.rows::<Option<String>>(&sql).await?.into_iter().next().flatten())
    }

    /// Begins a transaction that sees what was committed in front of a place in the log.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(super) async fn snapshot(&mut self) -> Result<(Lsn, Log), SqlError> {
        self.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        self.run("SET max_statement_time = 0").await?;
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let at: Vec<(String, String)> =
            self.rows("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
        let of = |name: &str| {
            let found = at.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value)
        };
        let (base, number) = parts(of("binlog_snapshot_file"))?;
        let Ok(offset) = of("binlog_snapshot_position").parse() else {
            return misfit("the server has a snapshot without a place in its log".to_owned());
        };
        let done = place(number, offset);
        let Some(gtids) = self.gtids(&base, done).await? else {
            return misfit(format!("the log has no place {done}, where the snapshot is"));
        };
        Ok((done, Log { base, gtids }))
    }

    /// The names of the columns of a table, in their order.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(super) async fn columns(&mut self, table: &str) -> Result<Vec<(String, bool)>, SqlError> {
        let columns: Vec<mysql_async::Row> =
            self.rows(&format!("SHOW COLUMNS FROM {table}")).await?;
        let column = |row: mysql_async::Row| {
            (row.get(0).unwrap_or_default(), row.get::<String, _>(3).as_deref() == Some("PRI"))
        };
        Ok(columns.into_iter().map(column).collect())
    }

    /// Bytes of the log behind this place.
    ///
    /// # Errors
    /// As [`Self::rows`].
    pub(super) async fn lag(&mut self, at: Lsn) -> Result<u64, SqlError> {
        let files: Vec<(String, u64)> = self.rows("SHOW BINARY LOGS").await?;
        let mut lag = 0;
        for (name, size) in files {
            let (number, own) = (parts(&name)?.1, at.0 >> 32);
            lag += match number.cmp(&own) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => size.saturating_sub(at.0 & 0xffff_ffff),
                std::cmp::Ordering::Greater => size,
            };
        }
        Ok(lag)
    }
}
