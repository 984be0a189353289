//! Changes of MySQL and MariaDB: their binary log has them as rows, and is read as a replica reads
//! it.
//!
//! ```text
//!   position    file and offset in it ──► the stream begins there
//!               its proof             ──► is it the same log still?
//! ```
//!
//! The server keeps its log for nothing that is not connected. So before each beginning it is asked
//! for the proof of the position: no answer means that the file is gone, another answer that the
//! log is another one.
//!
//! Both have the same rows, maps of tables, statements and places. They differ in this:
//!
//! | | MariaDB | MySQL |
//! |---|---|---|
//! | a transaction begins by | a GTID, which says whether it is a statement alone | a GTID, perhaps without a name, and `BEGIN` |
//! | compressed | each event: refused | the transaction: the client unpacks it |
//! | JSON | is a text | has a binary form |
//! | proof of a place | the GTIDs in front of it | the server, and when the file was begun |
//! | place of a snapshot | is a status of it | is read while the tables are locked |
//!
//! | module | what it does |
//! |---|---|
//! | `flavour` | what the two do in different words |
//! | `proof` | what proves a place |
//! | `server` | what the server says of itself, its tables and its log |
//! | `snapshot` | a place in the log is taken, and the rows that are there are read |
//! | `statement` | statements that stand in the log as texts |
//! | `table` | what the log says of a table |
//! | `row` | bytes of rows become values |
//! | `json` | binary JSON becomes text |
//! | `gtid` | events by which transactions begin |
//! | `log` | events become transactions |
//! | `follow` | the stream: transactions into the channel |

mod flavour;
mod follow;
mod gtid;
mod json;
mod log;
mod proof;
mod row;
mod server;
mod snapshot;
mod statement;
mod table;
#[cfg(test)]
mod tests;

use pipeline::{Intake, SourceError};

use super::Changes;
use super::config::{OnLost, Options};
use super::position::{Next, Phase, State};
use crate::error::SqlError;
use flavour::Flavour;
use proof::Proof;
use server::Server;

/// Looks whether changes can be read, and what comes next.
///
/// # Errors
/// They cannot, and what helps.
pub(super) async fn open(options: &Options, state: Option<State>) -> Result<Next, SqlError> {
    let mut server = Server::open(&options.target).await?;
    server.check(options).await?;
    let flavour = server.flavour;
    let there = match &state {
        Some(State { phase: Phase::Changes, log: Some(log), done, .. }) => {
            server.proof(options.server_id, &log.base, *done).await?
        }
        _ => None,
    };
    next(options, state, there, flavour)
}

/// Decides it, by the proof that the server has of the position.
///
/// # Errors
/// An operator has to act; how, it says.
fn next(
    options: &Options,
    state: Option<State>,
    there: Option<Proof>,
    flavour: Flavour,
) -> Result<Next, SqlError> {
    let state = state.unwrap_or_default();
    let known = match (state.phase, &state.log) {
        (Phase::Changes, Some(log)) => log,
        (Phase::Snapshot { has_rows }, _) => {
            return Ok(Next::Make { is_void: has_rows, is_lost: false });
        }
        (Phase::New | Phase::Changes, _) => {
            return Ok(Next::Make { is_void: false, is_lost: false });
        }
    };
    let lost = match there {
        Some(there) if there == Proof::read(&known.proof) => {
            return Ok(Next::Changes(state));
        }
        Some(there) => {
            format!("has `{there}` there, and not `{}`: it is another one", known.proof)
        }
        None => format!("has no file `{}` with this place", server::file(&known.base, state.done)),
    };
    let address = &options.target.address;
    let lost = format!("changes behind {} are lost: the log of {address} {lost}", state.done);
    match options.on_lost {
        OnLost::Snapshot => {
            tracing::warn!("{lost}; a new snapshot begins");
            Ok(Next::Make { is_void: true, is_lost: true })
        }
        OnLost::Stop => Err(SqlError::Misfit {
            problem: format!(
                "{lost}; set `on_lost = \"snapshot\"` for a new snapshot, or give the source \
                 another name: then it begins anew; a larger `{}` of the server keeps the \
                 log longer",
                flavour.keeps_log()
            ),
        }),
    }
}

impl Changes {
    /// Reads until something fails.
    ///
    /// # Errors
    /// The database, or the channel.
    pub(super) async fn read_binlog(
        &mut self,
        state: State,
        next: Next,
        intake: &dyn Intake,
    ) -> Result<(), SourceError> {
        let state = match next {
            Next::Changes(from) => from,
            Next::Make { is_void, .. } => self.snapshot_of_log(state, is_void, intake).await?,
        };
        self.follow_log(state, intake).await
    }
}
