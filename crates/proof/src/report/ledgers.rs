//! The result for one ledger.

use std::time::SystemTime;

use ledger::{Audit, Contents, Place, StagedFile, Totals};
use serde::Serialize;

use super::super::Audited;
use super::super::table::TableProof;
use super::{LISTED_MAX, put};

/// The directory for events of a batch that has too many directories. Hadoop's readers skip it.
const OVERFLOW: &str = "_overflow";

#[derive(Debug, Serialize)]
pub(super) struct LedgerLine {
    url: String,
    sink: String,
    generation: u64,
    entries: u64,
    fences: u64,
    committed: Sums,
    visible: u64,
    staged: u64,
    /// Files that are deleted, and older than the retention.
    expired: u64,
    /// Events in files of the directory for events of too many directories, which readers skip.
    overflow_events: u64,
    /// Directories with files that are not partitions of their table yet.
    unregistered: Vec<String>,
    /// Receipts of complete directories, which were recomputed.
    receipts: u64,
    /// Late files that will be recorded next to their receipt.
    unrecorded: u64,
    /// The Iceberg table of the files.
    table: Option<TableLine>,
    problems: Vec<String>,
    read: Option<Sums>,
}

/// The table of a ledger.
#[derive(Debug, Serialize)]
struct TableLine {
    location: String,
    rows: u64,
    files: u64,
    /// Files of the ledger that a compaction has replaced.
    replaced: u64,
    /// Commits of the ledger that the table lacks so far.
    later: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Sums {
    files: u64,
    bytes: u64,
    events: u64,
}

impl Sums {
    fn from_totals(Totals { files, bytes, events }: Totals) -> Self {
        Self { files, bytes, events }
    }
}

impl LedgerLine {
    /// Returns whether something is missing, repeated or damaged.
    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Returns whether something is on its way.
    pub(super) fn is_under_way(&self) -> bool {
        let later = self.table.as_ref().map_or(0, |table| table.later);
        self.staged + self.unrecorded + later > 0
    }

    /// Returns the number of files that are deleted, and older than the retention.
    pub(super) fn expired(&self) -> u64 {
        self.expired
    }

    pub(super) fn from_audit(audited: Audited, before: Option<SystemTime>) -> Self {
        let Audited { url, sink, audit, contents, receipts, table } = audited;
        let is_old =
            |at: Option<SystemTime>| at.is_some_and(|at| before.is_some_and(|before| at <= before));
        let count =
            |wanted| audit.files.iter().filter(|(_, place)| *place == wanted).count() as u64;
        let (mut problems, mut expired) = lost_files(&audit, table.as_ref(), before);
        let is_overflow = |file: &StagedFile| file.target.split('/').next() == Some(OVERFLOW);
        let overflow = audit.files.iter().filter(|(file, _)| is_overflow(file));
        let overflow_events = overflow.map(|(file, _)| file.events).sum();
        if !audit.repeated.is_empty() {
            problems.push(format!(
                "{} batches are committed twice; keep the report, and report this as a bug",
                audit.repeated.count()
            ));
        }
        problems.extend(receipts.problems);
        if let Some(contents) = &contents {
            let missing = contents.older.files.saturating_sub(contents.older_read.files);
            let missing = missing.saturating_sub(contents.merged_files);
            let may_be = is_old(audit.begun) && missing > 0;
            if may_be {
                expired += missing;
            }
            // The table has the rows of older files that a compaction has replaced.
            let is_proved = table.as_ref().is_some_and(TableProof::is_proved);
            problems.extend(problems_of(contents, may_be || is_proved));
        }
        let table = table.map(|proof| {
            problems.extend(proof.problems);
            TableLine {
                location: proof.location,
                rows: proof.rows,
                files: proof.files,
                replaced: proof.replaced.len() as u64,
                later: proof.entries_later,
            }
        });
        Self {
            url,
            sink,
            generation: audit.view.generation(),
            entries: audit.view.entries(),
            fences: audit.view.fenced().count() as u64,
            committed: Sums::from_totals(audit.view.totals()),
            visible: count(Place::Visible),
            staged: count(Place::Staged),
            expired,
            overflow_events,
            unregistered: audit.unregistered,
            receipts: receipts.receipts,
            unrecorded: receipts.unrecorded,
            table,
            problems,
            read: contents.map(|contents| Sums::from_totals(contents.read)),
        }
    }

