//! Queries the server: its settings, the tables, the log.

use std::time::Duration;

use futures::StreamExt;
use mysql_async::binlog::EventType;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{BinlogStream, BinlogStreamRequest};
use tokio::time::timeout;

use super::super::change::Lsn;
use super::super::config::Options;
use super::super::position::Log;
use super::flavour::{Flavour, Setting};
use super::proof::Proof;
use super::statement;
use super::table::{Charset, Charsets};
use crate::connection::Connection;
use crate::database::Target;
use crate::dialect::Dialect;
use crate::error::SqlError;

/// Added to a statement's timeout for the network.
const ANSWER: Duration = Duration::from_secs(10);
/// Timeout for locking the tables. Other sessions queue behind the lock.
const LOCK_SECONDS: u32 = 10;
/// Types with their own format in the log.
const UNREAD: [&str; 4] = ["uuid", "inet4", "inet6", "vector"];

/// A connection for queries.
pub(super) struct Server {
    pub(super) connection: Box<mysql_async::Conn>,
    pub(super) flavour: Flavour,
    target: Target,
}

fn misfit<T>(problem: String) -> Result<T, SqlError> {
    Err(SqlError::Misfit { problem })
}

/// Adds the statement that grants the right to lock tables, if that is missing.
fn may_lock(error: SqlError) -> SqlError {
    match error {
        SqlError::Refused { address, code, problem, .. } if code == "1044" || code == "1142" => {
            SqlError::Misfit {
                problem: format!(
                    "{address} returned error {code}: {problem}; a snapshot briefly locks its \
                     tables: run `GRANT SELECT, LOCK TABLES ON DATABASE.* TO USER` for the \
                     database of the tables and the user of the source"
                ),
            }
        }
        other => other,
    }
}

/// Returns the name of a log file.
pub(super) fn file(base: &str, place: Lsn) -> String {
    format!("{base}.{:06}", place.0 >> 32)
}

/// Combines the file number (upper half) and the offset (lower half).
pub(super) fn place(number: u64, offset: u64) -> Lsn {
    Lsn(number << 32 | (offset & 0xffff_ffff))
}

/// Splits the name of a log file into base name and number.
pub(super) fn parts(file: &str) -> Result<(String, u64), SqlError> {
    let parts = file.rsplit_once('.');
    let number = parts.and_then(|(base, digits)| Some((base.to_owned(), digits.parse().ok()?)));
    number.ok_or_else(|| SqlError::Misfit {
        problem: format!("`{file}` is not the name of a binary log; check `log_bin` of the server"),
    })
}

