//! One call of journalctl, from start to end.

use std::sync::Arc;

use kit::command_errors::Errors;
use kit::one_channel;
use kit::until_stored::UntilStored;
use kit::waits::until;
use metrics::Metrics;
use peers::limits::Cut;
use pipeline::env::Started;
use pipeline::{Batch, BatchBuilder, ErrorClass, Intake, SourceError};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::command::{Step, remedy};
use super::config::Options;
use super::event::CURSOR;
use super::export::{Entry, Export};
use super::place::{CURSOR_BYTES_MAX, Met, Place, Resumed};

/// Read size.
const READ_BYTES: usize = 64 << 10;

/// Size of bodies and headers at which a batch is full.
pub(super) const BATCH_BYTES: usize = 256 << 10;

/// Divisor of the event limit of downstream agents: it is for plain events, and these have headers.
const HEADERS: u64 = 8;

/// Reads entries into batches, and stores them.
pub(super) struct Reading {
    source: Arc<str>,
    metrics: Metrics,
    options: Arc<Options>,
    intake: Arc<dyn Intake>,
    pub(super) until_stored: UntilStored,
    /// Position after the current batch.
    pub(super) place: Place,
    events: BatchBuilder,
    bytes: usize,
    /// Time at which the first entry of the batch has waited long enough.
    due: Option<Instant>,
}

impl Reading {
    pub(super) fn new(
        (source, metrics, options): (Arc<str>, Metrics, Arc<Options>),
        intake: Arc<dyn Intake>,
        until_stored: UntilStored,
        place: Place,
    ) -> Self {
        let (events, bytes, due) = (BatchBuilder::default(), 0, None);
        Self { source, metrics, options, intake, until_stored, place, events, bytes, due }
    }

    /// Reads and stores the output of a call, to its end.
    ///
    /// # Errors
    /// Fails if the call fails, its output is invalid, or the channels fail.
    pub(super) async fn call(&mut self, step: Step, started: Started) -> Result<(), SourceError> {
        let Started { mut output, errors, mut process } = started;
        let errors = self.errors(errors);
        let mut export = Export::new(self.options.form.kept(), self.options.value_max);
        let mut resumed = self.place.cursor.clone().map(|cursor| {
            let within_boot = self.options.selection.is_within_boot(step);
            let is_same = self.place.of == self.options.selection.digest();
            Resumed::at(cursor, within_boot, is_same)
        });
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = tokio::select! {
                biased;
                () = until(self.due) => {
                    self.store().await?;
                    continue;
                }
                read = output.read(&mut buffer) => read,
            };
            let read =
                read.map_err(|error| failed("cannot read its output", Some(error.into())))?;
            let mut input = &buffer[..read];
            while let Some(entry) = self.next(&mut export, &mut input)? {
                self.take(&entry, &mut resumed).await?;
            }
            if read == 0 {
                break;
            }
        }
        self.store().await?;
        let status =
            process.ended().await.map_err(|error| failed("is lost", Some(error.into())))?;
        if status.success() && export.is_between_entries() {
            return Ok(());
        }
        self.count("journalctl_failed");
        let said = errors.last().await.unwrap_or_default();
        let remedy = remedy(&said).map(|remedy| format!("; {remedy}")).unwrap_or_default();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        Err(failed(&format!("ended with {status}{said}{remedy}"), None))
    }

    /// Logs its standard error: files that it skips, missing permissions.
    fn errors(&self, printed: pipeline::env::Printed) -> Errors {
        let (source, metrics) = (self.source.clone(), self.metrics.clone());
        Errors::read(printed, move |line| {
            metrics.count_anomaly(&source, "journalctl_warned", 1);
            let remedy = remedy(line);
            tracing::warn!(
                source = %source, line, remedy,
                "journalctl reported a problem and may skip entries of the journal, which are then \
                 lost; if `remedy` is set, follow it"
            );
        })
    }

    fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.source, reason, 1);
    }

    fn next(&self, export: &mut Export, input: &mut &[u8]) -> Result<Option<Entry>, SourceError> {
        export.next(input).map_err(|error| {
            self.count("output_malformed");
            failed("its output is not in the export format of the journal", Some(Box::new(error)))
        })
    }

    /// Adds an entry to the batch, unless it is stored already.
    async fn take(
        &mut self,
        entry: &Entry,
        resumed: &mut Option<Resumed>,
    ) -> Result<(), SourceError> {
        let cursor = entry.text(CURSOR).filter(|cursor| cursor.len() <= CURSOR_BYTES_MAX);
        let Some(cursor) = cursor else {
            self.count("output_malformed");
            return Err(failed("an entry has no cursor", None));
        };
        if let Some(known) = resumed {
            let met = known.meet(cursor);
            if met == Met::Stored {
                return Ok(());
            }
            *resumed = None;
            if let Met::Gap(entries) = met {
                self.count("cursor_gone");
                let stored = self.place.cursor.as_deref();
                tracing::warn!(
                    source = %self.source, entries, stored, next = cursor,
                    "the last entry that was read is no longer in the journal (vacuumed, or its \
                     file is damaged), so later entries may be lost; let the journal keep more \
                     (SystemMaxUse=, MaxRetentionSec= in journald.conf)",
                );
            }
        }
        let options = self.options.clone();
        let form = &options.form;
        let (body, headers) = (form.body(entry), form.headers(entry));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, it)| (*name, &**it)).collect();
        let bytes = body.len() + headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        if self.is_full(bytes) {
            self.store().await?;
        }
        if entry.is_cut {
            self.count("message_cut");
        }
        self.events.push(&body, &headers);
        self.bytes += bytes;
        self.place.cursor = Some(cursor.to_owned());
        if self.is_full(0) {
            return self.store().await;
        }
        self.due.get_or_insert_with(|| Instant::now() + self.options.batch_timeout);
        Ok(())
    }

    /// Returns true if an event of `next` bytes must go into another batch.
    fn is_full(&self, next: usize) -> bool {
        let (here, agreed) = (self.events.len(), self.intake.batch_bytes_max().map(Cut::within));
        let bytes = agreed.as_ref().map_or(u64::MAX, |cut| cut.body_bytes).min(BATCH_BYTES as u64);
        let events = agreed.map_or(u64::MAX, |cut| cut.events / HEADERS);
        let events = events.min(self.options.batch_events as u64).max(1);
        here > 0 && (here as u64 >= events || (self.bytes + next) as u64 >= bytes)
    }

    /// Stores the batch with the position after it.
    async fn store(&mut self) -> Result<(), SourceError> {
        self.due = None;
        if self.events.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.events).finish();
        self.put(batch).await
    }

    /// Stores a batch with the position.
    ///
    /// # Errors
    /// Fails if the channels reject the batch permanently.
    pub(super) async fn put(&mut self, mut batch: Batch) -> Result<(), SourceError> {
        self.place.number += 1;
        self.place.of = self.options.selection.digest();
        batch.envelope.positions.push(self.place.position(&self.source));
        let number = self.place.number;
        let lacks = move |known: &[_]| Place::lacks(known, number);
        match self.until_stored.put(batch, None, lacks).await {
            Ok(()) => Ok(()),
            Err(refused) => Err(one_channel::cause(refused).await),
        }
    }
}

fn failed(what: &str, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
    let message = format!("journalctl: {what}");
    SourceError { class: ErrorClass::Transient, message, source }
}
