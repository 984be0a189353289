//! The writer task: takes batches from a queue, adds them to the open rolls, and commits finished
//! rolls in the background while it writes the next ones.
//!
//! ```text
//!  write ─queue (bytes bound)─► open rolls ─size, count, age, idle, clock, flush─► finishing
//!                                                     (full ones wait, joined)   (at most 2)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::Token;
use pipeline::{Batch, BatchBuilder, IntervalSet, Letter, Outcome, Taken, Ticket, Unwritable};
use support::mutant;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::bucket::{OVERFLOW, Routed};
use super::error::HdfsSinkError;
use super::roll::Limits;
use super::rolls::{Growing, Rolls};
use super::rounds::{BatchRounds, ROUNDS_MAX};
use super::settings::{Settings, now};
use super::staged::{CommitContext, FileKey, OpenRoll, Part};

/// Maximum number of rolls being closed and committed in the background.
const FINISHING_MAX: usize = 2;

/// A command from the sink to its writer.
pub(super) enum Command {
    /// Write this batch; the permit is its space in the queue.
    Write(Box<Taken>, OwnedSemaphorePermit),
    /// End the roll now.
    Flush,
}

/// The writer of one opening.
pub(super) struct Writer {
    pub(super) settings: Arc<Settings>,
    pub(super) limits: Limits,
    pub(super) context: CommitContext,
    /// Whether a batch is delivered when it is written, before its file is closed.
    pub(super) settles_early: bool,
    pub(super) rolls: Rolls,
    /// Each task returns when to retry rejected files.
    pub(super) finishing: JoinSet<Option<Instant>>,
    /// When to retry; `None` while no committed file waits.
    pub(super) retry: Option<Instant>,
    /// Whether no batch came after a flush: do not wait for rejecting directories any more.
    pub(super) gives_up: bool,
}

