//! A roll being written: its files, one for each directory and form, and its batches.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use formats::format::Format;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use ledger::{Committed, Dataset, Ledger, LedgerError, NotedPlace, Roll, Token, WriterId};
use metrics::Gauge;
use peers::FloorBoard;
use pipeline::{Events, Identity, IntervalSet, KeySet, Outcome, Ticket, Traces};
use storage::{CreateOptions, FileSystem, FsError};
use support::mutant;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::content::{Content, Cores};
use super::decision::RepairHint;
use super::error::HdfsSinkError;
use super::held::Held;
use super::named::NamedLedger;
use super::noted::{Noted, Notes};
use super::open_file::{OpenFile, Writing};
use super::receipts::is_noted_again;
use super::roll::{Fill, Life, Limits};
use super::rolls::Growing;
use super::settings::Settings;
use super::traced::Traced;
use super::visible::Visible;
use super::waiting::Waiting;

/// Number of files of a roll to close in parallel.
const CLOSED_AT_ONCE: usize = 32;

/// Where and how to stage files.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) dataset: Dataset,
    pub(super) author: WriterId,
    pub(super) options: CreateOptions,
    /// Whether rolls are entries of the commit ledger.
    pub(super) recorded: bool,
    /// The compression threads.
    pub(super) cores: Cores,
    /// Whether placeholders represent files being written, because the store does not list them.
    pub(super) shows: bool,
}

impl Stage {
    /// Creates a placeholder. In an object store, a file exists only after it is closed. If markers
    /// depend on the stage, an empty file represents it from before its start. Returns its path.
    async fn show(&self, path: &str) -> Result<Option<String>, FsError> {
        if !self.shows {
            return Ok(None);
        }
        let shown = format!("{path}.open");
        self.fs.create(&shown, CreateOptions::default()).await?.close().await?;
        Ok(Some(shown))
    }

    /// Deletes the placeholders of published or abandoned files.
    async fn hide(&self, shown: Vec<String>) {
        for path in shown {
            if let Err(error) = self.fs.delete(&path).await {
                tracing::debug!(path, %error,
                    "cannot delete a placeholder; the next start deletes it");
            }
        }
    }
}

/// State for finishing a roll.
#[derive(Clone)]
pub(super) struct CommitContext {
    pub(super) stage: Stage,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) floors: FloorBoard,
    pub(super) held: Arc<Held>,
    /// Its files that are not visible yet.
    pub(super) waiting: Arc<Waiting>,
    /// Reports the visible files.
    pub(super) visible: Arc<Visible>,
    /// Committed files rejected by their directories.
    pub(super) unpublished: Gauge,
    pub(super) decision: Arc<RepairHint>,
    /// The ledger as announced upstream.
    pub(super) named_ledger: Arc<NamedLedger>,
    /// Directories with a note.
    pub(super) noted: Arc<Noted>,
    pub(super) settings: Arc<Settings>,
    /// Records steps of sampled batches.
    pub(super) traces: Traces,
}

impl CommitContext {
    /// Returns why a file could not be staged. If its directory is missing, the ledger may be, too.
    pub(super) async fn cause(&self, error: HdfsSinkError) -> HdfsSinkError {
        if matches!(&error, HdfsSinkError::Store(error) if error.is_not_found())
            && self.stage.recorded
            && let Err(changed) = self.ledger.lock().await.still_there().await
        {
            return self.decision.add_hint(changed);
        }
        error
    }
}

impl CommitContext {
    /// Retries the publication of waiting files. Returns when to retry, if any are left.
    pub(super) async fn publish_waiting(self) -> Option<Instant> {
        let mut ledger = self.ledger.lock().await;
        if let Err(error) = ledger.publish_waiting(Instant::now()).await {
            // The file is missing, or its name is taken. Batches that depend on it are rolled
            // again; otherwise the next commit fails the sink.
            tracing::debug!(%error, "cannot publish committed files; rewriting their batches");
            ledger.give_up_unrecorded();
            let error = HdfsSinkError::from(error).into();
            self.held.settle(self.waiting.give_up(), Outcome::Again(Some(error)));
            return None;
        }
        self.show(&ledger);
        self.next_try(&ledger)
    }

    /// Returns batches that wait for their files, because of a flush. Returns when to retry,
    /// if other files wait.
    pub(super) async fn give_up_waiting(&self) -> Option<Instant> {
        let mut ledger = self.ledger.lock().await;
        ledger.give_up_unrecorded();
        self.held.settle(self.waiting.give_up(), Outcome::Again(None));
        self.next_try(&ledger)
    }

    /// Reports new visible files, and settles the batches that waited for them.
    fn show(&self, ledger: &Ledger) {
        let (files, tickets) = self.waiting.take_visible(ledger.waiting());
        self.visible.published(&self.stage.dataset, &files);
        self.held.settle(tickets, Outcome::Delivered);
    }

