//! The task that writes: it takes batches from a queue, puts them into the open roll, and lets
//! finished rolls commit in the background while the next one is being written.
//!
//! ```text
//!  write ─queue (bytes bound)─► open roll ─size, count, age, idle, flush─► finishing (at most 2)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::Token;
use pipeline::env::unix_millis;
use pipeline::{Batch, BatchBuilder, Env, IntervalSet, Letter, Outcome, Taken, Ticket, Unwritable};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::bucket::{OVERFLOW, Template};
use super::error::HdfsSinkError;
use super::roll::Limits;
use super::staged::{CommitContext, OpenRoll, Part};
use components::format::Format;

/// Rolls that are closed and committed in the background; the next one is written meanwhile.
const FINISHING_MAX: usize = 2;

/// What the sink tells its writer.
pub(super) enum Command {
    /// Write this batch; the permit is its room in the queue.
    Write(Box<Taken>, OwnedSemaphorePermit),
    /// End the roll now.
    Flush,
}

/// What does not change between two openings.
pub(super) struct Settings {
    pub(super) env: Env,
    pub(super) template: Template,
    pub(super) format: Arc<Format>,
    pub(super) limits: Limits,
    pub(super) buckets_max: usize,
}

/// The writer of one opening.
pub(super) struct Writer {
    pub(super) settings: Arc<Settings>,
    pub(super) limits: Limits,
    pub(super) context: CommitContext,
    /// Whether a batch counts as delivered once it is written, before its file is closed.
    pub(super) settles_early: bool,
    pub(super) open: Option<OpenRoll>,
    /// Each says when files that were refused are to be tried again.
    pub(super) finishing: JoinSet<Option<Instant>>,
    /// When that is; `None` while no committed file waits.
    pub(super) retry: Option<Instant>,
    /// Whether the agent stops: nothing waits any more for a directory that refuses.
    pub(super) stops: bool,
}

