//! The runner of a sink group: one consumer of a channel, with sinks that work in parallel.
//!
//! ```text
//!            take                  select                queue
//!  channel ───────► group task ─────────────► member task ───────► sink
//!     ▲                 ▲      the processor       │    write, settled
//!     └─ commit, park,  └──────────────────────────┘
//!        rollback            the result
//! ```
//!
//! Only the group task uses the channel; only its member task uses a sink. A slow sink fills its
//! own queue and blocks no other, unless the processor insists on it.
//!
//! # Invariants
//!
//! 1. A ticket is in the channel, pending here, or with exactly one member.
//! 2. A ticket leaves a member by its response (`Delivered`, `Refused`, `Again`), or when the
//!    member ends; only then may another member get it.
//! 3. Uncommitted batches are rolled back when the group ends: dropping the take does it.
//! 4. A batch with events that can never be delivered is committed after these are on disk among
//!    the dead letters.

mod dead_letter_writes;
mod failover;
mod held_back;
mod member;
mod parts;
mod roster;
mod tally;
mod traced_batches;
mod view;

use std::sync::Arc;

use metrics::{Metrics, SinkLabel};
use peers::OutletBoard;
use pipeline::{
    Channel, ChannelError, IntervalSet, Outcome, Report, Selection, Settlement, SinkProcessor,
    TakeTransaction, Taken,
};
use support::causes::chain;
use support::failure_log::{FailureLog, seconds};
use support::meter::Volume;
use support::mutant;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use dead_letter_writes::{DeadLetterWrites, TaskContext};
use held_back::{Action, Held};
use member::{Event, Shared};
pub(crate) use parts::{GroupParts, NamedSink};
use roster::Member;
use tally::Tally;
use traced_batches::TracedBatches;
pub use view::GroupView;
use view::Outflow;
pub(crate) use view::{MemberPart, OutflowPart, Passed, Question};

/// Pause after a read of the channel failed.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Runs a group until `stop`; then settles the batches of the sinks within `grace`.
pub(crate) async fn run(parts: GroupParts, stop: CancellationToken, grace: Duration) {
    let (events_in, events) = mpsc::unbounded_channel();
    let tasks = TaskTracker::new();
    let end = CancellationToken::new();
    let longest_pause = parts.processor.longest_pause();
    let members = parts.sinks.into_iter().enumerate().map(|(index, named)| {
        let (events, env) = (events_in.clone(), parts.env.clone());
        let sent = tally::Sent::new(&named.name, &parts.metrics, parts.tap.clone());
        let is_present = named.seat().is_none_or(|seat| seat.view().is_present);
        let health = parts.health.add_sink(&named.name, is_present);
        let (shown, board) = (health.clone(), named.sink.status().cloned());
        let letters = named.letters;
        let shared = Shared { index, name: named.name, events, env, longest_pause, sent, health };
        let handle = member::spawn(named.sink, shared, stop.clone(), end.clone(), &tasks);
        Member::new((handle, letters), shown, board)
    });
    let members: Vec<Member> = members.collect();
    let outflow = Outflow::new(members.len(), Instant::now(), parts.passed);
    let mut group = Group {
        members,
        take: parts.channel.begin_take(&parts.name),
        outlet: parts.outlet,
        channel: parts.channel,
        dead_letter_writes: DeadLetterWrites::new(
            parts.dead_letters,
            parts.env,
            parts.channel_name,
            parts.name.clone(),
            TaskContext { events: events_in, tasks: tasks.clone(), end: end.clone() },
        ),
        held: Held::new(&parts.name, &parts.metrics),
        traced_batches: TracedBatches::new(parts.traces, parts.name.clone()),
        name: parts.name,
        processor: parts.processor,
        metrics: parts.metrics,
        pending: None,
        chosen: None,
        refuse_reads_until: None,
        read_error: String::new(),
        failure_log: FailureLog::default(),
        tally: Tally::default(),
        outflow,
    };
    group.serve(events, (parts.questions, &parts.flush), &stop, grace).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
}

