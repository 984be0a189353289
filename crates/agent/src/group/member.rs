//! One sink of a group, in a task of its own: open it, feed it, pass its word on, open it again.
//!
//! ```text
//!   CLOSED ──open──► OPEN ──write failed, or it said `Again` because of a failure──► CLOSED
//!      └── pause, doubling from 100 ms to 30 s, jittered ◄─────────────────────────────┘
//! ```
//!
//! While it is closed its settlements still count: what the next hop had stored before may be
//! delivered, or offered again when it stays away too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipeline::backoff::jittered;
use pipeline::{Env, Failure, IntervalSet, Outcome, Reach, Settlement, Sink, SinkError, Taken};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::burial::Buried;
use crate::chain;

/// Batches that wait in front of a sink, so that it finds the next one ready.
const QUEUE_BATCHES: usize = 2;

/// First and longest pause between two tries to open a sink.
const OPEN_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// What a member tells its group.
pub(super) enum Event {
    /// It can be used.
    Opened(usize),
    /// It failed and will be opened again.
    Failed(usize, Failure),
    /// What became of batches in its hand.
    Settled(usize, Settlement),
    /// A letter of some batch has come to its end.
    Buried(Buried),
}

/// The group's end of a member.
pub(super) struct Handle {
    name: Arc<str>,
    queue: mpsc::Sender<Taken>,
    unacknowledged_bytes: Arc<AtomicU64>,
    proves: bool,
}

impl Handle {
    /// Name of the sink.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the sink says soon what it has stored.
    pub(super) fn proves(&self) -> bool {
        self.proves
    }

    /// Whether a batch would be taken at once.
    pub(super) fn has_room(&self) -> bool {
        self.queue.capacity() > 0
    }

    /// Bytes that the sink has taken over and not stored anywhere.
    pub(super) fn unacknowledged_bytes(&self) -> u64 {
        self.unacknowledged_bytes.load(Ordering::Relaxed)
    }

    /// Waits for room; `false` when the member has ended. Cancel safe.
    pub(super) async fn room(&self) -> bool {
        self.queue.reserve().await.is_ok()
    }

    /// Hands a batch over; there is room, as [`Handle::room`] said.
    pub(super) fn send(&self, taken: Taken) {
        // A member ends only after its group has stopped sending.
        self.queue.try_send(taken).expect("the group is the only one that fills the queue");
    }
}

/// What the member task knows beside its sink.
pub(super) struct Shared {
    index: usize,
    name: Arc<str>,
    events: mpsc::UnboundedSender<Event>,
    env: Env,
}

impl Shared {
    /// For the member at `index`.
    pub(super) fn new(
        index: usize,
        name: Arc<str>,
        events: mpsc::UnboundedSender<Event>,
        env: Env,
    ) -> Self {
        Self { index, name, events, env }
    }

    fn tell(&self, event: Event) {
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
    let proves = sink.reach() == Reach::NextAgent;
    let member =
        MemberTask { sink, shared, batches, gauge, failures: 0, busy_for: None, flushed: false };
    tasks.spawn(member.run(stop, end));
    Handle { name, queue, unacknowledged_bytes, proves }
}

struct MemberTask {
    sink: Box<dyn Sink>,
    shared: Shared,
    batches: mpsc::Receiver<Taken>,
    gauge: Arc<AtomicU64>,
    /// Failures since the sink last stored or delivered something.
    failures: u32,
    /// How long it asked to be left alone when it failed last.
    busy_for: Option<Duration>,
    flushed: bool,
}

/// The same failure, for somebody else.
fn told(error: &SinkError) -> SinkError {
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
            match self.sink.open().await {
                Ok(()) => {
                    self.shared.tell(Event::Opened(self.shared.index));
                    let error = self.feed(stop).await;
                    self.failed(&error);
                }
                Err(error) => self.failed(&error),
            }
            self.pause().await;
        }
    }

    /// Feeds the open sink until it fails.
    async fn feed(&mut self, stop: &CancellationToken) -> SinkError {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.flushed => {
                    self.flushed = true;
                    self.return_queue();
                    self.sink.flush();
                }
                settlement = self.sink.settled() => {
                    if let Some(error) = self.pass_on(settlement) {
                        return error;
                    }
                }
                Some(taken) = self.batches.recv() => {
                    let ticket = taken.ticket;
                    if let Err(error) = self.sink.write(taken).await {
                        let outcome = Outcome::Again(Some(told(&error)));
                        let tickets = IntervalSet::from(ticket..ticket + 1);
                        self.settled(Settlement { tickets, outcome });
                        return error;
                    }
                }
            }
            self.gauge.store(self.sink.unacknowledged_bytes(), Ordering::Relaxed);
        }
    }

    /// Passes a settlement on to the group; the failure that it speaks of, if it does.
    fn pass_on(&mut self, settlement: Settlement) -> Option<SinkError> {
        let failure = match &settlement.outcome {
            Outcome::Again(Some(error)) => Some(told(error)),
            Outcome::Again(None) => None,
            Outcome::Stored | Outcome::Delivered | Outcome::Refused(_) => {
                if std::mem::take(&mut self.failures) > 0 {
                    info!(sink = %self.shared.name, "sink works again");
                }
                None
            }
        };
        self.settled(settlement);
        failure
    }

    fn settled(&self, settlement: Settlement) {
        self.shared.tell(Event::Settled(self.shared.index, settlement));
    }

    /// Gives back what waits in front of the sink.
    fn return_queue(&mut self) {
        let mut tickets = IntervalSet::EMPTY;
        while let Ok(taken) = self.batches.try_recv() {
            tickets.insert(taken.ticket);
        }
        if !tickets.is_empty() {
            self.settled(Settlement { tickets, outcome: Outcome::Again(None) });
        }
    }

    fn failed(&mut self, error: &SinkError) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            let (sink, class) = (&self.shared.name, error.class);
            warn!(%sink, %class, error = %chain(error), "sink failed; its events wait in the channel");
        }
        let SinkError { class, retry_after, .. } = *error;
        self.busy_for = retry_after;
        self.shared.tell(Event::Failed(self.shared.index, Failure { class, retry_after }));
        self.return_queue();
    }

    /// Waits before the next try to open, and passes on what is settled meanwhile.
    async fn pause(&mut self) {
        let (base, limit) = OPEN_RETRY;
        let random = self.shared.env.entropy.next_u64();
        let pause = jittered(base, limit, self.failures, random);
        let until = Instant::now() + self.busy_for.map_or(pause, |busy| busy.min(limit));
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                settlement = self.sink.settled() => {
                    // It works again by itself: a full peer has room, a lost one is back.
                    if self.pass_on(settlement).is_none() && self.failures == 0 {
                        return;
                    }
                }
                // Sent before the group had heard of the failure.
                Some(taken) = self.batches.recv() => {
                    let tickets = IntervalSet::from(taken.ticket..taken.ticket + 1);
                    self.settled(Settlement { tickets, outcome: Outcome::Again(None) });
                }
            }
        }
    }
}
