//! The ledger in the database: which batches are applied, and what of them was refused.
//!
//! ```text
//!   aqueduct_applied           sink, origin → floor, applied     one row for each origin
//!   aqueduct_applied_refused   sink, origin, epoch, sequence → events, reason, detail
//! ```
//!
//! Where a sink puts rows into a staging table, its row `moved` has in `events` how many of them
//! went on from there.
//!
//! The row of an origin is locked before anything of a batch is done, and written in the
//! transaction of its rows. So what two collectors have of one origin is applied one after the
//! other, and whatever became of a COMMIT without an answer is seen behind that lock.

use std::time::Duration;

use kit::record::Record;
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

/// What stands in the place of an origin, whose names are longer, for rows that were moved on.
const MOVED: &str = "moved";

/// The ledger of one sink.
pub(super) struct Ledger {
    config: LedgerConfig,
    /// Under what the sink is found.
    sink: String,
    env: Env,
}

/// A statement of the ledger. `?t`, `?i` and `?b` stand for text, a number and bytes.
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
    // What lies beyond is refused where batches come in.
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// What stands behind the name of a table, and at the end of a statement, so that the rows it reads
/// are locked.
fn locks(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        // Its transaction has the whole file.
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

    /// Under what the sink is found.
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

    /// The statements that make both tables.
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
        // An empty text is NULL in Oracle.
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

    /// Looks for both tables; makes them where the settings say so.
    ///
    /// # Errors
    /// They are not there, or cannot be used.
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

    /// Forgets what was refused so long ago that no batch of that time comes again.
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

    /// Whether batches of this sink are applied, by whichever agent.
    ///
    /// # Errors
    /// The database has failed.
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

    /// The row of an origin, locked until the transaction ends.
    ///
    /// # Errors
    /// The database has failed, or the row cannot be read.
    pub(super) async fn lock(
        &self,
        session: &mut Session,
        origin: Origin,
    ) -> Result<Record, SinkProblem> {
        if let Some(record) = self.find(session, origin).await? {
            return Ok(record);
        }
        self.make(session, &origin.to_string()).await?;
        // Another collector may have made it, and applied its first batch.
        let record = self.find(session, origin).await?;
        record.ok_or_else(|| self.damaged(origin))
    }

    /// Makes a row of which nothing is known yet, unless there is one.
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
            // Where a row that is there cannot be passed over, it is refused, and nothing else.
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

    /// Writes the row of the batch's origin, with the batch in it, and what was refused of the
    /// batch.
    ///
    /// # Errors
    /// The database has failed.
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

    /// How many rows this sink has put and [`Self::add_moved`] was not called for, whichever agent
    /// has put them. Locks its rows of the ledger until the transaction ends.
    ///
    /// # Errors
    /// The database has failed.
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

    /// So many rows were moved out of the table that this sink puts rows into.
    ///
    /// # Errors
    /// The database has failed.
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

    /// What became of a batch that is applied: the same dead letters as the first time.
    ///
    /// # Errors
    /// The database has failed.
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

    /// How often what is too old is looked for.
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
