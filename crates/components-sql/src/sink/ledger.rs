//! The ledger in the database: the applied batches, and their rejected events.
//!
//! ```text
//!   aqueduct_applied           sink, origin → floor, applied     one row for each origin
//!   aqueduct_applied_refused   sink, origin, epoch, sequence → events, reason, detail
//! ```
//!
//! If a sink writes to a staging table, its row `moved` counts in `events` how many rows were moved
//! from there.
//!
//! Each batch first locks the row of its origin, and writes it in the transaction of its rows.
//! Batches of one origin from two collectors are therefore applied one after the other, and each
//! sees the result of an earlier unanswered COMMIT.

use std::time::Duration;

use components::sinks::record::Record;
use pipeline::deliver::Delivered;
use pipeline::env::unix_millis;
use pipeline::{Env, Identity, Origin};

use super::config::LedgerConfig;
use super::problem::SinkProblem;
use super::session::{Cause, Session};
use super::table::Table;
use super::value::Value;
use crate::dialect::Dialect;
use crate::error::SqlError;

/// Used instead of an origin for moved rows. Real origins are longer.
const MOVED: &str = "moved";

/// The ledger of one sink.
pub(super) struct Ledger {
    config: LedgerConfig,
    /// Key of the sink.
    sink: String,
    env: Env,
}

/// Formats a statement of the ledger; `?t` stands for text, `?i` for a number and `?b` for bytes.
fn statement((dialect, is_odbc): (Dialect, bool), text: &str) -> String {
    let mut out = String::new();
    for (number, part) in text.split('?').enumerate() {
        let (kind, rest) = if number == 0 { ("", part) } else { part.split_at(1) };
        match (dialect, kind) {
            (_, "") => {}
            (Dialect::Postgres, kind) => {
                let kind = match kind {
                    "t" => "text",
                    "b" => "bytea",
                    _ => "bigint",
                };
                match is_odbc {
                    true => out.push_str(&format!("CAST(? AS {kind})")),
                    false => out.push_str(&format!("${number}::{kind}")),
                }
            }
            _ => out.push('?'),
        }
        out.push_str(rest);
    }
    out
}

fn number(value: u64) -> Value {
    // Larger values are rejected when batches arrive.
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Returns the texts after the table name and at the end of a statement that lock the rows it
/// reads.
fn locks(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        // Its transaction locks the whole file.
        Dialect::Sqlite => ("", ""),
        Dialect::SqlServer => (" WITH (UPDLOCK, ROWLOCK, HOLDLOCK)", ""),
        _ => ("", " FOR UPDATE"),
    }
}

impl Ledger {
    pub(super) fn new(config: LedgerConfig, sink: &str, env: Env) -> Self {
        let sink = config.name.clone().unwrap_or_else(|| sink.to_owned());
        Self { config, sink, env }
    }

    pub(super) fn sink(&self) -> &str {
        &self.sink
    }

    fn applied(&self, dialect: Dialect) -> String {
        dialect.quote_table(&self.config.table)
    }

    fn refused_name(&self) -> String {
        format!("{}_refused", self.config.table)
    }

    fn refused(&self, dialect: Dialect) -> String {
        dialect.quote_table(&self.refused_name())
    }

    fn text(&self) -> Value {
        Value::Text(self.sink.clone())
    }

    fn row(&self, origin: Origin) -> Vec<Value> {
        vec![self.text(), Value::Text(origin.to_string())]
    }

    /// Returns the statements that create both tables.
    fn definitions(&self, dialect: Dialect) -> [String; 2] {
        let (bytes, text, end) = match dialect {
            Dialect::Postgres => ("bytea", "text", ""),
            Dialect::Mysql => {
                let end = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
                ("longblob", "longtext", end)
            }
            Dialect::Sqlite => ("blob", "text", ""),
            Dialect::SqlServer => ("varbinary(max)", "nvarchar(max)", ""),
            Dialect::Oracle | Dialect::Standard => ("blob", "clob", ""),
        };
        let bigint = if dialect == Dialect::Oracle { "number(19)" } else { "bigint" };
        let create = match dialect {
            Dialect::Postgres | Dialect::Mysql | Dialect::Sqlite => "CREATE TABLE IF NOT EXISTS",
            Dialect::SqlServer | Dialect::Oracle | Dialect::Standard => "CREATE TABLE",
        };
        let key = "sink varchar(128) NOT NULL, origin varchar(32) NOT NULL";
        // In Oracle, empty text is NULL.
        let detail = if dialect == Dialect::Oracle { "" } else { " NOT NULL" };
        [
            format!(
                "{create} {} ({key}, floor {bigint} NOT NULL, applied {bytes} NOT NULL, batches \
                 {bigint} NOT NULL, events {bigint} NOT NULL, written_ms {bigint} NOT NULL, \
                 PRIMARY KEY (sink, origin)){end}",
                self.applied(dialect)
            ),
            format!(
                "{create} {} ({key}, epoch {bigint} NOT NULL, sequence {bigint} NOT NULL, events \
                 {text} NOT NULL, reason varchar(64) NOT NULL, detail {text}{detail}, written_ms \
                 {bigint} NOT NULL, PRIMARY KEY (sink, origin, epoch, sequence)){end}",
                self.refused(dialect)
            ),
        ]
    }

