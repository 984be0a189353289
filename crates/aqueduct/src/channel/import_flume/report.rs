//! The report of an import.

use std::fmt::Write as _;

use flume_channel::log::Damage;
use flume_channel::{Found, Start};
use serde::Serialize;

/// The result of an import.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where the state was read from: `checkpoint`, `backup` or `logs`.
    read_from: &'static str,
    /// Why the checkpoint was not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
    logs: usize,
    log_bytes: u64,
    /// Records after the checkpoint.
    records: u64,
    /// Events put after the checkpoint.
    events_put: u64,
    /// Events that Flume delivered after the checkpoint.
    events_delivered: u64,
    open_transactions: u64,
    open_events_put: u64,
    open_events_taken: u64,
    /// Events waiting in the Flume channel.
    pub(super) waiting: u64,
    pub(super) imported: u64,
    pub(super) imported_before: u64,
    /// Events that Flume's integrity tool removed.
    pub(super) removed: u64,
    damaged: Vec<Place>,
    torn: Vec<Place>,
}

/// An unreadable part of a log.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Place {
    log: String,
    offset: u64,
    problem: &'static str,
}

impl Report {
    /// Creates the report before anything is imported.
    pub(super) fn new(found: Found, waiting: usize) -> Self {
        let (read_from, because) = match found.start {
            Start::Checkpoint => ("checkpoint", None),
            Start::Backup(cause) => ("backup", Some(cause)),
            Start::Logs(cause) => ("logs", Some(cause)),
        };
        let counts = found.counts;
        let mut report = Self {
            read_from,
            because,
            logs: found.logs,
            log_bytes: found.bytes,
            records: counts.records,
            events_put: counts.puts,
            events_delivered: counts.delivered,
            open_transactions: counts.open_transactions,
            open_events_put: counts.open_puts,
            open_events_taken: counts.open_takes,
            waiting: waiting as u64,
            imported: 0,
            imported_before: 0,
            removed: 0,
            damaged: Vec::new(),
            torn: Vec::new(),
        };
        found.damaged.into_iter().for_each(|damage| report.lost(damage));
        report
    }

    /// Records an unreadable part.
    pub(super) fn lost(&mut self, damage: Damage) {
        let Damage { path, offset, problem, torn } = damage;
        let place = Place { log: path.display().to_string(), offset, problem };
        let places = if torn { &mut self.torn } else { &mut self.damaged };
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// Returns whether everything was readable.
    pub(super) fn is_sound(&self) -> bool {
        self.damaged.is_empty()
    }

    /// Formats the report for a terminal.
    pub(super) fn text(&self, channel: &str, dry_run: bool) -> String {
        let mut text = match dry_run {
            true => format!("{} events wait in the Flume channel\n", self.waiting),
            false => format!(
                "{} events imported into channel `{channel}`; {} of {} were imported before\n",
                self.imported, self.imported_before, self.waiting
            ),
        };
        let from = match (self.read_from, &self.because) {
            ("backup", Some(cause)) => format!(
                "read from the backup of the checkpoint (the checkpoint: {cause}); no action needed"
            ),
            ("logs", Some(cause)) => format!(
                "all logs are read ({cause}); events that Flume had delivered may be imported again"
            ),
            _ => "read from the checkpoint".to_owned(),
        };
        let mut line = |name: &str, value: String| {
            writeln!(text, "{name:<12} {value}").expect("a string takes it");
        };
        line("logs", format!("{} files, {} bytes; {from}", self.logs, self.log_bytes));
        line(
            "read",
            format!(
                "{} records: {} events put, {} delivered by Flume",
                self.records, self.events_put, self.events_delivered
            ),
        );
        if self.open_transactions > 0 {
            line(
                "open",
                format!(
                    "{} unfinished transactions: {} events put, which their source resends, and {} \
                     taken, which count as waiting",
                    self.open_transactions, self.open_events_put, self.open_events_taken
                ),
            );
        }
        if self.removed > 0 {
            line(
                "removed",
                format!("{} events were removed by Flume's integrity tool", self.removed),
            );
        }
        for Place { log, offset, problem } in &self.torn {
            line(
                "torn",
                format!(
                    "{log}, byte {offset}: {problem}; the log ends there, as after a killed Flume \
                     agent; no action needed"
                ),
            );
        }
        for Place { log, offset, problem } in &self.damaged {
            line(
                "damaged",
                format!(
                    "{log}, byte {offset}: {problem}; the events at this place are not imported; \
                     restore the log from a backup, if there is one, and run the command again"
                ),
            );
        }
        text
    }
}
