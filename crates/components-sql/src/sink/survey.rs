//! What a program asks of a table before rows go into it.

use pipeline::{BuildContext, BuildError, ErrorClass, SinkError};

use super::config::Config;
use super::ledger::Ledger;
use super::problem::SinkProblem;
use super::session::Session;
use super::table::Table;

/// A table that rows can go into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its columns that take values, and whether an empty text is a value of each.
    pub columns: Vec<(String, bool)>,
    /// The ledger has batches of a sink of this name.
    pub has_applied: bool,
}

/// Settings that cannot work.
pub(super) fn wrong(error: BuildError) -> SinkError {
    SinkError { class: ErrorClass::Blocked, retry_after: None, source: Box::new(error) }
}

/// Looks at the table that the settings name, and into the ledger.
///
/// # Errors
/// There is no connection, no such table, or the database does not answer.
pub async fn survey(config: Config, cx: &BuildContext) -> Result<Survey, SinkError> {
    let target = config.database.target(cx).map_err(wrong)?;
    let mut session = Session::open(&target).await.map_err(SinkProblem::from)?;
    let table = Table::of(&mut session, &config.table, config.mode).await?;
    let ledger = Ledger::new(config.ledger, &cx.name, cx.env.clone());
    let has_applied = ledger.has_applied(&mut session).await?;
    Ok(Survey { columns: table.taking(), has_applied })
}
