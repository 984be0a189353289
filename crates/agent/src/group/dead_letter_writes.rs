//! Letters on their way to the disk, and the batches that wait for them in one group's channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use peers::DeadLettered;
use pipeline::{Classify, Env, ErrorClass, IntervalSet, Letter, Ticket};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::{FailureLog, seconds};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::member::Event;
use crate::dead_letters::{DeadLetters, Sender};

/// With this many bytes of unstored letters, which are in memory, the group takes no new batch.
const WAITING_MAX: u64 = 16 << 20;

/// First and longest pause between two tries to store a letter.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// The letters of one group that are not on disk yet.
pub(super) struct DeadLetterWrites {
    dead_letters: Arc<DeadLetters>,
    env: Env,
    channel: Arc<str>,
    group: Arc<str>,
    context: TaskContext,
    waiting: BTreeMap<Ticket, Waiting>,
    bytes: u64,
}

/// A batch with letters on their way.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    letters: u32,
    /// It leaves its channel when its letters are on disk.
    leaves: bool,
    /// One of its letters can never be stored: it stays in its channel.
    stays: bool,
}

/// The result of a letter.
pub(super) struct Written {
    ticket: Ticket,
    bytes: u64,
    stored: bool,
}

/// The context of the tasks that store letters.
pub(super) struct TaskContext {
    /// Receives the results of letters.
    pub(super) events: mpsc::UnboundedSender<Event>,
    /// Waits for the end of the tasks.
    pub(super) tasks: TaskTracker,
    /// Ends the tasks, even if they are not finished.
    pub(super) end: CancellationToken,
}

impl DeadLetterWrites {
    /// Creates the state without letters.
    pub(super) fn new(
        dead_letters: Arc<DeadLetters>,
        env: Env,
        channel: Arc<str>,
        group: Arc<str>,
        crew: TaskContext,
    ) -> Self {
        let waiting = BTreeMap::new();
        Self { dead_letters, env, channel, group, context: crew, waiting, bytes: 0 }
    }

    /// Sends a letter of `sink` on its way.
    pub(super) fn begin(&mut self, sink: &Arc<str>, letter: Letter) {
        let bytes = letter.events.size().bytes;
        self.bytes += bytes;
        let waiting = self.waiting.entry(letter.ticket).or_default();
        waiting.letters += 1;
        waiting.leaves |= letter.whole;
        let names = (self.channel.clone(), self.group.clone(), sink.clone());
        let (dead_letters, env) = (self.dead_letters.clone(), self.env.clone());
        let (events, end) = (self.context.events.clone(), self.context.end.clone());
        self.context.tasks.spawn(async move {
            let (channel, group, sink) = &names;
            let write = write(&dead_letters, &env, &letter, Sender { channel, group, sink });
            if let Some(stored) = end.run_until_cancelled(write).await {
                // The group listens unless its grace is over.
                let _ =
                    events.send(Event::Written(Written { ticket: letter.ticket, bytes, stored }));
            }
        });
    }

    /// The next agent has reported letters of a batch.
    pub(super) fn reported(&self, letters: DeadLettered) {
        self.dead_letters.reported(&self.channel, &self.group, letters);
    }

    /// Marks tickets as delivered; returns those without unstored letters, which may leave now.
    /// [`DeadLetterWrites::on_written`] returns the others.
    pub(super) fn mark_delivered(&mut self, mut tickets: IntervalSet) -> IntervalSet {
        for run in tickets.clone().runs() {
            for (ticket, waiting) in self.waiting.range_mut(run.clone()) {
                waiting.leaves = true;
                tickets.remove(*ticket);
            }
        }
        tickets
    }

    /// Marks tickets as returned to the channel: the next member settles them.
    pub(super) fn returned(&mut self, tickets: &IntervalSet) {
        for run in tickets.runs() {
            for (_, waiting) in self.waiting.range_mut(run.clone()) {
                waiting.leaves = false;
            }
        }
    }

    /// Handles the end of a letter; returns the batch that may leave its channel because of it.
    pub(super) fn on_written(&mut self, written: &Written) -> Option<Ticket> {
        let Written { ticket, bytes, stored } = *written;
        self.bytes -= bytes;
        let waiting = self.waiting.get_mut(&ticket).expect("a letter has its batch waiting");
        waiting.letters -= 1;
        waiting.stays |= !stored;
        let Waiting { letters, leaves, stays } = *waiting;
        if letters > 0 || stays {
            return None;
        }
        self.waiting.remove(&ticket);
        leaves.then_some(ticket)
    }

    /// Returns `true` if so many letters wait that no new batch should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > WAITING_MAX
    }

    /// Returns `true` if no letter is unstored.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

/// Stores a letter, however often the disk refuses; `false`: it can never be stored.
async fn write(dead_letters: &DeadLetters, env: &Env, letter: &Letter, from: Sender<'_>) -> bool {
    let mut failure_log = FailureLog::default();
    loop {
        let problem = match dead_letters.store(letter, from).await {
            Ok(()) => return true,
            Err(problem) => problem,
        };
        let error = chain(&problem);
        match problem.class() {
            ErrorClass::Poison => {
                error!(
                    channel = from.channel, sink = from.sink, %error,
                    "a batch that can never be delivered is too large for the dead letters, and \
                     stays in its channel; raise `dead_letters.capacity`, and restart the agent",
                );
                return false;
            }
            ErrorClass::Transient
            | ErrorClass::Indeterminate
            | ErrorClass::Blocked
            | ErrorClass::Fatal => {
                let now = Instant::now();
                failure_log.count(now);
                if let Some((failures, lasts)) = failure_log.should_log(now, &error) {
                    warn!(channel = from.channel, %error, failures, lasts_seconds = seconds(lasts),
                        "cannot store a dead letter; its batch waits in the channel; retrying; fix \
                         the cause in `error`");
                }
            }
        }
        let random = env.entropy.next_u64();
        sleep(jittered(RETRY.0, RETRY.1, failure_log.failures(), random)).await;
    }
}