    /// Checks both tables, or creates them if the settings allow it.
    ///
    /// # Errors
    /// They are missing or unusable.
    pub(super) async fn open(&self, session: &mut Session) -> Result<(), SinkProblem> {
        let definitions = self.definitions(session.dialect());
        let names = [self.config.table.clone(), self.refused_name()];
        for (name, definition) in names.into_iter().zip(&definitions) {
            match Table::describe(session, &name).await {
                Ok(_) => {}
                Err(SinkProblem::NoTable { .. }) if self.config.create => {
                    session.run(definition).await?;
                }
                Err(SinkProblem::NoTable { .. }) => {
                    let statements = definitions.join(";\n");
                    return Err(SinkProblem::NoLedger { statements });
                }
                Err(problem) => return Err(problem),
            }
        }
        self.forget(session).await
    }

    /// Deletes old rejected events, whose batches are never repeated.
    async fn forget(&self, session: &mut Session) -> Result<(), SinkProblem> {
        let text = format!(
            "DELETE FROM {} WHERE sink = ?t AND written_ms < ?i",
            self.refused(session.dialect())
        );
        let kept = self.config.refused_kept.0;
        let before = self.env.clock.now().checked_sub(kept).map_or(0, unix_millis);
        let values = vec![self.text(), number(before)];
        session.execute(&statement(session.way(), &text), values).await?;
        Ok(())
    }

