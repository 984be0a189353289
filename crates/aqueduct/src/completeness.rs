//! `aqueduct complete`: the state of a directory, for schedulers and operators.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use complete::{Edge, Roster, State};
use components_hdfs::hdfs::completeness::{Act, Report, report, waive};
use components_hdfs::hdfs::place;
use components_hdfs::hdfs::store::Access;
use humantime::{format_rfc3339_seconds, parse_duration};
use ledger::{Dataset, LedgerError};
use pipeline::env::unix_millis;
use pipeline::{Env, Origin};
use program::cli::{self, EXIT_RUNTIME};
use proof::{StoreError, open_store};
use serde_json::{Value, json};
use storage::FileSystem;
use thiserror::Error;

use crate::channel::print_json;
use crate::runtime::{self, NoThreads};

const EXAMPLES: &str = "\
Examples:
  # Is the hour complete? For Airflow, Oozie or cron: wait for it up to two hours
  aqueduct complete --store 'hdfs://nn:8020/logs/%Y-%m-%d-%H' --sink store \\
                    --partition 2027-01-15-08 --wait 2h

  # An edge is lost: no longer wait for it in this directory
  aqueduct complete --store file:///data/logs/%Y-%m-%d --sink store --partition 2027-01-15 \\
                    --waive web-17

The sink needs the setting `complete`. Its receipt is the file _receipt.json in the directory.

Exit codes: 0 complete, 1 failed, or covered files are missing, 2 wrong arguments, 3 open,
4 complete, but edges were waived or have left, 5 reopened: files came after the receipt";

/// Pause between two looks at an open directory.
const PAUSE: Duration = Duration::from_secs(10);

/// Maximum number of edges that are printed.
pub(crate) const EDGES_MAX: usize = 20;

/// Show whether a directory is complete, wait for it, or waive an edge that holds it back.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct CompleteArgs {
    /// The `url` of the `hdfs` sink
    #[arg(long, value_name = "URL")]
    store: String,
    /// Name of that sink
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// The directory, below the part of the URL before its first escape
    #[arg(long, value_name = "DIR")]
    partition: String,
    /// Wait up to this long until the directory is complete
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Record that this edge, a host or an origin, is not waited for in this directory
    #[arg(long, value_name = "EDGE")]
    waive: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why the command failed.
#[derive(Debug, Error)]
enum CompleteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("--partition {0} must be a directory below the store, without `.`, `..` and `//`")]
    Partition(String),
    #[error("--waive {0}: no edge of this name or origin is known; pass one of: {1}")]
    UnknownEdge(String, String),
    #[error(
        "--waive {0}: the directory already has its receipt, so no edge holds it back; no action \
         needed"
    )]
    HasReceipt(String),
    #[error(transparent)]
    Runtime(#[from] NoThreads),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A directory of a dataset.
struct Target {
    fs: Arc<dyn FileSystem>,
    dataset: Dataset,
    directory: String,
}

impl Target {
    fn new(args: &CompleteArgs, env: &Env) -> Result<Self, CompleteError> {
        let CompleteArgs { store, sink, partition, .. } = args;
        let (url, fs) = open_store(store, &Access::default(), env)?;
        let dataset = place::dataset(&url, sink);
        let (dataset, _) = dataset.map_err(|problem| StoreError::invalid(store, problem))?;
        let directory = partition.trim_matches('/').to_owned();
        if directory.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(CompleteError::Partition(partition.clone()));
        }
        Ok(Self { fs, dataset, directory })
    }

    async fn report(&self) -> Result<Report, LedgerError> {
        report(self.fs.clone(), self.dataset.clone(), &self.directory).await
    }
}

