//! Decides from snapshots whether finite work is complete, and formats progress lines. Pure.

use std::time::Duration;

use agent::status::{Snapshot, State};
use demo::{grouped, megabytes};

/// How long a source or sink may fail with a temporary error before the command stops.
const FAILURE_TIMEOUT: Duration = Duration::from_secs(300);

/// Seconds between progress lines.
const PAUSE_SECONDS: f64 = 5.0;

/// State of the work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The work is in progress.
    #[default]
    Goes,
    /// All rows are delivered.
    Complete,
    /// The work makes no progress, and why.
    Stalled(String),
}

/// The words of a command in its progress lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Labels {
    /// Name of the command.
    pub(crate) tool: &'static str,
    /// Participle for a finished row: `stored`.
    pub(crate) done: &'static str,
}

/// Progress of the work.
#[derive(Debug)]
pub(crate) struct Watch {
    words: Labels,
    pub(super) outcome: Outcome,
    /// Rows in the dead letters.
    pub(crate) refused: u64,
    rows: u64,
    bytes: u64,
    stored: u64,
    /// Time of the last line, since the start.
    said: f64,
}

impl Watch {
    pub(super) fn new(words: Labels) -> Self {
        let outcome = Outcome::default();
        Self { words, outcome, refused: 0, rows: 0, bytes: 0, stored: 0, said: 0.0 }
    }

    /// Processes a snapshot. Returns a progress line if one is due.
    pub(super) fn update(&mut self, snapshot: &Snapshot) -> Option<String> {
        self.rows = snapshot.sources.iter().map(|it| it.accepted.events_total).sum();
        self.bytes = snapshot.sources.iter().map(|it| it.accepted.bytes_total).sum();
        self.stored = snapshot.groups.iter().map(|it| it.delivered.events_total).sum();
        self.refused = snapshot.dead_letters.events;
        let waiting: u64 = snapshot.channels.iter().map(|it| it.depth_events).sum();
        let has_ended = snapshot.sources.iter().all(|it| it.state == State::Stopped);
        self.outcome = match stalled(snapshot) {
            _ if has_ended && waiting == 0 => Outcome::Complete,
            Some(problem) => Outcome::Stalled(problem),
            None => Outcome::Goes,
        };
        if snapshot.uptime_seconds < self.said + PAUSE_SECONDS {
            return None;
        }
        self.said = snapshot.uptime_seconds;
        let (rows, bytes) = (grouped(self.rows), megabytes(self.bytes));
        let (stored, waiting) = (grouped(self.stored), grouped(waiting));
        let more = match failing(snapshot).next() {
            Some((what, seconds, error, _)) => {
                format!("{what} has been failing for {seconds:.0} s: {error}")
            }
            None if has_ended => "all rows are read".to_owned(),
            None => "more rows are to be read".to_owned(),
        };
        let Labels { tool, done } = self.words;
        Some(format!("{tool}: {rows} rows read ({bytes}), {stored} {done}, {waiting} wait; {more}"))
    }

    /// Returns whether there was nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0 && self.stored == 0
    }

    /// Formats the final line of complete work.
    pub(crate) fn final_line(&self) -> String {
        let Labels { tool, done } = self.words;
        let (rows, bytes) = (grouped(self.rows), megabytes(self.bytes));
        let stored = grouped(self.stored);
        format!("{tool}: complete; {rows} rows read by this call ({bytes}), {stored} {done}")
    }
}

/// Returns the failing sources and sinks: action, seconds since the first failure, reason, and
/// whether an operator must act.
fn failing(snapshot: &Snapshot) -> impl Iterator<Item = (&'static str, f64, &str, bool)> {
    let sources = snapshot.sources.iter().map(|it| ("reading", &it.state));
    let members = snapshot.groups.iter().flat_map(|group| &group.members);
    let all = sources.chain(members.map(|it| ("storing", &it.state)));
    all.filter_map(|(what, state)| match state {
        State::Failing { since_seconds_ago, last_error, needs_operator, .. } => {
            Some((what, *since_seconds_ago, &**last_error, *needs_operator))
        }
        _ => None,
    })
}

/// Returns why the work is given up: it fails for too long, or needs an operator.
fn stalled(snapshot: &Snapshot) -> Option<String> {
    failing(snapshot).find_map(|(what, seconds, error, needs_operator)| match needs_operator {
        true => Some(format!("{what} failed: {error}")),
        false if seconds >= FAILURE_TIMEOUT.as_secs_f64() => {
            Some(format!("{what} has been failing for {seconds:.0} s: {error}"))
        }
        false => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds the snapshot of an agent with one source, one channel and one sink.
    fn snapshot(state: &str, waiting: u64) -> Snapshot {
        let mut json: serde_json::Value =
            serde_json::from_str(include_str!("../../../agent/src/status/well.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(state).unwrap();
        for source in json["sources"].as_array_mut().unwrap() {
            source["state"] = state.clone();
        }
        for channel in json["channels"].as_array_mut().unwrap() {
            channel["depth_events"] = waiting.into();
        }
        serde_json::from_value(json).unwrap()
    }

    fn outcome(state: &str, waiting: u64) -> Outcome {
        let mut watch = Watch::new(Labels { tool: "import", done: "stored" });
        let _ = watch.update(&snapshot(state, waiting));
        watch.outcome
    }

    const STOPPED: &str = r#"{"name": "stopped"}"#;

    #[test]
    fn work_is_complete_when_its_source_has_ended_and_its_channel_is_empty() {
        assert_eq!(outcome(STOPPED, 0), Outcome::Complete);
        assert_eq!(outcome(STOPPED, 1), Outcome::Goes);
        assert_eq!(outcome(r#"{"name": "running"}"#, 0), Outcome::Goes);
        assert_eq!(outcome(r#"{"name": "starting"}"#, 0), Outcome::Goes);
    }

    #[test]
    fn long_failures_end_the_work_and_short_ones_do_not() {
        let failing = |seconds: f64| {
            let state = format!(
                r#"{{"name": "failing", "since_seconds_ago": {seconds}, "last_error": "no route",
                    "retry_in_seconds": 1.0}}"#
            );
            outcome(&state, 5)
        };
        assert_eq!(failing(299.0), Outcome::Goes);
        let problem = "reading has been failing for 301 s: no route";
        assert_eq!(failing(301.0), Outcome::Stalled(problem.to_owned()));
    }

    #[test]
    fn fails_immediately_with_the_reason_when_an_operator_has_to_act() {
        let state = |needs_operator: bool| {
            format!(
                r#"{{"name": "failing", "since_seconds_ago": 7.0, "last_error": "cut file",
                    "retry_in_seconds": 1.0, "needs_operator": {needs_operator}}}"#
            )
        };
        assert_eq!(
            outcome(&state(true), 5),
            Outcome::Stalled("reading failed: cut file".to_owned())
        );
        let mut watch = Watch::new(Labels { tool: "export", done: "applied" });
        let line = watch.update(&snapshot(&state(false), 5)).unwrap_or_default();
        assert_eq!(watch.outcome, Outcome::Goes);
        assert!(line.ends_with("reading has been failing for 7 s: cut file"), "{line}");
    }
}
