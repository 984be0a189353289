//! The consumer, and its turns on a blocking thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peers::limits::Cut;
use pipeline::Env;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::member::{ANSWER_WITHIN, Member};
use super::position::End;
use crate::client;
use crate::token;

/// Normal maximum duration of a turn.
const TURN: Duration = Duration::from_millis(100);
/// Messages to gather at a time.
const POLL_MESSAGES: usize = 1_000;
/// Maximum number of batches being stored.
const IN_FLIGHT_MAX: usize = 2;
/// How long to wait for a full channel before pausing the partitions.
const PAUSE_AFTER: Duration = Duration::from_secs(2);
/// Interval of lag measurements, and their timeout.
const LAG_EVERY: Duration = Duration::from_secs(5);
const LAG_WITHIN: Duration = Duration::from_secs(1);
/// Timeout for leaving the group.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A consumer in its group. Clones share it.
#[derive(Clone)]
pub(super) struct Reader(Arc<Inner>);

struct Inner {
    /// `None` after it is closed.
    consumer: Option<BaseConsumer<Member>>,
    env: Env,
    pace: Mutex<Pace>,
    closed: Arc<Notify>,
}

/// Since when reading is blocked by full channels; whether and in which generation partitions are
/// paused; when the lag was measured.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    paused: Option<u64>,
    measured: Option<Instant>,
}

/// Closing a consumer takes as long as its brokers take.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.context().stop();
            let closed = self.closed.clone();
            self.env.blocking.run(Box::new(move || {
                drop(consumer);
                closed.notify_one();
            }));
        }
    }
}