    /// Returns when to retry waiting files.
    pub(super) fn next_try(&self, ledger: &Ledger) -> Option<Instant> {
        self.unpublished.set(ledger.waiting_files() as i64);
        ledger.publish_due()
    }
}

/// Determines the file of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileKey {
    /// Below the prefix.
    pub(super) directory: String,
    /// Property that the encoder keeps apart, such as a schema; usually empty.
    pub(super) form: String,
}

/// The part of a batch that goes into one file.
pub(super) struct Part {
    pub(super) file: FileKey,
    pub(super) events: Events,
    /// Maximum number of bytes that it adds to its file.
    pub(super) bytes_bound: u64,
    /// The time in its directory, if reader tasks need it.
    pub(super) noted: Option<i64>,
    /// The batch, if its events are counted by origin.
    pub(super) counted: Option<Identity>,
}

/// A roll being written.
pub(super) struct OpenRoll {
    token: Token,
    keys: KeySet,
    batches: Vec<(Ticket, Option<Identity>)>,
    files: BTreeMap<FileKey, OpenFile>,
    pub(super) life: Life,
}

impl OpenRoll {
    pub(super) fn new(token: Token, life: Life) -> Self {
        let (keys, batches, files) = (KeySet::default(), Vec::new(), BTreeMap::new());
        Self { token, keys, batches, files, life }
    }

    /// Its name in the stage.
    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// Adds a batch. Returns whether its events must be written: a batch that is already in the
    /// roll shares its result.
    pub(super) fn add(&mut self, ticket: Ticket, key: Option<Identity>) -> bool {
        self.batches.push((ticket, key));
        key.is_none_or(|key| self.keys.insert(key))
    }

    /// Writes one part of a batch. Returns whether its file is now full.
    pub(super) async fn write(
        &mut self,
        ticket: Ticket,
        part: Part,
        format: &Format,
        limits: &Limits,
        stage: &Stage,
    ) -> Result<bool, HdfsSinkError> {
        let file = match self.files.get_mut(&part.file) {
            Some(file) => file,
            None => {
                // Unique, because the number of files only grows, also when rolls are joined.
                let number = self.files.len();
                let temp = format!("{}/{}.{number}", Dataset::desk(stage.author), self.token);
                let path = stage.dataset.staged(&temp);
                let shown = stage.show(&path).await?;
                let writer = stage.fs.create(&path, stage.options).await?;
                let content = Content::begin(format, &stage.cores);
                let (writing, fill) = (Some(Writing { content, writer }), Fill::default());
                let (tickets, shares, noted) = (IntervalSet::EMPTY, BTreeMap::new(), part.noted);
                let file = OpenFile { temp, writing, fill, crc: 0, noted, shown, tickets, shares };
                self.files.entry(part.file.clone()).or_insert(file)
            }
        };
        file.write(ticket, &part, &stage.cores).await?;
        if limits.is_full(file.fill) {
            file.settle(&stage.cores).await?;
        }
        Ok(limits.is_full(file.fill))
    }

    /// Closes its files, so that a batch can have more files than may be open.
    pub(super) async fn end_files(&mut self, stage: &Stage) -> Result<(), HdfsSinkError> {
        let open = self.files.values_mut().filter(|file| file.is_open());
        let closing: Vec<_> = open.map(|file| file.end(stage)).collect();
        stream::iter(closing).buffer_unordered(CLOSED_AT_ONCE).try_collect().await
    }

    /// Makes the fill level of this file exact, if it exists.
    pub(super) async fn settle(&mut self, file: &FileKey, cores: &Cores) -> Result<(), FsError> {
        match self.files.get_mut(file) {
            Some(file) => file.settle(cores).await,
            None => Ok(()),
        }
    }

    /// Returns its tickets, if it is abandoned.
    pub(super) fn tickets(&self) -> IntervalSet {
        self.batches.iter().map(|(ticket, _)| *ticket).collect()
    }

    /// Closes, commits and publishes the files, and settles the batches. Returns when to retry
    /// rejected files, if any.
    pub(super) async fn finish(self, context: CommitContext) -> Option<Instant> {
        let (tickets, batches) = (self.tickets(), self.batches.clone());
        let shown = self.files.values().filter_map(|file| file.shown.clone()).collect();
        let CommitContext { ledger, floors, held, .. } = &context;
        let committed = self.commit(&context).await;
        context.stage.hide(shown).await;
        match committed {
            Ok(Some(Committed::Published(_))) => held.settle(tickets, Outcome::Delivered),
            // A file that is not visible may be lost with this opening.
            Ok(None) => held.settle(context.waiting.without(tickets), Outcome::Delivered),
            Ok(Some(Committed::ByAnother | Committed::Overlap(_))) => {
                held.settle_by_the_ledger(&batches);
            }
            Err(error) => {
                held.settle(tickets, Outcome::Again(Some(error.into())));
                return None;
            }
        }
        let mut ledger = ledger.lock().await;
        ledger.close_epochs(&floors.declared());
        // Any collector's next commit completes a started compaction.
        if let Err(error) = ledger.compact().await {
            tracing::debug!(%error,
                "cannot compact the commit ledger; retrying after the next commit");
        }
        if let Err(error) = ledger.sweep(Instant::now()).await {
            tracing::debug!(%error,
                "cannot delete staged files of stopped collectors; retrying after the next commit");
        }
        context.next_try(&ledger)
    }

