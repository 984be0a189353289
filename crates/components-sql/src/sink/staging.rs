//! A staging table: rows are put there batch by batch, and go on into the table that they are for
//! by one transaction, when the last one is there.
//!
//! ```text
//!   BEGIN
//!     the ledger of this sink, locked ──► rows that it has put, less rows that were moved
//!     INSERT INTO table SELECT … FROM staging table
//!     DELETE FROM staging table ── so many rows? else nothing is done
//!     the ledger: so many rows more are moved
//!   COMMIT
//! ```
//!
//! Whatever became of an attempt, the next one reads in the ledger what is left to be moved. Rows
//! of others in the staging table, or rows that are gone, are an error and not moved in silence.

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

/// How long a statement over all rows may take.
const STATEMENT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The staging table of a sink, and the table behind it.
pub struct Staging {
    session: Session,
    ledger: Ledger,
    /// The staging table, the table behind it and the columns of both, quoted.
    from: String,
    into: String,
    columns: String,
}

impl Staging {
    /// The table that the settings of a sink name is the staging table; its rows have these
    /// columns.
    ///
    /// # Errors
    /// There is no connection, one of the tables is not there, or rows of the staging table lack a
    /// value that the other one needs.
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
        let quoted = columns.iter().map(|name| session.dialect().quote(name));
        let columns = quoted.collect::<Vec<_>>().join(", ");
        let ledger = Ledger::new(config.ledger, &cx.name, cx.env.clone());
        Ok(Self { session, ledger, from, into: into.quoted, columns })
    }

    /// Whether the staging table has no rows.
    ///
    /// # Errors
    /// The database has failed.
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
    /// The database has failed.
    pub async fn clear(&mut self) -> Result<(), SinkError> {
        let sql = format!("DELETE FROM {}", self.from);
        self.session.execute(&sql, Vec::new()).await.map_err(SinkProblem::from)?;
        Ok(())
    }

    /// Moves all rows, and says how many.
    ///
    /// # Errors
    /// None is moved; or it is not known, and the next attempt finds out.
    pub async fn move_rows(mut self) -> Result<u64, SinkError> {
        // In front of the transaction, which a definition would end.
        self.ledger.open(&mut self.session).await?;
        Ok(self.moved().await?)
    }

    async fn moved(&mut self) -> Result<u64, SinkProblem> {
        let Self { session, ledger, from, into, columns } = self;
        session.begin().await?;
        let staged = ledger.staged(session).await?;
        let insert = format!("INSERT INTO {into} ({columns}) SELECT {columns} FROM {from}");
        session.execute(&insert, Vec::new()).await?;
        let moved = session.execute(&format!("DELETE FROM {from}"), Vec::new()).await?;
        if moved != staged {
            session.rollback().await?;
            return Err(SinkProblem::Table {
                problem: format!(
                    "the staging table {from} has {moved} rows, and {staged} were put there and \
                     not moved yet: nothing is moved; take out what is of others"
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