const NO_POSITION: &str = "the server reports no position of its binary log; set `log_bin` in its \
                           configuration, and restart it";

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// The connection fails, or the server is too old.
    pub(super) async fn open(target: &Target) -> Result<Self, SqlError> {
        let Connection::Mysql(mut connection) = Connection::open(target).await? else {
            return misfit(
                "only MySQL and MariaDB have a binary log; correct `database.url`".to_owned(),
            );
        };
        let asked = connection.query_first("SELECT VERSION()").await;
        let version: Option<String> =
            asked.map_err(|error| SqlError::mysql(&target.address, &error))?;
        let version = version.unwrap_or_default();
        match Flavour::from_version(&version) {
            Some(flavour) => Ok(Self { connection, flavour, target: target.clone() }),
            None => misfit(format!(
                "{} is {version}, but changes need MySQL 8.0.1 or MariaDB 10.5, or later; upgrade, \
                 or read the tables with the source `sql` and `mode = \"modified\"`",
                target.address
            )),
        }
    }

    /// Runs a query and returns its rows.
    ///
    /// # Errors
    /// The server rejects it, or does not answer.
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
    /// Same as [`Self::rows`].
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), SqlError> {
        self.rows::<mysql_async::Row>(sql).await.map(drop)
    }

    /// Checks that the log contains everything required for these tables.
    ///
    /// # Errors
    /// Something is missing. The message contains a hint.
    pub(super) async fn check(&mut self, options: &Options) -> Result<(), SqlError> {
        let (address, section) = (self.target.address.clone(), self.flavour.section());
        let has_log: Vec<bool> = self.rows("SELECT @@global.log_bin").await?;
        if has_log != [true] {
            return misfit(format!(
                "{address} does not write a binary log; set `log_bin`, `binlog_format = ROW` and \
                 `binlog_row_metadata = FULL` in `[{section}]`, and restart the server"
            ));
        }
        for Setting { name, needed, written } in self.flavour.settings() {
            let sql = format!("SELECT CAST(@@global.{name} AS CHAR)");
            let value = self.rows::<String>(&sql).await?.concat();
            if value != *needed {
                return misfit(format!(
                    "`{name}` of {address} is `{value}`, so its binary log lacks data; run `SET \
                     GLOBAL {name} = {written}`, set it in `[{section}]` too, and reconnect the \
                     applications"
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
                "{address} has no table {shown}, or the user may not see it; correct `tables`, or \
                 grant SELECT"
            ));
        };
        if snapshot && engine.as_deref() != Some("InnoDB") {
            let engine = engine.unwrap_or_default();
            return misfit(format!(
                "the table {shown} has the engine `{engine}`, which does not support snapshots; \
                 run `ALTER TABLE {shown} ENGINE = InnoDB`, or set `snapshot = false`"
            ));
        }
        self.check_keys(&shown).await?;
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
                (true, true) => "attribute `COMPRESSED`".to_owned(),
                (true, false) => format!("type `{kind}`"),
            };
            return misfit(format!(
                "the column `{column}` of {shown} has the unsupported {what}; convert the column, \
                 or remove the table from `tables`"
            ));
        }
        Ok(())
    }

    /// Rejects foreign keys by which the engine changes rows by itself: only MySQL from 9.6 on
    /// writes these changes to the log.
    async fn check_keys(&mut self, shown: &str) -> Result<(), SqlError> {
        let sql = "SHOW GLOBAL VARIABLES LIKE 'innodb\\_native\\_foreign\\_keys'";
        let native: Vec<(String, String)> = self.rows(sql).await?;
        if native.iter().any(|(_, value)| value == "OFF") {
            return Ok(());
        }
        // In `information_schema`, MariaDB shows keys only to accounts that may change the table.
        let made: Vec<mysql_async::Row> = self.rows(&format!("SHOW CREATE TABLE {shown}")).await?;
        let made = made.first().and_then(|row| row.get::<String, _>(1)).unwrap_or_default();
        match statement::cascades(&made) {
            true => misfit(format!(
                "a foreign key of {shown} changes rows itself (CASCADE, SET NULL), and the binary \
                 log lacks such changes; use RESTRICT, remove the table from `tables`, or use \
                 MySQL 9.6 or later"
            )),
            false => Ok(()),
        }
    }

    /// Returns the charset of each collation.
    ///
    /// # Errors
    /// Same as [`Self::rows`].
    pub(super) async fn charsets(&mut self) -> Result<Charsets, SqlError> {
        let flavour = self.flavour;
        let sql = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS \
                   NOT NULL AND CHARACTER_SET_NAME IS NOT NULL";
        Ok(Charsets::new(flavour, self.rows::<(u64, String)>(sql).await?))
    }

    /// Returns the proof of this position; `None` if it is not in the log.
    ///
    /// # Errors
    /// Same as [`Self::rows`].
    pub(super) async fn proof(
        mut self,
        server_id: u32,
        base: &str,
        at: Lsn,
    ) -> Result<Option<Proof>, SqlError> {
        let (file, offset) = (file(base, at), at.0 & 0xffff_ffff);
        if self.flavour == Flavour::MariaDb {
            let sql = format!("SELECT BINLOG_GTID_POS('{}', {offset})", file.replace('\'', "''"));
            let gtids = self.rows::<Option<String>>(&sql).await?.into_iter().next().flatten();
            return Ok(gtids.map(|gtids| Proof::read(&gtids)));
        }
        let files = self.files().await?;
        if !files.iter().any(|(name, size)| *name == file && *size >= offset) {
            return Ok(None);
        }
        let server = self.rows::<String>("SELECT @@global.server_uuid").await?.concat();
        let (address, limit) = (self.target.address.clone(), self.target.connect_timeout);
        let mut stream = self.stream(server_id, &file, at, true).await?;
        let heads = async {
            // The stream always begins with the first event of its file.
            while let Some(event) = stream.next().await {
                let event = event.map_err(|error| SqlError::mysql(&address, &error))?;
                let header = event.header();
                if header.event_type_raw() == EventType::FORMAT_DESCRIPTION_EVENT as u8 {
                    return Ok(Some(Proof::File { server, began: header.timestamp() }));
                }
            }
            misfit(format!("the binary log `{file}` of {address} is damaged: run `mysqlbinlog`"))
        };
        let silent = |_| Err(SqlError::Silent { address: address.clone(), limit });
        timeout(limit, heads).await.unwrap_or_else(silent)
    }

    /// Streams the log from a position. With `ends`, stops at the current end of the log.
    ///
    /// # Errors
    /// The server rejects it, or does not answer.
    pub(super) async fn stream(
        self,
        server_id: u32,
        file: &str,
        at: Lsn,
        ends: bool,
    ) -> Result<BinlogStream, SqlError> {
        let mut request = BinlogStreamRequest::new(server_id)
            .with_filename(file.as_bytes())
            .with_pos(at.0 & 0xffff_ffff);
        if ends {
            request = request.with_non_blocking();
        }
        let (address, limit) = (&self.target.address, self.target.connect_timeout);
        let stream = timeout(limit, self.connection.get_binlog_stream(request)).await;
        let stream = stream.map_err(|_| SqlError::Silent { address: address.clone(), limit })?;
        stream.map_err(|error| SqlError::mysql(address, &error))
    }

    /// Starts a transaction that sees everything committed before a position of the log.
    ///
    /// # Errors
    /// Same as [`Self::rows`].
    pub(super) async fn snapshot(&mut self, options: &Options) -> Result<(Lsn, Log), SqlError> {
        self.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
        self.run(self.flavour.no_limit()).await?;
        let (file, offset) = match self.flavour {
            Flavour::MariaDb => self.snapshot_with_place().await?,
            Flavour::Mysql { end_of_log } => self.snapshot_by_locks(options, end_of_log).await?,
        };
        let (base, number) = parts(&file)?;
        let done = place(number, offset);
        let other = Self::open(&options.target).await?;
        let Some(proof) = other.proof(options.server_id, &base, done).await? else {
            return misfit(format!(
                "the binary log has no position {done}, at which the snapshot was taken; the \
                 snapshot is taken again; raise `binlog_expire_logs_seconds` if this repeats"
            ));
        };
        Ok((done, Log { base, proof: proof.to_string() }))
    }

    /// MariaDB reports the position of a snapshot.
    async fn snapshot_with_place(&mut self) -> Result<(String, u64), SqlError> {
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let at: Vec<(String, String)> =
            self.rows("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'").await?;
        let of = |name: &str| {
            let found = at.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value)
        };
        match of("binlog_snapshot_position").parse() {
            Ok(offset) => Ok((of("binlog_snapshot_file").to_owned(), offset)),
            Err(_) => misfit(NO_POSITION.to_owned()),
        }
    }

    /// MySQL does not. While another connection locks the tables, no transaction that changes them
    /// can commit, so that log and tables agree for that moment.
    async fn snapshot_by_locks(
        &mut self,
        options: &Options,
        end_of_log: &str,
    ) -> Result<(String, u64), SqlError> {
        let mut locks = Self::open(&options.target).await?;
        locks.run(&format!("SET lock_wait_timeout = {LOCK_SECONDS}")).await?;
        let quoted = |(schema, name): &(String, String)| {
            format!("{} READ", Dialect::Mysql.quote_table(&format!("{schema}.{name}")))
        };
        let tables: Vec<String> = options.tables.iter().map(quoted).collect();
        locks.run(&format!("LOCK TABLES {}", tables.join(", "))).await.map_err(may_lock)?;
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
        let ends: Vec<mysql_async::Row> = locks.rows(end_of_log).await?;
        locks.run("UNLOCK TABLES").await?;
        let end = ends.first().and_then(|row| Some((row.get(0)?, row.get(1)?)));
        end.map_or_else(|| misfit(NO_POSITION.to_owned()), Ok)
    }

    /// Lists the log files and their sizes.
    async fn files(&mut self) -> Result<Vec<(String, u64)>, SqlError> {
        let rows: Vec<mysql_async::Row> = self.rows("SHOW BINARY LOGS").await?;
        Ok(rows.iter().filter_map(|row| Some((row.get(0)?, row.get(1)?))).collect())
    }

    /// Returns the column names of a table, in order.
    ///
    /// # Errors
    /// Same as [`Self::rows`].
    pub(super) async fn columns(&mut self, table: &str) -> Result<Vec<(String, bool)>, SqlError> {
        let columns: Vec<mysql_async::Row> =
            self.rows(&format!("SHOW COLUMNS FROM {table}")).await?;
        let column = |row: mysql_async::Row| {
            (row.get(0).unwrap_or_default(), row.get::<String, _>(3).as_deref() == Some("PRI"))
        };
        Ok(columns.into_iter().map(column).collect())
    }

    /// Returns the size of the log after this position.
    ///
    /// # Errors
    /// Same as [`Self::rows`].
    pub(super) async fn lag(&mut self, at: Lsn) -> Result<u64, SqlError> {
        let mut lag = 0;
        for (name, size) in self.files().await? {
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