struct Group {
    name: Arc<str>,
    take: Box<dyn TakeTransaction>,
    /// Shows the sources of the channel whether the group works.
    outlet: OutletBoard,
    channel: Arc<dyn Channel>,
    processor: Box<dyn SinkProcessor>,
    members: Vec<Member>,
    metrics: Metrics,
    dead_letter_writes: DeadLetterWrites,
    /// Batches that are too large for the members that work.
    held: Held,
    /// Taken, and not assigned to a member yet.
    pending: Option<Taken>,
    /// The member for the pending batch, while nothing happens to the members.
    chosen: Option<usize>,
    /// The channel could not be read; nothing is taken before this instant.
    refuse_reads_until: Option<Instant>,
    /// Why the channel could not be read last.
    read_error: String,
    /// Reads of the channel that failed since the last one that did not.
    failure_log: FailureLog,
    /// Counts of the batches that were sent and are still in the channel.
    tally: Tally,
    /// Spans of the sampled ones among them.
    traced_batches: TracedBatches,
    /// Totals of batches that have left the channel.
    outflow: Outflow,
}

/// The next event that the group waits for, in addition to its members.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it goes at once")]
enum Next {
    Taken(Result<Taken, ChannelError>),
    Sent(usize),
    Hold,
    Reconsider,
    /// Some member works, and there is no batch to prove it with.
    Idle,
}