/// Runs the command.
pub(crate) fn run(args: &CompleteArgs) -> ExitCode {
    match done(args, &env::real()) {
        Ok(report) => {
            let printed = match args.json {
                true => print_json(&as_json(&report)),
                false => cli::print(&as_text(&args.partition, &report)),
            };
            if printed == ExitCode::SUCCESS { code(&report) } else { printed }
        }
        Err(error) => {
            cli::print_line(&agent::chain(&error));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Returns the exit code of a state.
fn code(report: &Report) -> ExitCode {
    let is_damaged = !report.missing.is_empty() || !report.is_intact;
    ExitCode::from(match report.state {
        State::Open => 3,
        _ if is_damaged => EXIT_RUNTIME,
        State::Complete => 0,
        State::CompleteWithWaivers => 4,
        State::Reopened => 5,
    })
}

fn done(args: &CompleteArgs, env: &Env) -> Result<Report, CompleteError> {
    runtime::block_on(async {
        let target = Target::new(args, env)?;
        if let Some(edge) = &args.waive {
            waive_edge(&target, edge, env).await?;
        }
        let ends = tokio::time::Instant::now() + args.wait.unwrap_or_default();
        loop {
            let report = target.report().await?;
            let left = ends.saturating_duration_since(tokio::time::Instant::now());
            if report.state != State::Open || left.is_zero() {
                return Ok(report);
            }
            tokio::time::sleep(PAUSE.min(left)).await;
        }
    })
}

/// Waives every origin of this edge.
async fn waive_edge(target: &Target, named: &str, env: &Env) -> Result<(), CompleteError> {
    let report = target.report().await?;
    if report.receipt.is_some() {
        return Err(CompleteError::HasReceipt(named.to_owned()));
    }
    let origins = origins_of(&report.roster, named);
    if origins.is_empty() {
        let known = by_time(&report.roster);
        let known: Vec<String> = known.iter().take(EDGES_MAX).map(named_edge).collect();
        return Err(CompleteError::UnknownEdge(named.to_owned(), known.join(", ")));
    }
    let now = now(env);
    for origin in origins {
        let (fs, dataset) = (target.fs.clone(), target.dataset.clone());
        let place = (origin, target.directory.as_str());
        let (by, token) = (operator(env), env.entropy.bytes16());
        waive(fs, dataset, place, Act { by: &by, at: now, token }).await?;
    }
    Ok(())
}

/// Returns the time, in milliseconds since 1970.
pub(crate) fn now(env: &Env) -> i64 {
    i64::try_from(unix_millis(env.clock.now())).unwrap_or(i64::MAX)
}

/// Returns the name of the operator in records in the store.
pub(crate) fn operator(env: &Env) -> String {
    format!("user-{}-on-{}", rustix::process::getuid().as_raw(), env.host)
}

/// Returns the origins of this edge, a host or an origin.
pub(crate) fn origins_of(roster: &Roster, named: &str) -> Vec<Origin> {
    let is_named =
        |(origin, edge): &(Origin, &Edge)| edge.name == named || origin.to_string() == named;
    roster.iter().filter(is_named).map(|(origin, _)| origin).collect()
}

/// Returns the edges, the furthest behind first.
pub(crate) fn by_time(roster: &Roster) -> Vec<(Origin, &Edge)> {
    let mut edges: Vec<_> = roster.iter().filter(|(_, edge)| edge.has_batch).collect();
    edges.sort_by_key(|(_, edge)| edge.before);
    edges
}

/// Returns how far an edge got, in words.
pub(crate) fn progress(edge: &Edge) -> String {
    let mut text = edge.before.map_or("nothing reported".to_owned(), |before| {
        format!("everything before {} is stored", time(before))
    });
    if !edge.held_by.is_empty() {
        text += &format!(", held back by its sources {}", edge.held_by);
    }
    if let Some(at) = edge.left_at() {
        text += &format!(", left at {}", time(at));
    }
    text
}

pub(crate) fn named_edge((origin, edge): &(Origin, &Edge)) -> String {
    match edge.name.as_str() {
        "" => origin.to_string(),
        name => name.to_owned(),
    }
}

pub(crate) fn time(millis: i64) -> String {
    let at = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    format_rfc3339_seconds(std::time::UNIX_EPOCH + at).to_string()
}

pub(crate) fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes it");
}

fn as_text(partition: &str, report: &Report) -> String {
    let mut text = String::new();
    let state = match report.state {
        State::Open => "open: at least one edge has not sent everything",
        State::Complete => "complete",
        State::CompleteWithWaivers => "complete, except for edges that were waived or have left",
        State::Reopened => "reopened: files came after the receipt",
    };
    put(&mut text, format_args!("{partition}  {state}"));
    let Some(receipt) = &report.receipt else {
        put(&mut text, format_args!("edges, the furthest behind first:"));
        let edges = by_time(&report.roster);
        for (origin, edge) in edges.iter().take(EDGES_MAX) {
            let before = progress(edge);
            let waived = if report.waived.contains(origin) { ", waived" } else { "" };
            let name = named_edge(&(*origin, edge));
            put(&mut text, format_args!("  {name}  {before}{waived}  (origin {origin})"));
        }
        if edges.len() > EDGES_MAX {
            put(&mut text, format_args!("  and {} more", edges.len() - EDGES_MAX));
        }
        return text;
    };
    let events = receipt.events.map_or("an unknown number of".to_owned(), |it| it.to_string());
    let (files, edges) = (receipt.files.len(), receipt.edges.len());
    put(&mut text, format_args!("receipt    {}", time(receipt.made_at_ms)));
    put(&mut text, format_args!("covers     {events} events in {files} files from {edges} edges"));
    for (reason, edges) in [("waived", &receipt.waived), ("left", &receipt.left)] {
        for edge in edges {
            put(&mut text, format_args!("{reason:<10} {}  (origin {})", edge.name, edge.origin));
        }
    }
    for file in &report.late {
        put(&mut text, format_args!("late       {file}"));
    }
    for file in &report.missing {
        put(
            &mut text,
            format_args!(
                "missing    {file}: listed in the receipt; restore it from the trash or a backup"
            ),
        );
    }
    if !report.is_intact {
        put(
            &mut text,
            format_args!(
                "the list of files in the receipt does not match its checksum: restore the receipt \
                 from a copy of the store"
            ),
        );
    }
    text
}

fn as_json(report: &Report) -> Value {
    let edges = by_time(&report.roster).into_iter().map(|(origin, edge)| {
        json!({
            "name": edge.name,
            "origin": origin.to_string(),
            "sent_before_ms": edge.before,
            "held_by": edge.held_by,
            "left_at_ms": edge.left_at(),
            "waived": report.waived.contains(&origin),
        })
    });
    json!({
        "state": report.state,
        "receipt": report.receipt,
        "late_files": report.late,
        "missing_files": report.missing,
        "intact": report.is_intact,
        "edges": edges.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_the_state_and_the_text_names_the_edge_that_is_behind() {
        let (state, receipt) = (State::Open, None);
        let (late, missing, waived) = Default::default();
        let mut roster = Roster::default();
        roster.join(Origin([1; 16]), 5);
        roster.join(Origin([2; 16]), 5);
        roster.report(Origin([1; 16]), "", 0, "syslog");
        roster.report(Origin([2; 16]), "web-2", 1_800_000_000_000, "");
        let is_intact = true;
        let mut report = Report { state, receipt, is_intact, late, missing, roster, waived };
        let text = as_text("day=1", &report);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let expected = "nothing reported, held back by its sources syslog";
        assert!(lines[0].contains(expected), "{text}");
        assert!(lines[1].contains("web-2  everything before 2027-01-15T08:00:00Z"), "{text}");
        assert_eq!(as_json(&report)["edges"][0]["sent_before_ms"], Value::Null);
        for (state, expected) in [
            (State::Open, 3),
            (State::Complete, 0),
            (State::CompleteWithWaivers, 4),
            (State::Reopened, 5),
        ] {
            report.state = state;
            assert_eq!(code(&report), ExitCode::from(expected), "{state:?}");
        }
        report.missing.push("a-store-1-0.log".into());
        assert_eq!(code(&report), ExitCode::from(1));
    }
}