impl Writer {
    /// Writes until the sink closes the queue, or the store fails.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            // If rolls could not finish anyway, let them grow beyond their time limit.
            let end = self.rolls.end().filter(|_| self.finishing.len() < FINISHING_MAX);
            let retry = self.retry.filter(|_| self.finishing.is_empty());
            tokio::select! {
                biased;
                Some(ended) = self.finishing.join_next() => {
                    self.note(ended.ok().flatten());
                    self.end_waiting().await;
                }
                () = until(end) => {
                    let over = self.rolls.take_over(Instant::now(), &self.limits);
                    self.finish(over).await;
                }
                () = until(retry) => {
                    self.retry = None;
                    self.finishing.spawn(self.context.clone().publish_waiting());
                }
                command = commands.recv() => match command {
                    Some(Command::Write(taken, room)) => {
                        self.gives_up = false;
                        if let Err(error) = self.write(*taken).await {
                            return self.fail(error, commands).await;
                        }
                        drop(room);
                    }
                    Some(Command::Flush) => {
                        self.gives_up = true;
                        let all = self.rolls.take_all();
                        self.finish(all).await;
                        self.end_waiting().await;
                    }
                    None => return,
                },
            }
        }
    }

    /// Adds a batch to an open roll.
    async fn write(&mut self, taken: Taken) -> Result<(), HdfsSinkError> {
        let Taken { ticket, batch } = taken;
        let key = batch.envelope.identity;
        if self.context.held.settle_known(ticket, &batch) {
            return Ok(());
        }
        // A batch that is already in a roll shares its result, even if its paths have changed.
        if key.is_some_and(|key| self.rolls.add_again(ticket, key)) {
            self.settle_early(ticket);
            return Ok(());
        }
        let Some(parts) = self.parts_with_room(ticket, &batch).await? else { return Ok(()) };
        let now = Instant::now();
        let (settings, limits) = (&self.settings, &self.limits);
        let roll = self.rolls.for_parts(&parts, key, || begun(settings, limits, now));
        roll.life.touch(now, limits);
        roll.add(ticket, key);
        let stage = &self.context.stage;
        let (mut full, mut rounds) = (None, BatchRounds::new(&parts, settings.buckets_max));
        for part in parts {
            let file = part.file.clone();
            if rounds.ends_before(&file) {
                roll.end_files(stage).await?;
            }
            match roll.write(ticket, part, &settings.format, limits, stage).await {
                Ok(is_full) if is_full || rounds.are_several => full = Some(file),
                Ok(_) => {}
                Err(error) => return Err(self.context.cause(error).await),
            }
        }
        self.settle_early(ticket);
        if let Some(file) = full {
            let full = self.rolls.take_of(&file);
            self.finish(full).await;
        }
        self.show_open_files();
        Ok(())
    }

    /// Splits a batch by file, once the open rolls have space. If that takes long, the batch is
    /// returned to be routed again: a directory that is being marked must not get new files.
    async fn parts_with_room(
        &mut self,
        ticket: Ticket,
        batch: &Batch,
    ) -> Result<Option<Vec<Part>>, HdfsSinkError> {
        let routed = Instant::now();
        let Some(parts) = self.parts(ticket, batch) else { return Ok(None) };
        let cores = &self.context.stage.cores;
        if let Err(error) = self.rolls.settle_short(&parts, &self.limits, cores).await {
            return Err(self.context.cause(error.into()).await);
        }
        let full = self.rolls.take_full(&parts, &self.limits);
        self.finish(full).await;
        let oldest = self.rolls.take_oldest(&parts, self.settings.buckets_max);
        self.finish(oldest).await;
        let marker = self.settings.marker.as_ref();
        if marker.is_some_and(|marker| routed.elapsed() > marker.margin / 2) {
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Again(None));
            return Ok(None);
        }
        Ok(Some(parts))
    }

    /// Settles a written batch early: with `best_effort`, writing is delivery.
    fn settle_early(&self, ticket: Ticket) {
        if self.settles_early {
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
        }
    }

    /// Splits the events of a batch by file. Events that cannot be written go to the dead letters;
    /// the rest is delivered. `None` if nothing is left.
    fn parts(&self, ticket: Ticket, batch: &Batch) -> Option<Vec<Part>> {
        let Settings { rules, late, format, marker, complete, compact, .. } = &*self.settings;
        let notes = marker.is_some() || complete.is_some() || compact.is_some();
        let counted = batch.envelope.identity.filter(|_| complete.is_some());
        let at = now(&self.settings.env);
        let rounds_max = if mutant!("one_round_only") { 1 } else { ROUNDS_MAX };
        let routed = rules.route(batch, at, self.settings.buckets_max.saturating_mul(rounds_max));
        self.count_overflow(&routed);
        let Routed { parts: routed, rejected, late: came_late } = routed;
        late.inc_by(came_late);
        let mut parts = Vec::new();
        let mut unwritable: BTreeMap<(&str, String), BatchBuilder> = BTreeMap::new();
        for event in rejected.iter() {
            let headers: Vec<(&str, &str)> = event.headers().collect();
            let detail =
                "the header `timestamp` is missing or not a time in milliseconds".to_owned();
            unwritable.entry(("no_time", detail)).or_default().push(event.body(), &headers);
        }
        for (directory, mut events) in routed {
            let left_out = format.unwritable(&events);
            if !left_out.is_empty() {
                for Unwritable { index, reason } in &left_out {
                    let event = events.iter().nth(*index);
                    let event = event.expect("an encoder names an event of the batch");
                    let headers: Vec<(&str, &str)> = event.headers().collect();
                    let letter = unwritable.entry(("unwritable_event", reason.clone()));
                    letter.or_default().push(event.body(), &headers);
                }
                let is_left_out =
                    |index: usize| left_out.binary_search_by_key(&index, |one| one.index).is_ok();
                events.retain(|event| !is_left_out(event.index()));
            }
            if events.is_empty() {
                continue;
            }
            let first = events.iter().next().filter(|_| notes && directory != OVERFLOW);
            let noted = first.and_then(|first| rules.time_shown(first, at));
            for (form, events) in format.by_form(events) {
                let bytes_bound = format.size_bound(&events);
                let file = FileKey { directory: directory.clone(), form };
                parts.push(Part { file, events, bytes_bound, noted, counted });
            }
        }
        let left_out: usize = unwritable.values().map(BatchBuilder::len).sum();
        let whole = unwritable.len() == 1 && left_out == batch.len();
        for ((reason, detail), events) in unwritable {
            let mut events = if whole { batch.clone() } else { events.finish() };
            events.envelope.identity = batch.envelope.identity;
            self.context.held.refuse(Letter { ticket, events, whole, reason, detail });
        }
        if whole {
            return None;
        }
        if parts.is_empty() {
            // All events are in letters, but no letter covers the whole batch.
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
            return None;
        }
        // Parts of one file are adjacent, so that it is open in one round only.
        parts.sort_by(|one, other| one.file.cmp(&other.file));
        Some(parts)
    }

    /// Counts events that exceed the directory limit of their batch.
    fn count_overflow(&self, routed: &Routed) {
        let Some((_, events)) = routed.parts.iter().find(|(directory, _)| directory == OVERFLOW)
        else {
            return;
        };
        let counted = if mutant!("overflow_not_counted") { 0 } else { events.len() as u64 };
        self.settings.overflow.inc_by(counted);
        tracing::warn!(
            events = events.len(),
            directory = OVERFLOW,
            buckets_max = self.settings.buckets_max,
            "the events of a batch belong to too many directories; the rest is stored in one file, \
             which Hadoop's readers skip; raise `buckets_max`, or use a path with fewer distinct \
             values",
        );
    }

    /// Commits a finished roll, if any, in the background, or adds it to the waiting one. Waits if
    /// that is impossible because they share a path.
    async fn finish(&mut self, over: Option<OpenRoll>) {
        let Some(roll) = over else { return };
        while self.finishing.len() >= FINISHING_MAX {
            if self.rolls.may_wait(&roll, self.settings.buckets_max) {
                return self.rolls.wait(roll);
            }
            let Some(ended) = self.finishing.join_next().await else { break };
            self.note(ended.ok().flatten());
        }
        self.commit(roll);
    }

    fn commit(&mut self, roll: OpenRoll) {
        tracing::debug!(roll = %roll.token(), files = roll.file_count(), "roll ended");
        self.finishing.spawn(roll.finish(self.context.clone()));
    }

    /// Returns batches that wait for rejecting directories, after a flush and when everything else
    /// is settled.
    async fn end_waiting(&mut self) {
        if self.gives_up && self.finishing.is_empty() {
            self.retry = self.context.give_up_waiting().await;
        }
        self.show_open_files();
    }

    fn show_open_files(&self) {
        self.context.visible.board().set_open_files(self.rolls.file_count() as u64);
    }

    /// Handles a finished roll, which reports when to retry files. Starts the waiting roll,
    /// together with rolls that are now over; those that share a path with it come next.
    fn note(&mut self, retry: Option<Instant>) {
        self.retry = retry.or(self.retry);
        let over = self.rolls.take_over(Instant::now(), &self.limits);
        let (with, after) = match over {
            Some(over) if self.rolls.may_wait(&over, self.settings.buckets_max) => {
                (Some(over), None)
            }
            over => (None, over),
        };
        with.into_iter().for_each(|over| self.rolls.wait(over));
        if let Some(waiting) = self.rolls.take_waiting() {
            self.commit(waiting);
        }
        after.into_iter().for_each(|over| self.rolls.wait(over));
    }

    /// Handles a failure of the store: drops open rolls, finishes earlier ones, and returns later
    /// batches until the sink is opened again.
    async fn fail(mut self, error: HdfsSinkError, mut commands: mpsc::UnboundedReceiver<Command>) {
        commands.close();
        let mut tickets = IntervalSet::EMPTY;
        for unfinished in [self.rolls.take_waiting(), self.rolls.take_all()] {
            tickets.insert_all(&unfinished.map(|roll| roll.tickets()).unwrap_or_default());
        }
        self.context.held.settle(tickets, Outcome::Again(Some(error.into())));
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

/// Starts a roll.
fn begun(settings: &Settings, limits: &Limits, at: Instant) -> OpenRoll {
    let Settings { env, rules, .. } = settings;
    let boundary = limits.on.map(|boundary| boundary.after(now(env), &rules.calendar.zone));
    let life = limits.begin(at, env.entropy.next_u64(), boundary);
    let token = Token(env.entropy.bytes16());
    tracing::debug!(roll = %token, "roll begun");
    OpenRoll::new(token, life)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