    /// Commits the roll. `None` if it is published except for rejected files, without a ledger
    /// entry.
    async fn commit(mut self, context: &CommitContext) -> Result<Option<Committed>, HdfsSinkError> {
        let CommitContext { stage, ledger, held, waiting, decision, named_ledger, .. } = context;
        let traced = Traced::new(&context.traces, &self.batches);
        for file in self.files.values_mut() {
            file.finish(&stage.cores).await?;
        }
        let files = self.files.iter().map(|(key, file)| file.described(&key.directory)).collect();
        let in_files: Vec<_> = self.files.values().map(|file| file.tickets.clone()).collect();
        let places = self.files.iter().filter_map(|(key, file)| {
            let directory = key.directory.clone();
            file.noted.map(|at| NotedPlace { directory, at })
        });
        let notes = Notes {
            timed: context.noted.new_ones(places, |place| is_noted_again(&context.settings, place)),
            kinds: context.settings.kinds_of_notes(),
            partitions: context.settings.registration.as_ref().map_or_else(Vec::new, |table| {
                table.new_ones(self.files.keys().map(|key| &key.directory))
            }),
        };
        let roll = Roll { token: self.token, keys: self.keys, files };
        let (token, files) = (self.token, roll.files.clone());
        let published = Roll { token, keys: KeySet::default(), files };
        // A separate task, because the ledger may still be locked by another roll.
        let closing = tokio::spawn(close(self.files.into_values().collect(), stage.clone()));
        let closing = AbortOnDropHandle::new(closing)
            .map(|ended| ended.unwrap_or_else(|ended| resume_unwind(ended.into_panic())));
        let mut ledger = ledger.lock().await;
        if !stage.recorded {
            closing.await?;
            ledger.publish_unrecorded(&roll).await?;
            let files = ledger.targets(&published, &token.to_string());
            traced.end(&stage.dataset, &files, &in_files, None);
            waiting.add(files.into_iter().zip(in_files));
            context.show(&ledger);
            return Ok(None);
        }
        notes.put(&ledger, token).await?;
        let began = Instant::now();
        let committed = ledger.commit(roll, closing).await;
        let committed = committed.map_err(|error| decision.add_hint(error))?;
        held.record_ledger(ledger.view().settled().clone());
        if let Committed::Published(index) = committed {
            context.noted.add(notes.timed);
            if let Some(table) = &context.settings.registration {
                table.committed(notes.partitions);
            }
            if let Some(target) = &context.settings.target {
                target.news.notify_one();
            }
            // Only a new entry shows the end of the ledger: a roll that others committed is found
            // in a checkpoint, without the entries after it.
            named_ledger.is(&ledger, began);
            let files = ledger.targets(&published, &index.to_string());
            traced.end(&stage.dataset, &files, &in_files, Some(index));
            // The ledger guarantees its batches, whatever happens to this opening.
            waiting.add(files.into_iter().map(|file| (file, IntervalSet::EMPTY)));
            context.show(&ledger);
        }
        Ok(Some(committed))
    }
}

impl Growing for OpenRoll {
    fn life(&self) -> &Life {
        &self.life
    }

    fn files(&self) -> impl ExactSizeIterator<Item = &FileKey> {
        self.files.keys()
    }

    fn fill(&self, file: &FileKey) -> Option<Fill> {
        self.files.get(file).map(|file| file.fill)
    }

    fn batches(&self) -> impl Iterator<Item = Identity> {
        self.batches.iter().filter_map(|(_, key)| *key)
    }

    fn join(&mut self, other: Self) {
        let Self { keys, batches, files, life, .. } = other;
        if !mutant!("joined_keys_forgotten") {
            self.keys.insert_all(&keys);
        }
        self.batches.extend(batches);
        if !mutant!("joined_files_forgotten") {
            self.files.extend(files);
        }
        self.life.join(&life);
    }
}

/// Makes all files durable and complete.
async fn close(files: Vec<OpenFile>, stage: Stage) -> Result<(), LedgerError> {
    let mut files = files;
    let closing: Vec<_> = files.iter_mut().map(|file| file.close(&stage)).collect();
    stream::iter(closing).buffer_unordered(CLOSED_AT_ONCE).try_collect().await
}
