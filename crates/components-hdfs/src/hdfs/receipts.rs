//! Receipts of complete directories, and records of late files.
//!
//! ```text
//!  reports of the edges: notes of all collectors, own channel ─► ledger read to its end, published
//!     ─► edges with a batch join ─► every one past the period? ─no─► next turn
//!                                        │ yes, and no committed file of it is still staged
//!                                        ▼
//!      notes for other systems, receipt with the number of entries ─► marker
//!  a note for a directory with a receipt ─► files of later entries ─► records of late files
//! ```
//!
//! Any collector may do any step, any number of times. A note stays until the files that were
//! staged when it was read are published or deleted: a file whose roll has a note is then visible
//! or never will be. A roll with files for a period that is over always writes a note
//! ([`is_noted_again`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use complete::{Judgement, LateFile, LateRecord, RECEIPT, Receipt, Roster, late_name};
use ledger::{CommittedFile, Ledger, LedgerError, NoteKind, NotedPlace, Settled, Token};
use pipeline::sink_board::Incomplete;
use pipeline::{Origin, SinkBoard};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::due::Due;
use super::edges;
use super::receipt_content::{Turn, add_files, events_of, holders, json, receipt};
use super::settings::{Complete, Settings, now};

/// Maximum pause between two turns; a shorter `grace` shortens it.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Fraction of `leave_after` after which a sign of a silent edge is written.
const SIGNS: i64 = 4;

/// Returns whether a roll writes a note for this directory, although one was written before.
pub(super) fn is_noted_again(settings: &Settings, place: &NotedPlace) -> bool {
    settings.complete.is_some() && settings.rules.is_over(place.at, now(&settings.env))
}

/// A directory with a note.
#[derive(Debug)]
struct Noted {
    place: NotedPlace,
    /// The files on the stage after the note was read.
    staged: Option<Arc<BTreeSet<String>>>,
    /// Whether the edges that hold it back were logged.
    is_logged: bool,
}

impl From<NotedPlace> for Noted {
    fn from(place: NotedPlace) -> Self {
        Self { place, staged: None, is_logged: false }
    }
}

impl AsRef<NotedPlace> for Noted {
    fn as_ref(&self) -> &NotedPlace {
        &self.place
    }
}

/// A directory that edges hold back.
struct Held {
    /// The time of an event in it.
    at: i64,
    directory: String,
    /// Number of the edges.
    edges: usize,
    waits_for: String,
}

/// The receipt task of one opening.
pub(super) struct Receipting {
    settings: Arc<Settings>,
    ledger: Arc<Mutex<Ledger>>,
    board: SinkBoard,
    due: Due<Noted>,
    /// The last batch of each origin at the last turn.
    last: BTreeMap<Origin, (u64, u64)>,
    /// Files of the entries below a number: of the current generation, and of due directories.
    committed: BTreeMap<String, Vec<CommittedFile>>,
    read_to: u64,
}

impl Receipting {
    /// Creates the task for this ledger. It shows the oldest incomplete directory on the board.
    pub(super) fn new(
        settings: Arc<Settings>,
        ledger: Arc<Mutex<Ledger>>,
        board: SinkBoard,
    ) -> Self {
        let (due, last) = (Due::new(NoteKind::Receipt), BTreeMap::new());
        Self { settings, ledger, board, due, last, committed: BTreeMap::new(), read_to: 0 }
    }

