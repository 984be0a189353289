//! Reads changes of MySQL and MariaDB from the rows in their binary log, like a replica.
//!
//! ```text
//!   position    file and offset       ──► the stream starts there
//!               its proof             ──► is it still the same log?
//! ```
//!
//! The server does not retain its log for disconnected readers. Before each start, the source asks
//! for the proof of its position. Without an answer, the file was deleted; with a different answer,
//! the log was replaced.
//!
//! Both servers use the same format of rows, table maps, statements and positions. Differences:
//!
//! | | MariaDB | MySQL |
//! |---|---|---|
//! | a transaction starts with | a GTID, which marks single statements | a GTID, and `BEGIN` |
//! | compression | of each event: rejected | of the transaction: the client decompresses it |
//! | JSON | text | binary |
//! | proof of a position | the GTIDs before it | the server, and the start time of the file |
//! | position of a snapshot | a status variable | read while the tables are locked |
//!
//! | module | contents |
//! |---|---|
//! | `flavour` | differences between the two servers |
//! | `proof` | the proof of a position |
//! | `server` | queries about the server, its tables and its log |
//! | `snapshot` | reads the existing rows at a position of the log |
//! | `statement` | statements in the log |
//! | `table` | table descriptions in the log |
//! | `row` | decodes rows |
//! | `json` | converts binary JSON to text |
//! | `gtid` | events that start a transaction |
//! | `log` | groups events into transactions |
//! | `follow` | streams transactions into the channel |

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

use super::config::{OnLost, Options};
use super::position::{Next, Phase, State};
use crate::error::SqlError;
use flavour::Flavour;
use proof::Proof;
use server::Server;

/// Checks that changes can be read, and decides how to start.
///
/// # Errors
/// They cannot be read. The message contains a hint.
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

/// Decides how to start, from the server's proof of the position.
///
/// # Errors
/// An operator must act. The message contains a hint.
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
            format!(
                "has `{there}` at this position instead of `{}`, so it is another log",
                known.proof
            )
        }
        None => format!(
            "has no file `{}` that includes this position",
            server::file(&known.base, state.done)
        ),
    };
    let address = &options.target.address;
    let lost = format!("changes after {} are lost: the log of {address} {lost}", state.done);
    match options.on_lost {
        OnLost::Snapshot => {
            tracing::warn!(
                "{lost}; starting a new snapshot, as `on_lost` is set; changes in between are not \
                 read"
            );
            Ok(Next::Make { is_void: true, is_lost: true })
        }
        OnLost::Stop => Err(SqlError::Misfit {
            problem: format!(
                "{lost}; set `on_lost = \"snapshot\"` for a new snapshot, or rename the source to \
                 start again; to keep the log longer, raise `{}` of the server",
                flavour.keeps_log()
            ),
        }),
    }
}