impl Writer {
    /// Writes until the sink lets go of the queue, or the store fails.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let end = self.open.as_ref().map(|roll| roll.life.end());
            let retry = self.retry.filter(|_| self.finishing.is_empty());
            tokio::select! {
                biased;
                Some(ended) = self.finishing.join_next() => {
                    self.note(ended.ok().flatten());
                    self.end_waiting().await;
                }
                () = until(end) => self.finish().await,
                () = until(retry) => {
                    self.retry = None;
                    self.finishing.spawn(self.context.clone().publish_waiting());
                }
                command = commands.recv() => match command {
                    Some(Command::Write(taken, room)) => {
                        if let Err(error) = self.write(*taken).await {
                            return self.fail(error, commands).await;
                        }
                        drop(room);
                    }
                    Some(Command::Flush) => {
                        self.stops = true;
                        self.finish().await;
                        self.end_waiting().await;
                    }
                    None => return,
                },
            }
        }
    }

    /// Puts a batch into the open roll.
    async fn write(&mut self, taken: Taken) -> Result<(), HdfsSinkError> {
        let Taken { ticket, batch } = taken;
        let key = batch.envelope.identity;
        if self.context.held.settle_known(ticket, &batch) {
            return Ok(());
        }
        let Some(parts) = self.parts(ticket, &batch) else { return Ok(()) };
        let now = Instant::now();
        if self.open.as_ref().is_some_and(|roll| !roll.has_room(&parts, &self.limits)) {
            self.finish().await;
        }
        let roll = self.open.get_or_insert_with(|| {
            let entropy = &self.settings.env.entropy;
            let life = self.limits.begin(now, entropy.next_u64());
            let token = Token(entropy.bytes16());
            tracing::debug!(roll = %token, "roll begun");
            OpenRoll::new(token, life)
        });
        roll.life.touch(now, &self.limits);
        let mut full = false;
        let (format, stage) = (&self.settings.format, &self.context.stage);
        if roll.add(ticket, key) {
            for mut part in parts {
                let more = !roll.has_file(&part.directory);
                if more && roll.file_count() >= self.settings.buckets_max {
                    part.directory = OVERFLOW.into();
                }
                let fill = match roll.write(ticket, part, format, stage).await {
                    Ok(fill) => fill,
                    Err(error) => return Err(self.context.cause(error).await),
                };
                full |= self.limits.is_full(fill);
            }
        }
        if self.settles_early {
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
        }
        if full {
            self.finish().await;
        }
        self.show_open_files();
        Ok(())
    }

    /// The events of a batch by directory. An event that cannot be written goes to the dead
    /// letters; the rest of its batch is delivered. `None`: nothing is left of it.
    fn parts(&self, ticket: Ticket, batch: &Batch) -> Option<Vec<Part>> {
        let now = i64::try_from(unix_millis(self.settings.env.clock.now())).unwrap_or(i64::MAX);
        let mut parts = Vec::new();
        let mut unwritable: BTreeMap<String, BatchBuilder> = BTreeMap::new();
        let Settings { template, buckets_max, format, .. } = &*self.settings;
        for (directory, mut events) in template.route(batch, now, *buckets_max) {
            let left_out = format.unwritable(&events);
            if !left_out.is_empty() {
                for Unwritable { index, reason } in &left_out {
                    let event = events.iter().nth(*index);
                    let event = event.expect("an encoder names an event of the batch");
                    let headers: Vec<(&str, &str)> = event.headers().collect();
                    unwritable.entry(reason.clone()).or_default().push(event.body(), &headers);
                }
                let is_left_out =
                    |index: usize| left_out.binary_search_by_key(&index, |one| one.index).is_ok();
                events.retain(|event| !is_left_out(event.index()));
            }
            if !events.is_empty() {
                let bytes_bound = format.size_bound(&events);
                parts.push(Part { directory, events, bytes_bound });
            }
        }
        let left_out: usize = unwritable.values().map(BatchBuilder::len).sum();
        let whole = unwritable.len() == 1 && left_out == batch.len();
        for (detail, events) in unwritable {
            let mut events = if whole { batch.clone() } else { events.finish() };
            events.envelope.identity = batch.envelope.identity;
            let reason = "unwritable_event";
            self.context.held.refuse(Letter { ticket, events, whole, reason, detail });
        }
        if whole {
            return None;
        }
        if parts.is_empty() {
            // All of it is in letters, none of which speaks for the whole.
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
            return None;
        }
        Some(parts)
    }

    /// Lets the open roll, if there is one, commit in the background; waits while too many do.
    async fn finish(&mut self) {
        while self.finishing.len() >= FINISHING_MAX {
            let Some(ended) = self.finishing.join_next().await else { break };
            self.note(ended.ok().flatten());
        }
        if let Some(roll) = self.open.take() {
            tracing::debug!(roll = %roll.token(), files = roll.file_count(), "roll ended");
            self.finishing.spawn(roll.finish(self.context.clone()));
        }
    }

    /// Gives back what waits for directories that refuse, once the agent stops and all else is
    /// settled.
    async fn end_waiting(&mut self) {
        if self.stops && self.finishing.is_empty() {
            self.retry = self.context.give_up_waiting().await;
        }
        self.show_open_files();
    }

    fn show_open_files(&self) {
        let files = self.open.as_ref().map_or(0, OpenRoll::file_count);
        self.context.visible.board().set_open_files(files as u64);
    }

    /// One has ended: it says when to try again what waits.
    fn note(&mut self, retry: Option<Instant>) {
        self.retry = retry.or(self.retry);
    }

    /// The store failed: the open roll comes to nothing, the rolls before it are still finished,
    /// and what comes after goes back untouched until the sink is opened again.
    async fn fail(mut self, error: HdfsSinkError, mut commands: mpsc::UnboundedReceiver<Command>) {
        commands.close();
        if let Some(roll) = self.open.take() {
            self.context.held.settle(roll.tickets(), Outcome::Again(Some(error.into())));
        }
        self.show_open_files();
        let mut queued = IntervalSet::EMPTY;
        while let Some(command) = commands.recv().await {
            if let Command::Write(taken, _) = command {
                queued.insert(taken.ticket);
            }
        }
        self.context.held.settle(queued, Outcome::Again(None));
        while self.finishing.join_next().await.is_some() {}
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
