//! `aqueduct roster`: the edges that count for receipts, and edges that have left.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use complete::Roster;
use components_hdfs::hdfs::completeness::{Act, Leave, leave, roster};
use ledger::LedgerError;
use pipeline::{Env, Origin};
use program::cli::{self, EXIT_RUNTIME};
use proof::{Opened, ProofError, opened};
use serde_json::{Value, json};
use thiserror::Error;

use crate::channel::print_json;
use crate::completeness::{
    EDGES_MAX, by_time, named_edge, now, operator, origins_of, progress, put, time,
};
use crate::runtime::{NoThreads, block_on};

const EXAMPLES: &str = "\
Examples:
  # The edges, the furthest behind first
  aqueduct roster list --store 'hdfs://nn:8020/logs/%Y-%m-%d-%H' --sink store

  # The host web-17 is dismantled: receipts no longer wait for it
  aqueduct roster leave web-17 --store file:///data/logs/%Y-%m-%d --sink store

The sink needs the setting `complete`. An edge that has left is expected again after its next batch
or report. To wait no longer for an edge in one directory only, use `aqueduct complete --waive`.";

const LIST: &str = "\
Examples:
  aqueduct roster list --store file:///data/logs/%Y-%m-%d --sink store";

const LEAVE: &str = "\
Examples:
  # The host web-17 is dismantled
  aqueduct roster leave web-17 --store file:///data/logs/%Y-%m-%d --sink store";

/// List the edges whose reports receipts wait for, or record that one has left.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct RosterArgs {
    #[command(subcommand)]
    command: RosterCommand,
}

#[derive(Debug, Subcommand)]
enum RosterCommand {
    /// List the edges, the furthest behind first
    List(ListArgs),
    /// Record that an edge has left: receipts no longer wait for it
    Leave(LeaveArgs),
}

#[derive(Debug, Args)]
#[command(after_help = LIST)]
struct ListArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = LEAVE)]
struct LeaveArgs {
    /// The edge: a host, for all of its channels, or an origin
    #[arg(value_name = "EDGE")]
    edge: String,
    #[command(flatten)]
    dataset: DatasetArgs,
}

#[derive(Debug, Args)]
struct DatasetArgs {
    /// The `url` of the `hdfs` sink
    #[arg(long, value_name = "URL")]
    store: String,
    /// Name of that sink; needed if several sinks have stored there
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Error)]
enum RosterError {
    #[error("no edge {0} is known; pass one of: {1}")]
    UnknownEdge(String, String),
    #[error(transparent)]
    Runtime(#[from] NoThreads),
    #[error(transparent)]
    Store(#[from] ProofError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Runs the command.
pub(crate) fn run(args: &RosterArgs) -> ExitCode {
    let env = env::real();
    let done = match &args.command {
        RosterCommand::List(ListArgs { dataset }) => {
            block_on(read(dataset, &env)).map(|(_, roster, leaves)| match dataset.json {
                true => print_json(&as_json(&roster, &leaves)),
                false => cli::print(&as_text(&roster, &leaves)),
            })
        }
        RosterCommand::Leave(args) => {
            let left = block_on(leave_roster(args, &env));
            left.map(|channels| match args.dataset.json {
                true => print_json(&json!({ "edge": args.edge, "channels": channels })),
                false => cli::print(&left_text(&args.edge, channels)),
            })
        }
    };
    done.unwrap_or_else(|error| {
        cli::print_line(&agent::chain(&error));
        ExitCode::from(EXIT_RUNTIME)
    })
}

async fn read(args: &DatasetArgs, env: &Env) -> Result<(Opened, Roster, Vec<Leave>), RosterError> {
    let opened = opened(&args.store, args.sink.as_deref(), env).await?;
    let (known, leaves) = roster(opened.fs.clone(), opened.dataset.clone()).await?;
    Ok((opened, known, leaves))
}

/// Records that every origin of the edge has left; returns their number.
async fn leave_roster(args: &LeaveArgs, env: &Env) -> Result<usize, RosterError> {
    let (Opened { fs, dataset, .. }, known, _) = read(&args.dataset, env).await?;
    let origins = origins_of(&known, &args.edge);
    if origins.is_empty() {
        let known: Vec<String> = by_time(&known).iter().take(EDGES_MAX).map(named_edge).collect();
        return Err(RosterError::UnknownEdge(args.edge.clone(), known.join(", ")));
    }
    for (origin, edge) in known.iter().filter(|(origin, _)| origins.contains(origin)) {
        let (by, token) = (operator(env), env.entropy.bytes16());
        let act = Act { by: &by, at: now(env), token };
        leave(fs.clone(), dataset.clone(), (origin, edge), act).await?;
    }
    Ok(origins.len())
}

fn left_text(edge: &str, origins: usize) -> String {
    format!("{edge} has left with {origins} channels; its next batch or report makes it return\n")
}

/// Returns the operator of the last record that an edge has left.
fn by(leaves: &[Leave], origin: Origin) -> Option<&str> {
    let of_it = leaves.iter().filter(|it| it.origin == origin);
    of_it.max_by_key(|it| it.departure).map(|it| it.by.as_str())
}

fn as_text(roster: &Roster, leaves: &[Leave]) -> String {
    let mut text = String::new();
    let edges = by_time(roster);
    for (origin, edge) in &edges {
        let mut state = progress(edge);
        if edge.left_at().is_some() {
            state += &format!(" by {}", by(leaves, *origin).unwrap_or("an operator"));
        }
        let name = named_edge(&(*origin, edge));
        let seen = time(edge.seen);
        put(&mut text, format_args!("{name}  {state}, last sign {seen}  (origin {origin})"));
    }
    put(&mut text, format_args!("{} edges", edges.len()));
    text
}

fn as_json(roster: &Roster, leaves: &[Leave]) -> Value {
    let edge = |(origin, edge): (Origin, &complete::Edge)| {
        let is_gone = edge.left_at().is_some();
        json!({
            "name": edge.name,
            "origin": origin.to_string(),
            "sent_before_ms": edge.before,
            "held_by": edge.held_by,
            "last_sign_ms": edge.seen,
            "left_at_ms": edge.left_at(),
            "left_by": by(leaves, origin).filter(|_| is_gone),
        })
    };
    json!({ "edges": by_time(roster).into_iter().map(edge).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use complete::Departure;

    use super::*;

    #[test]
    fn the_list_names_the_operator_and_the_time_of_an_edge_that_left() {
        let (a, b) = (Origin([1; 16]), Origin([2; 16]));
        let mut roster = Roster::default();
        roster.join(a, 5_000);
        roster.join(b, 5_000);
        roster.report(b, "web-2", 1_800_000_000_000, "");
        let at = |at| Departure { at, newest: None };
        roster.leave(a, at(1_800_000_000_000));
        let leaves = [(a, 1, "one"), (a, 3, "two"), (b, 9, "other")];
        let leave = |(origin, time, by): (Origin, i64, &str)| Leave {
            origin,
            departure: at(time),
            by: by.into(),
        };
        let leaves = leaves.map(leave);
        let text = as_text(&roster, &leaves);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("left at 2027-01-15T08:00:00Z by two, last sign 1970"), "{text}");
        assert!(lines[1].starts_with("web-2  everything before 2027"), "{text}");
        assert_eq!(lines[2], "2 edges");
        let json = as_json(&roster, &leaves);
        assert_eq!(json["edges"][0]["left_by"], "two");
        assert_eq!(json["edges"][1]["left_by"], Value::Null);
    }
}