    /// Returns whether any agent has applied batches of this sink.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn has_applied(&self, session: &mut Session) -> Result<bool, SinkProblem> {
        match Table::describe(session, &self.config.table).await {
            Err(SinkProblem::NoTable { .. }) => return Ok(false),
            described => described?,
        };
        let text =
            format!("SELECT batches FROM {} WHERE sink = ?t", self.applied(session.dialect()));
        let rows = session.query(&statement(session.way(), &text), vec![self.text()]).await?;
        Ok(rows.iter().any(|row| row.first().and_then(Value::int) != Some(0)))
    }

    /// Returns the row of an origin, locked until the end of the transaction.
    ///
    /// # Errors
    /// The database failed, or the row cannot be parsed.
    pub(super) async fn lock(
        &self,
        session: &mut Session,
        origin: Origin,
    ) -> Result<Record, SinkProblem> {
        if let Some(record) = self.find(session, origin).await? {
            return Ok(record);
        }
        self.make(session, &origin.to_string()).await?;
        // Another collector may have created it, and applied its first batch.
        let record = self.find(session, origin).await?;
        record.ok_or_else(|| self.damaged(origin))
    }

    /// Creates an empty row, unless it exists.
    async fn make(&self, session: &mut Session, origin: &str) -> Result<(), SqlError> {
        let dialect = session.dialect();
        let (insert, end, passes_over) = match dialect {
            Dialect::Postgres => ("INSERT INTO", " ON CONFLICT DO NOTHING", true),
            Dialect::Mysql => ("INSERT IGNORE INTO", "", true),
            Dialect::Sqlite => ("INSERT OR IGNORE INTO", "", true),
            Dialect::SqlServer | Dialect::Oracle | Dialect::Standard => ("INSERT INTO", "", false),
        };
        let text = format!(
            "{insert} {} (sink, origin, floor, applied, batches, events, written_ms) VALUES (?t, \
             ?t, ?i, ?b, 0, 0, 0){end}",
            self.applied(dialect)
        );
        let none = Record::default();
        let key = [self.text(), Value::Text(origin.to_owned())];
        let values = key.into_iter().chain([number(none.floor()), Value::Bytes(none.bytes())]);
        match session.execute(&statement(session.way(), &text), values.collect()).await {
            // Without `ON CONFLICT`, an existing row is an error, but the only one.
            Err(error) if !passes_over && Cause::is_of_rows(&error) => Ok(()),
            made => made.map(drop),
        }
    }

    async fn find(
        &self,
        session: &mut Session,
        origin: Origin,
    ) -> Result<Option<Record>, SinkProblem> {
        let (hint, end) = locks(session.dialect());
        let text = format!(
            "SELECT floor, applied FROM {}{hint} WHERE sink = ?t AND origin = ?t{end}",
            self.applied(session.dialect())
        );
        let rows = session.query(&statement(session.way(), &text), self.row(origin)).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let record = match <[Value; 2]>::try_from(row) {
            Ok([floor, Value::Bytes(applied)]) => {
                let floor = floor.int().and_then(|floor| u64::try_from(floor).ok());
                floor.and_then(|floor| Record::read(floor, &applied).ok())
            }
            _ => None,
        };
        record.map(Some).ok_or_else(|| self.damaged(origin))
    }

    fn damaged(&self, origin: Origin) -> SinkProblem {
        SinkProblem::Damaged { table: self.config.table.clone(), origin: origin.to_string() }
    }

    /// Adds the batch to the row of its origin, and stores its rejected events.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn write(
        &self,
        session: &mut Session,
        batch: Identity,
        record: &Record,
        events: usize,
        delivered: &Delivered,
    ) -> Result<(), SqlError> {
        let text = format!(
            "UPDATE {} SET floor = ?i, applied = ?b, batches = batches + 1, events = events + ?i, \
             written_ms = ?i WHERE sink = ?t AND origin = ?t",
            self.applied(session.dialect())
        );
        let now = number(unix_millis(self.env.clock.now()));
        let mut values = vec![
            number(record.floor()),
            Value::Bytes(record.bytes()),
            number(events as u64),
            now.clone(),
        ];
        values.extend(self.row(batch.origin));
        session.execute(&statement(session.way(), &text), values).await?;
        let Delivered::Except { events, reason, detail } = delivered else { return Ok(()) };
        let text = format!(
            "INSERT INTO {} (sink, origin, epoch, sequence, events, reason, detail, written_ms) \
             VALUES (?t, ?t, ?i, ?i, ?t, ?t, ?t, ?i)",
            self.refused(session.dialect())
        );
        let mut values = self.row(batch.origin);
        let places: Vec<String> = events.iter().map(usize::to_string).collect();
        values.extend([number(batch.epoch.0), number(batch.sequence.0)]);
        values.extend([places.join(","), (*reason).to_owned(), detail.clone()].map(Value::Text));
        values.push(now);
        session.execute(&statement(session.way(), &text), values).await?;
        Ok(())
    }

    /// Returns how many rows this sink has written, on any agent, without a call of
    /// [`Self::add_moved`]. Locks its ledger rows until the end of the transaction.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn staged(&self, session: &mut Session) -> Result<u64, SinkProblem> {
        self.make(session, MOVED).await?;
        let (hint, end) = locks(session.dialect());
        let text = format!(
            "SELECT origin, events FROM {}{hint} WHERE sink = ?t{end}",
            self.applied(session.dialect())
        );
        let rows = session.query(&statement(session.way(), &text), vec![self.text()]).await?;
        let staged = rows.iter().map(|row| match row.as_slice() {
            [Value::Text(origin), events] if origin == MOVED => -events.int().unwrap_or(0),
            [_, events] => events.int().unwrap_or(0),
            _ => 0,
        });
        Ok(u64::try_from(staged.sum::<i64>()).unwrap_or(0))
    }

    /// Adds this many rows to those moved out of the sink's table.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn add_moved(&self, session: &mut Session, rows: u64) -> Result<(), SqlError> {
        let text = format!(
            "UPDATE {} SET batches = batches + 1, events = events + ?i, written_ms = ?i WHERE \
             sink = ?t AND origin = ?t",
            self.applied(session.dialect())
        );
        let now = number(unix_millis(self.env.clock.now()));
        let values = vec![number(rows), now, self.text(), Value::Text(MOVED.to_owned())];
        session.execute(&statement(session.way(), &text), values).await?;
        Ok(())
    }

    /// Returns the result of an applied batch: the same dead letters as the first time.
    ///
    /// # Errors
    /// The database failed.
    pub(super) async fn delivered(
        &self,
        session: &mut Session,
        batch: Identity,
    ) -> Result<Delivered, SqlError> {
        let text = format!(
            "SELECT events, reason, detail FROM {} WHERE sink = ?t AND origin = ?t AND epoch = ?i \
             AND sequence = ?i",
            self.refused(session.dialect())
        );
        let mut values = self.row(batch.origin);
        values.extend([number(batch.epoch.0), number(batch.sequence.0)]);
        let rows = session.query(&statement(session.way(), &text), values).await?;
        let row = rows.into_iter().next().and_then(|row| <[Value; 3]>::try_from(row).ok());
        let Some([Value::Text(events), Value::Text(reason), Value::Text(detail)]) = row else {
            return Ok(Delivered::All);
        };
        let events = events.split(',').filter_map(|place| place.parse().ok()).collect();
        let reason = super::REASONS.into_iter().find(|known| **known == reason);
        Ok(Delivered::Except { events, reason: reason.unwrap_or(super::REFUSED), detail })
    }

    /// Interval between deletions of old rows.
    pub(super) const FORGET_EVERY: Duration = Duration::from_secs(3600);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_those_of_the_dialect() {
        let text = "UPDATE t SET a = ?b WHERE b = ?t AND c = ?i";
        let postgres = "UPDATE t SET a = $1::bytea WHERE b = $2::text AND c = $3::bigint";
        assert_eq!(statement((Dialect::Postgres, false), text), postgres);
        let odbc = "UPDATE t SET a = CAST(? AS bytea) WHERE b = CAST(? AS text) AND c = CAST(? AS \
                    bigint)";
        assert_eq!(statement((Dialect::Postgres, true), text), odbc);
        let plain = "UPDATE t SET a = ? WHERE b = ? AND c = ?";
        assert_eq!(statement((Dialect::Sqlite, false), text), plain);
        assert_eq!(statement((Dialect::SqlServer, true), text), plain);
    }
}
