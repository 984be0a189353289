//! One sink of a group, in its own task: opens it, feeds it, reports its responses, reopens it.
//!
//! ```text
//!   CLOSED ──open──► OPEN ──write failed, or it reported `Again` after a failure──► CLOSED
//!      └── pause, doubling from 100 ms, jittered ◄─────────────────────────────────────┘
//! ```
//!
//! A discovered member has a seat, and reports each change of it to the group. Each generation of
//! the seat is another member: it is reopened, and waits while the seat is empty.
//!
//! While it is closed its settlements still count: batches that the next hop had stored before may
//! be delivered, or offered again after the resend timeout.

mod handle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use peers::{NextHop, Seat, discovery};
use pipeline::{
    DedupeScope, Env, Failure, IntervalSet, Outcome, SeatView, Settlement, Sink, SinkError, Taken,
};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::{FailureLog, millis, seconds};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::dead_letter_writes::Written;
use super::failover;
use super::tally::Sent;
use crate::health::ComponentHealth;
pub(super) use handle::Handle;

/// Number of batches that wait for a sink, so that it finds the next one ready.
const QUEUE_BATCHES: usize = 2;

/// First pause between two tries to open a sink. The longest is the group's.
const OPEN_RETRY: Duration = Duration::from_millis(100);

/// A report of a member to its group.
pub(super) enum Event {
    /// It can be used.
    Opened(usize),
    /// It failed, for this reason, and will be reopened.
    Failed(usize, Failure, Arc<str>),
    /// The state that the next agent reports has changed.
    NextHop(usize),
    /// Its seat has changed.
    Seat(usize, SeatView),
    /// The result of its batches.
    Settled(usize, Settlement),
    /// The end of a letter of some batch.
    Written(Written),
}

/// The state of the member task in addition to its sink.
pub(super) struct Shared {
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) env: Env,
    /// The longest pause between two tries to open the sink.
    pub(super) longest_pause: Duration,
    pub(super) sent: Sent,
    /// Shows whether the sink works.
    pub(super) health: ComponentHealth,
}

impl Shared {
    /// Handles a change of the seat; returns `true` if it has a new generation.
    fn reseat(&self, seat: &mut Option<(Seat, SeatView)>, view: SeatView) -> bool {
        let Some((_, known)) = seat else { return false };
        let is_over = known.generation != view.generation;
        if is_over || known.is_present != view.is_present {
            self.health.replaced(view.is_present);
        }
        *known = view;
        self.send_event(Event::Seat(self.index, view));
        is_over
    }

    /// Sends a batch that was not accepted back to the group, without a failure.
    fn return_batch(&self, taken: &Taken) {
        let tickets = IntervalSet::from(taken.ticket..taken.ticket + 1);
        let settlement = Settlement { tickets, outcome: Outcome::Again(None) };
        self.send_event(Event::Settled(self.index, settlement));
    }

    fn send_event(&self, event: Event) {
        // The group listens until all its members have ended, but for the time its grace is over.
        let _ = self.events.send(event);
    }
}

/// Starts a member. At `stop` it flushes its sink; at `end` it closes it and returns.
pub(super) fn spawn(
    sink: Box<dyn Sink>,
    shared: Shared,
    stop: CancellationToken,
    end: CancellationToken,
    tasks: &TaskTracker,
) -> Handle {
    let (queue, batches) = mpsc::channel(QUEUE_BATCHES);
    let unacknowledged_bytes = Arc::new(AtomicU64::new(0));
    let name = shared.name.clone();
    let gauge = unacknowledged_bytes.clone();
    let proves = sink.dedupe_scope() == DedupeScope::NextAgent;
    let extensions = sink.extensions();
    let seat = extensions.find::<Seat>().map(|seat| (seat.clone(), seat.view()));
    let view = seat.as_ref().map(|(_, view)| *view);
    let next_hop = extensions.find::<NextHop>();
    if let Some(hop) = next_hop.clone() {
        tasks.spawn(failover::watch(hop, shared.index, shared.events.clone(), end.clone()));
    }
    let health = shared.health.clone();
    let flush = Arc::new(Notify::new());
    let member = MemberTask {
        sink,
        seat,
        shared,
        batches,
        flush: flush.clone(),
        gauge,
        failure_log: FailureLog::default(),
        flushed: false,
    };
    tasks.spawn(health.watch(member.run(stop, end)));
    Handle { name, queue, flush, unacknowledged_bytes, proves, seat: view, next_hop }
}

/// The reason why a sink gets no more batches.
enum End {
    Failed(SinkError),
    /// The member at the seat has left.
    Left,
}

struct MemberTask {
    sink: Box<dyn Sink>,
    /// Its seat, as the group knows it.
    seat: Option<(Seat, SeatView)>,
    shared: Shared,
    batches: mpsc::Receiver<Taken>,
    /// No more batches are expected soon.
    flush: Arc<Notify>,
    gauge: Arc<AtomicU64>,
    /// Failures since the sink last stored or delivered something.
    failure_log: FailureLog,
    /// The sink was flushed because the group stops.
    flushed: bool,
}

/// The same failure, for another reader.
fn clone_error(error: &SinkError) -> SinkError {
    let SinkError { class, retry_after, .. } = *error;
    SinkError { class, retry_after, source: chain(error).into() }
}

impl MemberTask {
    async fn run(mut self, stop: CancellationToken, end: CancellationToken) {
        end.run_until_cancelled(self.serve(&stop)).await;
        self.sink.close().await;
    }