impl Reader {
    /// Joins the group. Blocks.
    pub(super) fn open(member: Member, env: Env) -> Result<Self, String> {
        let options = member.options.clone();
        let consumer: BaseConsumer<Member> =
            options.client.create_with_context(member).map_err(|error| {
                format!("cannot create the Kafka client: check `properties`: {error}")
            })?;
        token::poll_until_token(&consumer, consumer.context().token.as_ref(), ANSWER_WITHIN);
        let cluster = client::reach(consumer.client(), ANSWER_WITHIN).ok();
        let cluster = cluster.and_then(|()| consumer.client().fetch_cluster_id(ANSWER_WITHIN));
        let cluster = cluster.ok_or_else(|| {
            client::poll_events(&consumer);
            let said = consumer.context().broker_failure.last();
            format!(
                "no broker answered within {ANSWER_WITHIN:?}: check `brokers` and the \
                 network{said}"
            )
        })?;
        consumer.context().joined(cluster);
        let topics: Vec<&str> = options.topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).map_err(|error| {
            format!("cannot subscribe to `topics`: {error}; correct the names and patterns")
        })?;
        let (pace, closed) = (Mutex::default(), Arc::new(Notify::new()));
        Ok(Self(Arc::new(Inner { consumer: Some(consumer), env, pace, closed })))
    }

    fn consumer(&self) -> &BaseConsumer<Member> {
        self.0.consumer.as_ref().expect("it is taken when the last clone goes")
    }

    pub(super) fn member(&self) -> &Member {
        self.consumer().context()
    }

    /// Reads for a while. Blocks for at most the duration of a rebalance.
    ///
    /// # Errors
    /// The source must restart.
    pub(super) fn turn(&self) -> Result<(), String> {
        let (member, until) = (self.member(), Instant::now() + TURN);
        let (bytes, events) = self.limits();
        self.measure();
        while Instant::now() < until && !member.is_stopping() {
            if member.in_flight() >= IN_FLIGHT_MAX {
                self.pause_if_full()?;
                continue;
            }
            self.resume()?;
            member.push(&self.poll_batch(bytes, TURN / 10)?, bytes, events);
            member.send_if_due();
        }
        if let Some(failure) = member.failure() {
            return Err(failure);
        }
        if member.take_all_down() && client::reach(self.consumer().client(), ANSWER_WITHIN).is_err()
        {
            return Err("no broker answers: check `brokers` and the network".to_owned());
        }
        Ok(())
    }

    /// Returns available messages of up to this size and one more; waits for the first one.
    ///
    /// Partitions may be revoked during the wait. Their messages are then not gathered; the next
    /// member reads them.
    fn poll_batch(&self, bytes: usize, wait: Duration) -> Result<Vec<BorrowedMessage<'_>>, String> {
        let (mut messages, mut size, mut wait) = (Vec::new(), 0, wait);
        while messages.len() < POLL_MESSAGES && size < bytes {
            match self.consumer().poll(wait) {
                Some(Ok(message)) => {
                    size += message.payload_len();
                    messages.push(message);
                }
                // The next line handles fatal errors; the client recovers from others.
                Some(Err(error)) => {
                    if let Some((_, text)) = self.consumer().client().fatal_error() {
                        return Err(format!(
                            "the Kafka client failed permanently: {text}; restarting it; check the \
                             brokers and `properties`"
                        ));
                    }
                    tracing::debug!(%error, "the consumer continues after an error");
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        Ok(messages)
    }

    /// Returns the batch limits: the settings, or lower limits of downstream agents.
    fn limits(&self) -> (usize, usize) {
        let (member, smaller) = (self.member(), |set: usize, most: u64| {
            set.min(usize::try_from(most).unwrap_or(usize::MAX))
        });
        let set = (member.options.batch_bytes, member.options.batch_events);
        let Some(cut) = member.intake().batch_bytes_max().map(Cut::within) else { return set };
        (smaller(set.0, cut.body_bytes), smaller(set.1, cut.events))
    }

    fn measure(&self) {
        let mut pace = self.0.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.measured.is_none_or(|last| last.elapsed() >= LAG_EVERY) {
            pace.measured = Some(Instant::now());
            self.member().measure(self.consumer(), LAG_WITHIN);
        }
    }

    /// Waits for the channels. During longer waits, polls with paused partitions to stay in the
    /// group.
    fn pause_if_full(&self) -> Result<(), String> {
        let mut pace = self.0.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *pace.since.get_or_insert_with(Instant::now);
        if since.elapsed() < PAUSE_AFTER {
            self.member().wait(TURN);
            return Ok(());
        }
        let generation = self.member().generation();
        if pace.paused != Some(generation) {
            let paused = self.consumer().assignment().and_then(|all| self.consumer().pause(&all));
            paused.map_err(|error| {
                format!(
                    "cannot pause partitions: {error}; restarting the Kafka client; if this \
                     repeats, check the brokers"
                )
            })?;
            pace.paused = Some(generation);
        }
        let (bytes, events) = self.limits();
        // Messages prefetched before the pause form at most one more batch.
        self.member().push(&self.poll_batch(bytes, TURN)?, bytes, events);
        Ok(())
    }

    fn resume(&self) -> Result<(), String> {
        let mut pace = self.0.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.since = None;
        if pace.paused.take().is_some() {
            let resumed = self.consumer().assignment().and_then(|all| self.consumer().resume(&all));
            resumed.map_err(|error| {
                format!(
                    "cannot resume partitions: {error}; restarting the Kafka client; if this \
                     repeats, check the brokers"
                )
            })?;
        }
        Ok(())
    }

    /// Commits the group's offsets for a stored piece.
    pub(super) fn stored(&self, ends: &[End]) {
        let mut list = TopicPartitionList::new();
        for End { partition, position, .. } in ends {
            let at = Offset::Offset(position.next as i64);
            // The client's own offset type is always valid.
            let _ = list.add_partition_offset(&partition.topic, partition.number, at);
        }
        if let Err(error) = self.consumer().store_offsets(&list) {
            // The partition has moved to another member.
            tracing::debug!(%error, "cannot note offsets for the next commit");
        }
        self.member().settled(ends);
    }

    /// Leaves the group, and waits for completion, with a timeout.
    pub(super) async fn close(self) {
        let closed = self.0.closed.clone();
        drop(self);
        if tokio::time::timeout(CLOSE_WITHIN, closed.notified()).await.is_err() {
            tracing::warn!(
                "cannot leave the consumer group within {CLOSE_WITHIN:?}; the group reassigns the \
                 partitions when the session of this member times out; no action needed",
            );
        }
    }
}
