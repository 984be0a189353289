//! One call of journalctl, from start to end.

use std::sync::Arc;

use kit::command_errors::Errors;
use kit::follow::Puts;
use kit::waits::until;
use metrics::Metrics;
use pipeline::env::Started;
use pipeline::{Batch, BatchBuilder, ErrorClass, SourceError};
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
const HEADERS: usize = 8;

/// Reads entries into batches, and stores them.
pub(super) struct Reading<'a> {
    source: Arc<str>,
    metrics: Metrics,
    options: Arc<Options>,
    puts: &'a mut Puts,
    /// Position after the current batch.
    pub(super) place: Place,
    /// The entry at which the run ends, and whether it is reached.
    until: Option<Resumed>,
    is_reached: bool,
    events: BatchBuilder,
    bytes: usize,
    /// Time at which the first entry of the batch has waited long enough.
    due: Option<Instant>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        (source, metrics, options): (Arc<str>, Metrics, Arc<Options>),
        puts: &'a mut Puts,
        (place, until): (Place, Option<Resumed>),
    ) -> Self {
        let (events, bytes, due, is_reached) = (BatchBuilder::default(), 0, None, false);
        Self { source, metrics, options, puts, place, until, is_reached, events, bytes, due }
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
                    self.store().await;
                    continue;
                }
                read = output.read(&mut buffer) => read,
            };
            let read = read.map_err(|error| {
                failed("cannot read its output; starting it again", Some(error.into()))
            })?;
            let mut input = &buffer[..read];
            while let Some(entry) = self.next(&mut export, &mut input)? {
                self.take(&entry, &mut resumed).await?;
                if self.is_reached {
                    self.store().await;
                    return Ok(());
                }
            }
            if read == 0 {
                break;
            }
        }
        self.store().await;
        let status = process
            .ended()
            .await
            .map_err(|error| failed("is lost; starting it again", Some(error.into())))?;
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
            failed(
                "its output is not in the export format of the journal; check the program in \
                 `journalctl`",
                Some(Box::new(error)),
            )
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
            return Err(failed(
                "an entry has no cursor; check the journal with `journalctl --verify`",
                None,
            ));
        };
        let met_end = self.until.as_mut().map(|until| until.meet(cursor));
        if let Some(Met::Follows | Met::Gap(Some(_))) = met_end {
            self.is_reached = true;
            return Ok(());
        }
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
            self.store().await;
        }
        if entry.is_cut {
            self.count("message_cut");
        }
        self.events.push(&body, &headers);
        self.bytes += bytes;
        self.place.cursor = Some(cursor.to_owned());
        if self.is_full(0) {
            self.store().await;
            return Ok(());
        }
        self.due.get_or_insert_with(|| Instant::now() + self.options.batch_timeout);
        Ok(())
    }

    /// Returns true if an event of `next` bytes must go into another batch.
    fn is_full(&self, next: usize) -> bool {
        let here = self.events.len();
        let most = self.puts.limits(BATCH_BYTES, self.options.batch_events * HEADERS);
        here > 0 && (here >= (most.events / HEADERS).max(1) || self.bytes + next >= most.bytes)
    }

    /// Stores the batch with the position after it.
    async fn store(&mut self) {
        self.due = None;
        if self.events.is_empty() {
            return;
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.events).finish();
        self.put(batch).await;
    }

    /// Stores a batch with the position.
    pub(super) async fn put(&mut self, mut batch: Batch) {
        self.place.number += 1;
        self.place.of = self.options.selection.digest();
        batch.envelope.positions.push(self.place.position(&self.source));
        self.puts.put(batch).await;
    }
}

fn failed(what: &str, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> SourceError {
    let message = format!("journalctl: {what}");
    SourceError { class: ErrorClass::Transient, message, source }
}