    async fn serve(&mut self, stop: &CancellationToken) {
        loop {
            let end = match self.open().await {
                Ok(()) => {
                    self.shared.health.opened();
                    self.shared.send_event(Event::Opened(self.shared.index));
                    self.run_open(stop).await
                }
                Err(error) => End::Failed(error),
            };
            let is_over = match end {
                End::Failed(error) => {
                    let pause = self.failed(&error);
                    self.pause(pause).await
                }
                End::Left => true,
            };
            if is_over {
                self.failure_log = FailureLog::default();
                self.gauge.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Opens the sink. Waiting batches were sent before the group learned that it is closed.
    async fn open(&mut self) -> Result<(), SinkError> {
        let Self { sink, seat, shared, batches, .. } = self;
        let mut opening = sink.open();
        loop {
            tokio::select! {
                biased;
                view = discovery::changed(seat.as_ref()) => {
                    shared.reseat(seat, view);
                }
                opened = &mut opening => return opened,
                Some(taken) = batches.recv() => shared.return_batch(&taken),
            }
        }
    }

    /// Feeds the open sink until it fails, or its member has left.
    async fn run_open(&mut self, stop: &CancellationToken) -> End {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.flushed => {
                    self.flushed = true;
                    self.return_queue();
                    self.sink.flush();
                }
                view = discovery::changed(self.seat.as_ref()) => {
                    if self.shared.reseat(&mut self.seat, view) {
                        self.return_queue();
                        return End::Left;
                    }
                }
                settlement = self.sink.settled() => {
                    if let Some(error) = self.forward(settlement) {
                        return End::Failed(error);
                    }
                }
                Some(taken) = self.batches.recv() => {
                    let ticket = taken.ticket;
                    let (events, bytes) = (taken.batch.len() as u64, taken.batch.body_bytes());
                    self.shared.sent.tap.pass_at(self.shared.index, &taken.batch);
                    if let Err(error) = self.sink.write(taken).await {
                        let outcome = Outcome::Again(Some(clone_error(&error)));
                        let tickets = IntervalSet::from(ticket..ticket + 1);
                        self.settled(Settlement { tickets, outcome });
                        return End::Failed(error);
                    }
                    debug!(sink = %self.shared.name, ticket, events, bytes, "sent");
                    self.shared.sent.events.inc_by(events);
                    self.shared.sent.bytes.inc_by(bytes);
                }
                () = self.flush.notified() => self.sink.flush(),
            }
            self.gauge.store(self.sink.unacknowledged_bytes(), Ordering::Relaxed);
        }
    }

    /// Passes a settlement on to the group; returns the failure in it, if any.
    fn forward(&mut self, settlement: Settlement) -> Option<SinkError> {
        let failure = match &settlement.outcome {
            Outcome::Again(Some(error)) => Some(clone_error(error)),
            Outcome::Again(None) => None,
            Outcome::Stored | Outcome::Delivered | Outcome::HeldBack(_) | Outcome::Refused(_) => {
                if let Some((failures, lasted)) = self.failure_log.over(Instant::now()) {
                    self.shared.health.worked();
                    let lasted_seconds = seconds(lasted);
                    info!(sink = %self.shared.name, failures, lasted_seconds, "sink works again");
                }
                None
            }
        };
        self.settled(settlement);
        failure
    }

    fn settled(&self, settlement: Settlement) {
        self.shared.send_event(Event::Settled(self.shared.index, settlement));
    }

    /// Sends the batches that wait for the sink back to the group.
    fn return_queue(&mut self) {
        let mut tickets = IntervalSet::EMPTY;
        while let Ok(taken) = self.batches.try_recv() {
            tickets.insert(taken.ticket);
        }
        if !tickets.is_empty() {
            self.settled(Settlement { tickets, outcome: Outcome::Again(None) });
        }
    }

    /// Logs the failure if due; returns the pause before the next attempt.
    fn failed(&mut self, error: &SinkError) -> Duration {
        let (now, text) = (Instant::now(), chain(error));
        self.failure_log.count(now);
        let limit = self.shared.longest_pause;
        let random = self.shared.env.entropy.next_u64();
        let pause = jittered(OPEN_RETRY.min(limit), limit, self.failure_log.failures(), random);
        let pause = error.retry_after.map_or(pause, |busy| busy.min(limit));
        // A member that is leaving is expected to disappear at some moment.
        let is_leaving = self.seat.as_ref().is_some_and(|(_, seat)| !seat.is_present);
        if !is_leaving && let Some((failures, lasts)) = self.failure_log.should_log(now, &text) {
            let (sink, class) = (&self.shared.name, error.class);
            warn!(
                %sink, %class, error = %text, failures, lasts_seconds = seconds(lasts),
                pause_ms = millis(pause), pause_max_ms = millis(limit),
                "sink failed; its events wait in the channel; retrying; fix the cause in `error`",
            );
        }
        if !is_leaving {
            self.shared.health.failed(&text, error.class, pause);
        }
        let SinkError { class, retry_after, .. } = *error;
        self.shared.send_event(Event::Failed(
            self.shared.index,
            Failure { class, retry_after },
            text.into(),
        ));
        self.return_queue();
        pause
    }

    /// Waits before the next attempt to open, and passes on settlements in the meantime; `true` if
    /// the occupant of the seat has left.
    async fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return false,
                view = discovery::changed(self.seat.as_ref()) => {
                    if self.shared.reseat(&mut self.seat, view) {
                        return true;
                    }
                }
                settlement = self.sink.settled() => {
                    // It works again automatically: a full peer has room, or a lost one has
                    // returned.
                    if self.forward(settlement).is_none() && self.failure_log.failures() == 0 {
                        return false;
                    }
                }
                // Sent before the group learned of the failure.
                Some(taken) = self.batches.recv() => self.shared.return_batch(&taken),
            }
        }
    }
}