impl Group {
    async fn serve(
        &mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        (mut questions, flush): (mpsc::Receiver<Question>, &Notify),
        stop: &CancellationToken,
        grace: Duration,
    ) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(event) = events.recv() => self.on_event(event),
                Some(question) = questions.recv() => self.answer(question),
                next = self.next() => self.advance(next),
                // A pending batch goes first, so that it is in the same file.
                () = flush.notified(), if self.pending.is_none() => {
                    self.members.iter().for_each(|member| member.handle.flush());
                }
            }
        }
        self.pending = None;
        let deadline = Instant::now() + grace;
        while !self.dead_letter_writes.is_empty()
            || self.members.iter().any(|member| !member.in_hand.is_empty())
        {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => {
                    warn!(group = %self.name, "the sink group did not finish within the grace \
                                               period and stops; undelivered batches stay in the \
                                               channel and are delivered after the next start");
                    return;
                }
                Some(event) = events.recv() => self.on_event(event),
                Some(question) = questions.recv() => self.answer(question),
            }
        }
    }

    /// Takes a batch, or finds a member with room for the one that is pending. Cancel safe.
    async fn next(&mut self) -> Next {
        if let Some(until) = self.refuse_reads_until {
            sleep_until(until).await;
            return Next::Reconsider;
        }
        let Some(pending) = &self.pending else {
            if self.dead_letter_writes.is_full() {
                return std::future::pending().await;
            }
            let is_idle = self.may_be_idle();
            return tokio::select! {
                biased;
                taken = self.take.take() => Next::Taken(taken),
                () = sleep(failover::IDLE_AFTER), if is_idle => Next::Idle,
            };
        };
        let index = match self.chosen {
            Some(index) => index,
            None => {
                let (way, views) = self.place(pending);
                if way == Action::Hold {
                    return if self.can_hold() { Next::Hold } else { std::future::pending().await };
                }
                let origin = pending.batch.envelope.identity.map(|identity| identity.origin);
                match self.processor.select(origin, &views, Instant::now()) {
                    Selection::Use(index) => *self.chosen.insert(index),
                    Selection::WaitUntil(instant) => {
                        sleep_until(instant).await;
                        return Next::Reconsider;
                    }
                }
            }
        };
        // A closed member is being reopened: its result arrives as an event.
        if self.members[index].open && self.members[index].handle.wait_for_room().await {
            return Next::Sent(index);
        }
        std::future::pending().await
    }

    fn advance(&mut self, next: Next) {
        match next {
            Next::Taken(Ok(taken)) => {
                if let Some((failures, lasted)) = self.failure_log.over(Instant::now()) {
                    info!(
                        group = %self.name, failures, lasted_seconds = seconds(lasted),
                        "the sink group reads its channel again",
                    );
                }
                self.pending = Some(taken);
            }
            Next::Taken(Err(error)) => self.cannot_take(&error),
            Next::Sent(index) => {
                let taken = self.pending.take().expect("a member is chosen for a pending batch");
                self.chosen = None;
                let (ticket, batch, now) = (taken.ticket, &taken.batch, Instant::now());
                let volume = Volume { events: batch.len() as u64, bytes: batch.body_bytes() };
                self.tally.sent(ticket, volume, now);
                self.trace_sent(index, &taken, now);
                let member = &mut self.members[index];
                member.in_hand.insert(ticket);
                member.handle.send(taken);
            }
            Next::Hold => self.hold_pending(),
            Next::Reconsider => self.refuse_reads_until = None,
            Next::Idle => self.outlet.set_working(&self.name),
        }
    }

    fn cannot_take(&mut self, error: &ChannelError) {
        let (now, error) = (Instant::now(), chain(error));
        self.refuse_reads_until = Some(now + READ_RETRY);
        self.failure_log.count(now);
        if let Some((failures, lasts)) = self.failure_log.should_log(now, &error) {
            warn!(
                group = %self.name, %error, failures, lasts_seconds = seconds(lasts),
                pause_ms = READ_RETRY.as_millis() as u64,
                "the sink group cannot read its channel, and its events wait there; retrying; fix \
                 the cause in `error`",
            );
        }
        self.read_error = error;
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Opened(index) => {
                self.chosen = None;
                self.members[index].open = true;
                self.held.opened(index);
                debug!(sink = %self.members[index].handle.name(), "open");
                self.notify_sinks();
                self.processor.report(index, Report::Opened, Instant::now());
            }
            Event::Failed(index, failure, cause) => {
                self.chosen = None;
                self.members[index].open = false;
                self.count_failure(index, failure.class);
                self.on_sink_failed(failure, cause);
                self.processor.report(index, Report::Failed(failure), Instant::now());
            }
            Event::Seat(index, view) => {
                self.chosen = None;
                if view.is_present {
                    let member = &self.members[index];
                    self.metrics.begin_sink(member.handle.name(), member.letters);
                }
                let before = self.members[index].seat.replace(view);
                if before.is_some_and(|before| before.generation != view.generation) {
                    self.members[index].open = false;
                    self.processor.report(index, Report::Replaced, Instant::now());
                }
                self.notify_sinks();
            }
            Event::NextHop(index) => {
                self.chosen = None;
                self.on_next_hop_changed(index);
            }
            Event::Settled(index, settlement) => self.settle(index, settlement),
            Event::Written(written) => {
                if let Some(ticket) = self.dead_letter_writes.on_written(&written) {
                    self.leave(&IntervalSet::from(ticket..ticket + 1));
                }
            }
        }
    }

    fn settle(&mut self, index: usize, settlement: Settlement) {
        let Settlement { tickets, outcome } = settlement;
        let member = &mut self.members[index];
        let in_part = matches!(&outcome, Outcome::Refused(letter) if !letter.whole);
        if !in_part {
            member.release(&tickets);
        }
        let label = SinkLabel { sink: member.handle.name().to_string() };
        let outcome = match outcome {
            Outcome::Stored if mutant!("deleted_on_stored") => Outcome::Delivered,
            outcome => outcome,
        };
        let now = Instant::now();
        self.traced_batches.settled(&tickets, &outcome, now);
        match outcome {
            Outcome::Stored => {
                debug!(sink = %label.sink, batches = tickets.count(), "stored");
                let fresh = self.tally.stored(&tickets, now);
                self.count_stored(&label, &fresh);
                self.take.park(&tickets);
                self.on_sink_proved(index);
            }
            Outcome::Delivered => {
                debug!(sink = %label.sink, batches = tickets.count(), "committed");
                self.note_downstream(index, &tickets);
                let fresh = self.tally.committed(&tickets, index, now);
                self.count_stored(&label, &fresh);
                self.leave_when_letters_are_stored(tickets);
                self.on_sink_proved(index);
            }
            Outcome::HeldBack(held) => {
                debug!(sink = %label.sink, bytes = held.bytes, "too large for the next agent");
                self.is_too_large_for(index, &tickets, held);
            }
            Outcome::Again(_) => {
                debug!(sink = %label.sink, batches = tickets.count(), "batches are resent");
                self.dead_letter_writes.returned(&tickets);
                self.take.rollback(&tickets);
                return;
            }
            Outcome::Refused(letter) => {
                let (events, reason) = (letter.events.len() as u64, letter.reason);
                warn!(
                    sink = %label.sink, events, reason, detail = letter.detail,
                    "events can never be delivered; moving them to the dead letters; list them \
                     with `aqueduct dlq list DATA_DIR`",
                );
                self.metrics.sink_refused.get_or_create(&label).inc_by(events);
                self.tally.refused(letter.ticket, events);
                self.dead_letter_writes.begin(member.handle.name(), *letter);
            }
        }
        self.processor.report(index, Report::Proved, Instant::now());
    }
}

#[cfg(test)]
mod tests;
