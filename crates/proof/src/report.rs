//! The result of a proof, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use ledger::proof::Proof;
use ledger::{Contents, Place, StagedFile, Totals};
use pipeline::{Account, KeySet};
use serde::Serialize;

use super::Audited;

/// Ranges that are listed of one account, and directories of one ledger, at most.
const LISTED_MAX: usize = 10;

/// The directory for events of a batch that has too many directories. Hadoop's readers skip it.
const OVERFLOW: &str = "_overflow";

/// What a proof has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every accepted batch is in visible files, once, and no event of it is elsewhere.
    Complete,
    /// Nothing is missing, repeated or damaged, and some of it is still on its way.
    ConsistentSoFar,
    /// Something is missing, repeated or damaged, or events are among dead letters.
    NotProved,
}

/// The result for every account and every ledger.
#[derive(Debug, Serialize)]
pub struct Report {
    verdict: Verdict,
    /// Events among the dead letters of all accounts.
    dead_letter_events: u64,
    accounts: Vec<AccountLine>,
    ledgers: Vec<LedgerLine>,
}

#[derive(Debug, Serialize)]
struct AccountLine {
    channel: String,
    origin: String,
    accepted: u64,
    committed: u64,
    pending: u64,
    /// Batches that the channel holds, and that no account accepted.
    pending_of_others: u64,
    /// Batches of which nothing is committed.
    dead_letters: u64,
    missing: u64,
    repeated: u64,
    held_events: u64,
    /// Events among the dead letters, by reason.
    dead_letter_events: BTreeMap<String, u64>,
    /// Events that the agent has altered, cut or stored elsewhere since its start, by reason.
    remarks: BTreeMap<String, u64>,
    dead_letter_ranges: Vec<String>,
    missing_ranges: Vec<String>,
    repeated_ranges: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LedgerLine {
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
    problems: Vec<String>,
    read: Option<Sums>,
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

impl Report {
    pub(super) fn new(
        proofs: Vec<(Account, Proof)>,
        audited: Vec<Audited>,
        expired: Option<SystemTime>,
    ) -> Self {
        let mut repeated = KeySet::default();
        audited.iter().for_each(|one| repeated.insert_all(&one.audit.repeated));
        let accounts: Vec<AccountLine> = proofs
            .into_iter()
            .map(|(account, proof)| AccountLine::new(account, proof, &repeated))
            .collect();
        let ledgers: Vec<LedgerLine> =
            audited.into_iter().map(|one| LedgerLine::from_audit(one, expired)).collect();
        let verdict = verdict(&accounts, &ledgers);
        let dead_letter_events = accounts.iter().map(AccountLine::letters).sum();
        Self { verdict, dead_letter_events, accounts, ledgers }
    }

    /// What was found.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The report as one line of JSON.
    ///
    /// # Panics
    /// Never: numbers and names are always JSON.
    pub fn json(&self) -> String {
        let text = serde_json::to_string(self).expect("numbers and names are always JSON");
        format!("{text}\n")
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.accounts {
            line.show(&mut text);
        }
        for line in &self.ledgers {
            line.show(&mut text);
        }
        let letters = self.dead_letter_events;
        if letters > 0 {
            let (are, deliver) =
                if letters == 1 { ("event is", "it") } else { ("events are", "them") };
            put(
                &mut text,
                format_args!(
                    "{letters} {are} in dead letters, not in the store: `aqueduct dlq list` shows \
                     why, `aqueduct dlq replay` delivers {deliver}"
                ),
            );
        }
        let expired: u64 = self.ledgers.iter().map(|line| line.expired).sum();
        text.push_str(match (self.verdict, expired) {
            (Verdict::Complete, 0) => {
                "COMPLETE: every accepted event is in the store, in visible files, once\n"
            }
            (Verdict::Complete, _) => {
                "COMPLETE: every accepted event was in the store once; expired files are deleted\n"
            }
            (Verdict::ConsistentSoFar, _) => {
                "CONSISTENT SO FAR: nothing is missing or repeated; pending batches and staged \
                 files are not in the store yet\n"
            }
            (Verdict::NotProved, _) => "NOT PROVED\n",
        });
        text
    }
}

fn verdict(accounts: &[AccountLine], ledgers: &[LedgerLine]) -> Verdict {
    let is_wrong = |line: &AccountLine| line.missing > 0 || line.repeated > 0 || line.letters() > 0;
    let is_under_way = |line: &AccountLine| line.pending > 0 || line.pending_of_others > 0;
    let has_problems = ledgers.iter().any(|line| !line.problems.is_empty());
    if has_problems || accounts.iter().any(is_wrong) {
        Verdict::NotProved
    } else if accounts.iter().any(is_under_way) || ledgers.iter().any(|line| line.staged > 0) {
        Verdict::ConsistentSoFar
    } else {
        Verdict::Complete
    }
}

impl AccountLine {
    fn new(account: Account, proof: Proof, repeated: &KeySet) -> Self {
        let twice = account.accepted.intersection(repeated);
        Self {
            channel: account.channel,
            origin: account.origin.to_string(),
            accepted: proof.accepted,
            committed: proof.committed,
            pending: proof.pending.count(),
            pending_of_others: proof.foreign.count(),
            dead_letters: proof.letters.count(),
            missing: proof.missing.count(),
            repeated: twice.count(),
            held_events: account.held_events,
            dead_letter_events: proof.letter_events,
            remarks: account.remarks,
            dead_letter_ranges: ranges(&proof.letters),
            missing_ranges: ranges(&proof.missing),
            repeated_ranges: ranges(&twice),
        }
    }

    /// Events among its dead letters.
    fn letters(&self) -> u64 {
        self.dead_letter_events.values().sum()
    }

    fn show(&self, text: &mut String) {
        put(text, format_args!("channel {} (origin {})", self.channel, self.origin));
        for (name, count, unit) in [
            ("accepted", self.accepted, "batches"),
            ("committed", self.committed, "batches"),
            ("pending", self.pending, "batches"),
            ("pending of others", self.pending_of_others, "batches"),
            ("missing", self.missing, "batches"),
            ("repeated", self.repeated, "batches"),
            ("held", self.held_events, "events"),
            ("in dead letters", self.letters(), "events"),
        ] {
            let width = 23_usize.saturating_sub(name.len());
            put(text, format_args!("  {name} {count:>width$} {unit}"));
        }
        for (reason, events) in &self.dead_letter_events {
            put(text, format_args!("  in dead letters: {events} events, {reason}"));
        }
        for (reason, events) in &self.remarks {
            put(text, format_args!("  since its start: {events} {reason}"));
        }
        for (what, ranges) in [
            ("only in dead letters", &self.dead_letter_ranges),
            ("missing", &self.missing_ranges),
            ("repeated", &self.repeated_ranges),
        ] {
            for range in ranges {
                put(text, format_args!("  {what}: {range}"));
            }
        }
    }
}

impl LedgerLine {
    fn from_audit(audited: Audited, before: Option<SystemTime>) -> Self {
        let Audited { url, sink, audit, contents } = audited;
        let (mut problems, mut expired) = (Vec::new(), 0);
        let is_old =
            |at: Option<SystemTime>| at.is_some_and(|at| before.is_some_and(|before| at <= before));
        let count =
            |wanted| audit.files.iter().filter(|(_, place)| *place == wanted).count() as u64;
        for (file, place) in &audit.files {
            match place {
                Place::Visible | Place::Staged => {}
                Place::Gone(at) if is_old(*at) => expired += 1,
                Place::Gone(_) if before.is_some() => {
                    problems.push(format!("{} is missing, and has not expired", file.target));
                }
                Place::Gone(_) => problems.push(format!("{} is missing", file.target)),
                Place::WrongLength(actual) => {
                    problems.push(format!("{} has {actual} bytes, not {}", file.target, file.len));
                }
            }
        }
        let is_overflow = |file: &StagedFile| file.target.split('/').next() == Some(OVERFLOW);
        let overflow = audit.files.iter().filter(|(file, _)| is_overflow(file));
        let overflow_events = overflow.map(|(file, _)| file.events).sum();
        if !audit.repeated.is_empty() {
            problems.push(format!("{} batches are committed twice", audit.repeated.count()));
        }
        if let Some(contents) = &contents {
            let missing = contents.older.files.saturating_sub(contents.older_read.files);
            let missing = missing.saturating_sub(contents.merged_files);
            let may_be = is_old(audit.begun) && missing > 0;
            if may_be {
                expired += missing;
            }
            problems.extend(problems_of(contents, may_be));
        }
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
            problems,
            read: contents.map(|contents| Sums::from_totals(contents.read)),
        }
    }

    fn show(&self, text: &mut String) {
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

/// `expired`: files of older generations may be gone.
fn problems_of(contents: &Contents, expired: bool) -> Vec<String> {
    let mut problems = Vec::new();
    problems.extend(
        contents.damaged.iter().map(|path| format!("{path} differs from what was written")),
    );
    let short = contents.short.iter();
    problems.extend(short.map(|path| format!("{path} has fewer lines than events")));
    if !contents.is_whole() && !expired {
        let (wanted, found) = (contents.older, contents.older_read);
        problems.push(format!(
            "earlier generations committed {} files with {} bytes and {} events, but the store \
             has {} files with {} bytes and {} lines",
            wanted.files, wanted.bytes, wanted.events, found.files, found.bytes, found.events
        ));
    }
    problems
}

/// Batches by origin, epoch and range, as far as they are listed.
fn ranges(keys: &KeySet) -> Vec<String> {
    let all = keys.iter().flat_map(|(origin, epoch, set)| {
        let range = move |run: &std::ops::Range<u64>| {
            format!("{origin}, epoch {}, {} to {}", epoch.0, run.start, run.end - 1)
        };
        set.runs().iter().map(range)
    });
    all.take(LISTED_MAX).collect()
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes it");
}
