//! Inspects a table before rows are written.

use pipeline::{BuildContext, BuildError, ErrorClass, SinkError};

use super::config::Config;
use super::ledger::Ledger;
use super::problem::SinkProblem;
use super::session::Session;
use super::table::Table;

/// A table for rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its writable columns, and whether each accepts an empty text.
    pub columns: Vec<(String, bool)>,
    /// The same of columns that `SELECT *` leaves out.
    pub hidden: Vec<(String, bool)>,
    /// Whether the ledger has batches of a sink with this name.
    pub has_applied: bool,
}

/// Converts an error in the settings.
pub(super) fn wrong(error: BuildError) -> SinkError {
    SinkError { class: ErrorClass::Blocked, retry_after: None, source: Box::new(error) }
}

/// Inspects the table of the settings, and the ledger.
///
/// # Errors
/// The connection fails, the table is missing, or the database does not answer.
pub async fn survey(config: Config, cx: &BuildContext) -> Result<Survey, SinkError> {
    let target = config.database.target(cx).map_err(wrong)?;
    let mut session = Session::open(&target).await.map_err(SinkProblem::from)?;
    let table = Table::of(&mut session, &config.table, config.mode).await?;
    let ledger = Ledger::new(config.ledger, &cx.name, cx.env.clone());
    let has_applied = ledger.has_applied(&mut session).await?;
    Ok(Survey { columns: table.writable(false), hidden: table.writable(true), has_applied })
}
