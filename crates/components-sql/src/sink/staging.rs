//! A staging table: batches write rows there; when all have arrived, one transaction moves them to
//! the target table.
//!
//! ```text
//!   BEGIN
//!     the ledger of this sink, locked ──► rows written, less rows already moved
//!     INSERT INTO table SELECT … FROM staging table
//!     DELETE FROM staging table ── the same number? otherwise roll back
//!     the ledger: add the number of moved rows
//!   COMMIT
//! ```
//!
//! Each attempt reads the ledger to find out what is left to move. Foreign or missing rows in the
//! staging table are an error; they are not moved silently.

use std::time::Duration;

use pipeline::{BuildContext, SinkError};

use super::config::Config;
use super::ledger::Ledger;
use super::problem::SinkProblem;
use super::session::Session;
use super::survey::wrong;
use super::table::Table;
use super::value::Value;
use crate::connection::Via;
use crate::error::SqlError;

/// Timeout of a statement over all rows.
const STATEMENT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The staging table of a sink, and its target table.
pub struct Staging {
    session: Session,
    ledger: Ledger,
    /// The quoted names of the staging table, the target table, and the columns of both.
    from: String,
    into: String,
    columns: String,
    /// The words of PostgreSQL before the values.
    overriding: &'static str,
}

impl Staging {
    /// Opens the staging table that the sink's settings name, with these columns of its rows.
    ///
    /// # Errors
    /// The connection fails, a table is missing, or rows of the staging table lack a value that the
    /// target needs.
    pub async fn open(
        config: Config,
        into: &str,
        columns: &[String],
        cx: &BuildContext,
    ) -> Result<Self, SinkError> {
        let mut target = config.database.target(cx).map_err(wrong)?;
        if target.via != Via::Sqlite {
            target.statement_timeout = STATEMENT_MAX;
        }
        let mut session = Session::open(&target).await.map_err(SinkProblem::from)?;
        let from = Table::describe(&mut session, &config.table).await?.quoted;
        let into = Table::describe(&mut session, into).await?;
        into.check_columns(columns)?;
        let overriding = into.overriding(columns);
        let quoted = columns.iter().map(|name| session.dialect().quote(name));
        let columns = quoted.collect::<Vec<_>>().join(", ");
        let ledger = Ledger::new(config.ledger, &cx.name, cx.env.clone());
        Ok(Self { session, ledger, from, into: into.quoted, columns, overriding })
    }

    /// Returns whether the staging table is empty.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_empty(&mut self) -> Result<bool, SinkError> {
        let dialect = self.session.dialect();
        let (first, last) = dialect.limit(1);
        let one = format!("SELECT {first}1 AS found FROM {}{last}", self.from);
        let sql = format!("SELECT count(*) FROM {}", dialect.named(&one, "aqueduct_first"));
        let rows = self.session.query(&sql, Vec::new()).await.map_err(SinkProblem::from)?;
        Ok(rows.first().and_then(|row| row.first()).and_then(Value::int) == Some(0))
    }

    /// Deletes the rows of the staging table.
    ///
    /// # Errors
    /// The database failed.
    pub async fn clear(&mut self) -> Result<(), SinkError> {
        let sql = format!("DELETE FROM {}", self.from);
        self.session.execute(&sql, Vec::new()).await.map_err(SinkProblem::from)?;
        Ok(())
    }

    /// Moves all rows, and returns their number.
    ///
    /// # Errors
    /// No row was moved; or the result is unknown, and the next attempt finds out.
    pub async fn move_rows(mut self) -> Result<u64, SinkError> {
        // Before the transaction, which a table definition would end.
        self.ledger.open(&mut self.session).await?;
        Ok(self.moved().await?)
    }

    async fn moved(&mut self) -> Result<u64, SinkProblem> {
        let Self { session, ledger, from, into, columns, overriding } = self;
        session.begin().await?;
        let staged = ledger.staged(session).await?;
        let insert =
            format!("INSERT INTO {into} ({columns}){overriding} SELECT {columns} FROM {from}");
        session.execute(&insert, Vec::new()).await?;
        let moved = session.execute(&format!("DELETE FROM {from}"), Vec::new()).await?;
        if moved != staged {
            session.rollback().await?;
            return Err(SinkProblem::Table {
                problem: format!(
                    "the staging table {from} has {moved} rows, but this export added {staged}; no \
                     row was moved: delete the rows of other programs"
                ),
            });
        }
        if moved == 0 {
            session.rollback().await?;
            return Ok(0);
        }
        ledger.add_moved(session, moved).await?;
        match session.commit().await {
            Ok(()) => Ok(moved),
            Err(error @ (SqlError::Broken { .. } | SqlError::Silent { .. })) => {
                Err(SinkProblem::Unclear(error))
            }
            Err(error) => Err(error.into()),
        }
    }
}