    pub(super) fn show(&self, text: &mut String) {
        put(text, format_args!("ledger of sink {} at {}", self.sink, self.url));
        let Sums { files, bytes, events } = self.committed;
        let Self { generation, entries, fences, visible, staged, .. } = self;
        put(text, format_args!("  committed  {events:>12} events in {files} files, {bytes} bytes"));
        put(
            text,
            format_args!("  generation {generation:>12}, {entries} entries since, {fences} fences"),
        );
        put(
            text,
            format_args!("  files      {visible:>12} of these entries visible, {staged} staged"),
        );
        if self.expired > 0 {
            put(text, format_args!("  expired    {:>12} files", self.expired));
        }
        if self.overflow_events > 0 {
            let events = self.overflow_events;
            put(text, format_args!("  overflow   {events:>12} events below {OVERFLOW}"));
        }
        if self.receipts > 0 {
            let Self { receipts, unrecorded, .. } = self;
            let late = "late files not recorded yet";
            put(text, format_args!("  receipts   {receipts:>12} recomputed, {unrecorded} {late}"));
        }
        if let Some(TableLine { location, rows, files, replaced, later }) = &self.table {
            put(text, format_args!("  table      {rows:>12} rows in {files} files: {location}"));
            put(text, format_args!("  replaced   {replaced:>12} files by compaction of the table"));
            put(text, format_args!("  not yet    {later:>12} commits are not in the table yet"));
        }
        let unregistered = self.unregistered.len();
        if unregistered > 0 {
            let what = "directories with files are not partitions of their table yet";
            put(text, format_args!("  not yet    {unregistered:>12} {what}"));
        }
        for directory in self.unregistered.iter().take(LISTED_MAX) {
            put(text, format_args!("  not registered: {directory}"));
        }
        if let Some(Sums { files, bytes, events }) = self.read {
            put(
                text,
                format_args!("  read       {events:>12} lines in {files} files, {bytes} bytes"),
            );
        }
        for problem in &self.problems {
            put(text, format_args!("  problem: {problem}"));
        }
    }
}

/// Advice for a file that another program deleted or changed.
const RESTORE: &str = "restore it from the trash, a snapshot or a backup";

/// Returns the problems of files of the newest generation, and the number of expired ones.
fn lost_files(
    audit: &Audit,
    table: Option<&TableProof>,
    before: Option<SystemTime>,
) -> (Vec<String>, u64) {
    let is_old =
        |at: Option<SystemTime>| at.is_some_and(|at| before.is_some_and(|before| at <= before));
    let is_replaced = |target| table.is_some_and(|table| table.replaced.contains(target));
    let (mut problems, mut expired) = (Vec::new(), 0);
    for (file, place) in &audit.files {
        let target = &file.target;
        problems.push(match place {
            Place::Visible | Place::Staged => continue,
            Place::Gone(_) if is_replaced(target) => continue,
            Place::Gone(at) if is_old(*at) => {
                expired += 1;
                continue;
            }
            Place::Gone(_) if before.is_some() => {
                format!("{target} is missing, and not expired; {RESTORE}")
            }
            Place::Gone(_) if audit.has_table && table.is_none() => format!(
                "{target} is missing; {RESTORE}; pass --table if the Iceberg table of the files \
                 was compacted, --retention if you delete old files"
            ),
            Place::Gone(_) => format!(
                "{target} is missing; {RESTORE}, or pass --retention if you delete old files"
            ),
            Place::WrongLength(actual) => {
                format!("{target} has {actual} bytes instead of {}; {RESTORE}", file.len)
            }
        });
    }
    (problems, expired)
}

/// `expired`: files of older generations may be gone.
fn problems_of(contents: &Contents, expired: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let damaged = contents.damaged.iter();
    problems.extend(damaged.map(|path| format!("{path} was changed after its commit; {RESTORE}")));
    let short = contents.short.iter();
    problems.extend(short.map(|path| format!("{path} has fewer lines than events; {RESTORE}")));
    if !contents.is_whole() && !expired {
        let (wanted, found) = (contents.older, contents.older_read);
        problems.push(format!(
            "earlier generations of the ledger committed {} files with {} bytes and {} events, but \
             the store has {} files with {} bytes and {} lines: files were deleted or changed; \
             restore them, or pass --retention if they were deleted on purpose",
            wanted.files, wanted.bytes, wanted.events, found.files, found.bytes, found.events
        ));
    }
    problems
}
