//! The task that writes: it takes batches from a queue, puts them into the open rolls, and
//! lets finished rolls commit in the background while the next ones are being written.
//!
//! ```text
//!  write ─queue (bytes bound)─► open rolls ─size, count, age, idle, clock, flush─► finishing
//!                                                     (full ones wait, as one)   (at most 2)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use formats::format::Format;
use ledger::{NoteKind, Token};
use metrics::Counter;
use pipeline::env::unix_millis;
use pipeline::{Batch, BatchBuilder, Env, IntervalSet, Letter, Outcome, Taken, Ticket, Unwritable};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::bucket::{OVERFLOW, Routed, Rules};
use super::error::HdfsSinkError;
use super::marker::Marker;
use super::merging::Compact;
use super::register::Registration;
use super::roll::Limits;
use super::rolls::{Growing, Rolls};
use super::rounds::{ROUNDS_MAX, Rounds};
use super::staged::{CommitContext, FileKey, OpenRoll, Part};

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
    pub(super) rules: Rules,
    /// Events that came late.
    pub(super) late: Counter,
    /// Events of batches with too many directories.
    pub(super) overflow: Counter,
    pub(super) format: Arc<Format>,
    pub(super) limits: Limits,
    pub(super) buckets_max: usize,
    /// What marks a directory as complete.
    pub(super) marker: Option<Marker>,
    /// When small files are merged.
    pub(super) compact: Option<Compact>,
    /// Where partitions are registered.
    pub(super) registration: Option<Registration>,
}

impl Settings {
    /// What is done for directories whose time is over. A marker is put after the merge: so the
    /// note of that is there first.
    pub(super) fn kinds_of_notes(&self) -> Vec<NoteKind> {
        let merge = self.compact.as_ref().map(|_| NoteKind::Merge);
        let marker = self.marker.as_ref().map(|_| NoteKind::Marker);
        merge.into_iter().chain(marker).collect()
    }
}

/// The writer of one opening.
pub(super) struct Writer {
    pub(super) settings: Arc<Settings>,
    pub(super) limits: Limits,
    pub(super) context: CommitContext,
    /// Whether a batch counts as delivered once it is written, before its file is closed.
    pub(super) settles_early: bool,
    pub(super) rolls: Rolls,
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
            // Those that are over by time go on while they could only wait, and are larger for it.
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
                        if let Err(error) = self.write(*taken).await {
                            return self.fail(error, commands).await;
                        }
                        drop(room);
                    }
                    Some(Command::Flush) => {
                        self.stops = true;
                        let all = self.rolls.take_all();
                        self.finish(all).await;
                        self.end_waiting().await;
                    }
                    None => return,
                },
            }
        }
    }

    /// Puts a batch into an open roll.
    async fn write(&mut self, taken: Taken) -> Result<(), HdfsSinkError> {
        let Taken { ticket, batch } = taken;
        let key = batch.envelope.identity;
        if self.context.held.settle_known(ticket, &batch) {
            return Ok(());
        }
        // One that is in a roll already shares its fate, wherever its paths lead by now.
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
        let (mut full, mut rounds) = (None, Rounds::new(&parts, settings.buckets_max));
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

    /// The events of a batch by file, once the open rolls have room for them. Where that takes long
    /// the batch goes back, to be routed anew: a directory that is being marked as complete gets no
    /// more files.
    async fn parts_with_room(
        &mut self,
        ticket: Ticket,
        batch: &Batch,
    ) -> Result<Option<Vec<Part>>, HdfsSinkError> {
        let routed = Instant::now();
        let Some(parts) = self.parts(ticket, batch) else { return Ok(None) };
        let cores = &self.context.stage.cores;
        if let Err(error) = self.rolls.settle_short(&parts, &self.limits, cores).await {
            return Err(self.context.cause(error).await);
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

    /// A batch is written: with `best_effort` it is delivered by that.
    fn settle_early(&self, ticket: Ticket) {
        if self.settles_early {
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
        }
    }

    /// The events of a batch by file. An event that cannot be written goes to the dead
    /// letters; the rest of its batch is delivered. `None`: nothing is left of it.
    fn parts(&self, ticket: Ticket, batch: &Batch) -> Option<Vec<Part>> {
        let Settings { rules, late, format, marker, compact, .. } = &*self.settings;
        let notes = marker.is_some() || compact.is_some();
        let at = now(&self.settings.env);
        let routed = rules.route(batch, at, self.settings.buckets_max.saturating_mul(ROUNDS_MAX));
        self.count_overflow(&routed);
        let Routed { parts: routed, rejected, late: came_late } = routed;
        late.inc_by(came_late);
        let mut parts = Vec::new();
        let mut unwritable: BTreeMap<(&str, String), BatchBuilder> = BTreeMap::new();
        for event in rejected.iter() {
            let headers: Vec<(&str, &str)> = event.headers().collect();
            let detail = "the header `timestamp` states no time".to_owned();
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
                parts.push(Part { file, events, bytes_bound, noted });
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
            // All of it is in letters, none of which speaks for the whole.
            self.context.held.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
            return None;
        }
        // Parts of one file are neighbours: it is open in one round alone.
        parts.sort_by(|one, other| one.file.cmp(&other.file));
        Some(parts)
    }

    /// Counts the events of a batch that belong in more directories than it may have files.
    fn count_overflow(&self, routed: &Routed) {
        let Some((_, events)) = routed.parts.iter().find(|(directory, _)| directory == OVERFLOW)
        else {
            return;
        };
        self.settings.overflow.inc_by(events.len() as u64);
        tracing::warn!(
            events = events.len(),
            directory = OVERFLOW,
            buckets_max = self.settings.buckets_max,
            "a batch has events for too many directories: the events of the others are stored in \
             one file, which Hadoop's readers skip; raise `buckets_max`, or use a path with fewer \
             values",
        );
    }

    /// Lets a roll that is over, if there is one, commit in the background, or wait for its turn.
    /// Waits itself where that one cannot: its path is in the way of the one that waits already.
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

    /// Gives back what waits for directories that refuse, once the agent stops and all else is
    /// settled.
    async fn end_waiting(&mut self) {
        if self.stops && self.finishing.is_empty() {
            self.retry = self.context.give_up_waiting().await;
        }
        self.show_open_files();
    }

    fn show_open_files(&self) {
        self.context.visible.board().set_open_files(self.rolls.file_count() as u64);
    }

    /// One is finished: it says when to try again what is not visible yet. The one that waits has
    /// its turn, with those that are over meanwhile; where these have a path in common with it,
    /// theirs is the next one.
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

    /// The store failed: the rolls that are not closed come to nothing, those before them are still
    /// finished, and what comes after goes back untouched until the sink is opened again.
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

/// A new roll.
fn begun(settings: &Settings, limits: &Limits, at: Instant) -> OpenRoll {
    let Settings { env, rules, .. } = settings;
    let boundary = limits.on.map(|boundary| boundary.after(now(env), &rules.calendar.zone));
    let life = limits.begin(at, env.entropy.next_u64(), boundary);
    let token = Token(env.entropy.bytes16());
    tracing::debug!(roll = %token, "roll begun");
    OpenRoll::new(token, life)
}

/// Milliseconds since 1970, by this host's clock.
pub(super) fn now(env: &Env) -> i64 {
    i64::try_from(unix_millis(env.clock.now())).unwrap_or(i64::MAX)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