    /// Works periodically until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(complete) = &settings.complete else { return };
        let pause = Duration::from_millis(complete.grace.unsigned_abs());
        loop {
            let turn = self.turn(complete).await;
            self.due.ended(&turn, "cannot write the receipts of complete directories");
            sleep(PAUSE_MAX.min(pause)).await;
        }
    }

    /// Handles the directories whose period is over. Locks the ledger for one call at a time.
    async fn turn(&mut self, complete: &Complete) -> Result<(), LedgerError> {
        self.due.read(&self.ledger).await?;
        let now = now(&self.settings.env);
        let is_over = |due: &Noted| self.settings.rules.is_over(due.place.at, now - complete.grace);
        let over: BTreeMap<String, i64> =
            self.due.iter().filter(|due| is_over(due)).map(at).collect();
        if !over.is_empty()
            && let Some(turn) = self.read(complete, &over, now).await?
        {
            self.handle(complete, &over, &turn).await?;
        }
        if over.is_empty() {
            self.show_oldest(complete, None, now);
        }
        complete.due.set(self.due.directories() as f64);
        Ok(())
    }

    /// Reads the reports, and after them the ledger to its end. `None` if the ledger was compacted
    /// meanwhile.
    async fn read(
        &mut self,
        complete: &Complete,
        over: &BTreeMap<String, i64>,
        now: i64,
    ) -> Result<Option<Turn>, LedgerError> {
        let (stored, notes) = edges::read(&*self.ledger.lock().await).await?;
        let waived = edges::waivers(&*self.ledger.lock().await).await?;
        let mut roster = stored.clone();
        for (origin, reached) in complete.progress.reached() {
            edges::report(&mut roster, origin, &reached);
        }
        let mut ledger = self.ledger.lock().await;
        ledger.refresh().await?;
        let staged = Arc::new(ledger.staged_files().await?);
        let Some(fresh) = ledger.committed_files(self.read_to).await? else { return Ok(None) };
        let view = ledger.view();
        let (settled, entries, first) = (view.settled().clone(), view.next(), view.first());
        drop(ledger);
        self.remember(fresh, entries, first);
        self.join(&mut roster, &settled, now);
        if self.is_news(complete, over, &stored, &roster) {
            let token = Token(self.settings.env.entropy.bytes16());
            edges::write(&*self.ledger.lock().await, token, &roster, &notes).await?;
        }
        Ok(Some(Turn { roster, waived, settled, entries, staged, now }))
    }

    /// Adds files of new entries, up to the entry `end`. Forgets files of entries before `first`,
    /// whose files are visible, except in due directories.
    fn remember(&mut self, fresh: BTreeMap<String, Vec<CommittedFile>>, end: u64, first: u64) {
        for (directory, files) in fresh {
            self.committed.entry(directory).or_default().extend(files);
        }
        self.read_to = end;
        let due: BTreeSet<&String> = self.due.iter().map(|due| &due.place.directory).collect();
        self.committed.retain(|directory, files| {
            due.contains(directory) || files.iter().any(|file| file.entry >= first)
        });
    }

    /// Returns the known committed files of a directory.
    fn committed(&self, directory: &str) -> &[CommittedFile] {
        self.committed.get(directory).map_or(&[], Vec::as_slice)
    }

    /// Adds the origins with a batch in the ledger, and notes which of them have new ones.
    fn join(&mut self, roster: &mut Roster, settled: &Settled, now: i64) {
        for (origin, _) in settled.floors.iter() {
            if roster.get(origin).is_none_or(|edge| !edge.has_batch) {
                roster.join(origin, now);
            }
        }
        let last = edges::newest(settled);
        for (origin, newest) in &last {
            let is_new = roster.get(*origin).is_none_or(|edge| !edge.has_batch);
            if is_new || self.last.get(origin).is_some_and(|known| known != newest) {
                roster.join(*origin, now);
            }
            roster.newest(*origin, *newest);
        }
        self.last = last;
    }

    /// Returns whether the notes in the store lack something that matters.
    fn is_news(
        &self,
        complete: &Complete,
        over: &BTreeMap<String, i64>,
        stored: &Roster,
        roster: &Roster,
    ) -> bool {
        let signs = complete.expected.leave_after.map(|after| after / SIGNS);
        roster.iter().any(|(origin, edge)| {
            let Some(known) = stored.get(origin) else { return true };
            let is_past = |before: Option<i64>, at: i64| {
                before.is_some_and(|before| self.is_past(complete, at, before))
            };
            known.has_batch != edge.has_batch
                || known.held_by != edge.held_by
                || signs.is_some_and(|signs| edge.seen - known.seen > signs)
                || over.values().any(|at| is_past(known.before, *at) != is_past(edge.before, *at))
        })
    }

    /// Returns whether a report covers the period of a directory with an event of this time.
    fn is_past(&self, complete: &Complete, at: i64, before: i64) -> bool {
        self.settings.rules.is_over(at, before.saturating_sub(complete.grace))
    }

    async fn handle(
        &mut self,
        complete: &Complete,
        over: &BTreeMap<String, i64>,
        turn: &Turn,
    ) -> Result<(), LedgerError> {
        let (mut done, mut held) = (BTreeSet::new(), Vec::new());
        for (directory, at) in over {
            let judgement = turn.roster.judge(
                &complete.expected,
                turn.now,
                |before| self.is_past(complete, *at, before),
                |left| self.settings.rules.is_over(left, *at),
                |origin| turn.waived.contains(&(origin, directory.clone())),
            );
            if self.handle_one(complete, directory, &judgement, turn).await? {
                done.insert(directory.clone());
            } else if !judgement.is_complete() {
                let edges = judgement.holders.len() + judgement.missing.len();
                let waits_for = holders(&judgement);
                self.log_holders(directory, &waits_for);
                held.push(Held { at: *at, directory: directory.clone(), edges, waits_for });
            }
        }
        self.show_oldest(complete, held.into_iter().min_by_key(|held| held.at), turn.now);
        for all in self.due.lists() {
            all.retain_mut(|due| {
                if !over.contains_key(&due.place.directory) {
                    return true;
                }
                let before = due.staged.get_or_insert_with(|| turn.staged.clone());
                !done.contains(&due.place.directory) || !before.is_disjoint(&turn.staged)
            });
        }
        self.due.remove_done(&self.ledger).await
    }

    /// Handles a directory; returns whether it has a receipt and records of all late files, or has
    /// no files.
    async fn handle_one(
        &self,
        complete: &Complete,
        directory: &str,
        judgement: &Judgement,
        turn: &Turn,
    ) -> Result<bool, LedgerError> {
        let ledger = self.ledger.lock().await;
        let known = ledger.read_sidecar(directory, RECEIPT).await?;
        let receipt = match known.as_deref().map(Receipt::parse) {
            Some(Some(receipt)) => receipt,
            Some(None) => {
                tracing::warn!(
                    directory,
                    "the receipt {RECEIPT} is damaged; delete it, and the sink writes it again"
                );
                return Ok(false);
            }
            None if judgement.is_complete() => {
                let committed = self.committed(directory);
                if committed.iter().any(|file| turn.staged.contains(&file.temp)) {
                    return Ok(false);
                }
                let names = ledger.names_in(directory).await?;
                let mut receipt = receipt(directory, judgement, turn, &ledger);
                let is_covered = |name: &&String| {
                    ledger.entry_of(name).is_some_and(|entry| !receipt.is_late(entry))
                };
                let files: Vec<String> = names.iter().filter(is_covered).cloned().collect();
                if files.is_empty() {
                    // The roll failed after its note; its events are elsewhere.
                    return Ok(true);
                }
                add_files(&mut receipt, files, committed);
                complete.note(&self.settings, &ledger, (directory, None)).await?;
                if !ledger.put_sidecar(directory, RECEIPT, json(&receipt)).await? {
                    // Another collector was faster; the next turn reads its receipt.
                    return Ok(false);
                }
                complete.receipts.inc();
                complete.written();
                let (files, edges) = (receipt.files.len(), receipt.edges.len());
                let waived = receipt.waived.len() + receipt.left.len();
                tracing::info!(directory, files, edges, waived, "directory is complete");
                receipt
            }
            None => return Ok(false),
        };
        let names = ledger.names_in(directory).await?;
        if let Some(marker) = complete.marker.as_ref().filter(|marker| !names.contains(marker)) {
            ledger.mark(directory, marker).await?;
        }
        self.record_late(complete, &receipt, &names, turn, &ledger).await?;
        Ok(true)
    }

    /// Records the files of entries after the receipt.
    async fn record_late(
        &self,
        complete: &Complete,
        receipt: &Receipt,
        names: &[String],
        turn: &Turn,
        ledger: &Ledger,
    ) -> Result<(), LedgerError> {
        let directory = &receipt.directory;
        let committed = self.committed(directory);
        let mut late: BTreeMap<u64, Vec<LateFile>> = BTreeMap::new();
        for name in names {
            if let Some(entry) = ledger.entry_of(name).filter(|entry| receipt.is_late(*entry)) {
                let events = events_of(name, committed);
                late.entry(entry).or_default().push(LateFile { name: name.clone(), events });
            }
        }
        for (entry, files) in late {
            let name = late_name(entry);
            if names.contains(&name) {
                continue;
            }
            let count = files.len() as u64;
            let record = LateRecord { format: 1, entry, found_at_ms: turn.now, files };
            complete.note(&self.settings, ledger, (directory, Some(entry))).await?;
            if ledger.put_sidecar(directory, &name, json(&record)).await? {
                complete.written();
                complete.late.inc_by(count);
                tracing::warn!(
                    directory,
                    entry,
                    files = count,
                    "events arrived after the receipt of their directory; they are recorded in \
                     {name}; read them in the next run",
                );
            }
        }
        Ok(())
    }

    /// Shows for how long the oldest directory has been held back, and by which edges.
    fn show_oldest(&self, complete: &Complete, oldest: Option<Held>, now: i64) {
        let Some(Held { at, directory, edges, waits_for }) = oldest else {
            complete.held_seconds.set(0.0);
            complete.holders.set(0.0);
            return self.board.set_incomplete(None);
        };
        let is_due = |time: i64| self.settings.rules.is_over(at, time - complete.grace);
        let (mut before, mut due) = (at, now);
        while due - before > 1_000 {
            let middle = before + (due - before) / 2;
            if is_due(middle) { due = middle } else { before = middle }
        }
        let waited = Duration::from_millis((now - due).unsigned_abs());
        complete.held_seconds.set(waited.as_secs_f64());
        complete.holders.set(edges as f64);
        let now = Instant::now();
        let since = now.checked_sub(waited).unwrap_or(now);
        self.board.set_incomplete(Some(Incomplete { directory, waits_for, since }));
    }

    /// Logs the edges that hold a directory back, once for each directory.
    fn log_holders(&mut self, directory: &str, waits_for: &str) {
        let named = self.due.lists().flatten().filter(|due| due.place.directory == directory);
        let mut is_new = false;
        for due in named {
            is_new |= !std::mem::replace(&mut due.is_logged, true);
        }
        if is_new {
            tracing::info!(directory, waits_for, "directory waits for edges");
        }
    }
}

fn at(due: &Noted) -> (String, i64) {
    (due.place.directory.clone(), due.place.at)
}
