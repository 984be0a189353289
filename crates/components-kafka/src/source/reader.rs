//! The consumer, and one turn of it on a thread that may block.

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

/// How long a turn takes at most while all is well.
const TURN: Duration = Duration::from_millis(100);
/// Messages that are gathered at a time.
const HANDFUL: usize = 1_000;
/// Batches that are being stored at most.
const IN_FLIGHT_MAX: usize = 2;
/// How long a full channel is waited for before partitions are paused and the group is served.
const HOLD_AFTER: Duration = Duration::from_secs(2);
/// Pause between two looks at the lag, and how long one may take.
const LAG_EVERY: Duration = Duration::from_secs(5);
const LAG_WITHIN: Duration = Duration::from_secs(1);
/// How long the group is being left, with a broker that answers.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A consumer in its group. Clones are the same one.
#[derive(Clone)]
pub(super) struct Reader(Arc<Inner>);

struct Inner {
    /// None once it is closed.
    consumer: Option<BaseConsumer<Member>>,
    env: Env,
    pace: Mutex<Pace>,
    closed: Arc<Notify>,
}

/// Since when nothing is read because the channels are full, and whether partitions are paused, and
/// in which generation; when the lag was looked at.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    paused: Option<u64>,
    measured: Option<Instant>,
}

/// The end of a consumer takes as long as its brokers take.
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
        let consumer: BaseConsumer<Member> = options
            .client
            .create_with_context(member)
            .map_err(|error| format!("the client cannot be made: {error}"))?;
        token::give_first(&consumer, consumer.context().token.as_ref(), ANSWER_WITHIN);
        let cluster = client::reach(consumer.client(), ANSWER_WITHIN).ok();
        let cluster = cluster.and_then(|()| consumer.client().fetch_cluster_id(ANSWER_WITHIN));
        let cluster = cluster.ok_or_else(|| {
            client::hear(&consumer);
            let said = consumer.context().trouble.last();
            format!("no broker answered within {ANSWER_WITHIN:?}: look after `brokers`{said}")
        })?;
        consumer.context().joined(cluster);
        let topics: Vec<&str> = options.topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).map_err(|error| format!("cannot subscribe: {error}"))?;
        let (pace, closed) = (Mutex::default(), Arc::new(Notify::new()));
        Ok(Self(Arc::new(Inner { consumer: Some(consumer), env, pace, closed })))
    }

    fn consumer(&self) -> &BaseConsumer<Member> {
        self.0.consumer.as_ref().expect("it is taken when the last clone goes")
    }

    pub(super) fn member(&self) -> &Member {
        self.consumer().context()
    }

    /// Reads for a while. Blocks, for as long as a rebalance takes at most.
    ///
    /// # Errors
    /// The source has to begin anew.
    pub(super) fn turn(&self) -> Result<(), String> {
        let (member, until) = (self.member(), Instant::now() + TURN);
        let (bytes, events) = self.limits();
        self.measure();
        while Instant::now() < until && !member.is_stopping() {
            if member.in_flight() >= IN_FLIGHT_MAX {
                self.hold()?;
                continue;
            }
            self.go_on()?;
            member.push(&self.handful(bytes, TURN / 10)?, bytes, events);
            member.send_if_due();
        }
        if let Some(failure) = member.failure() {
            return Err(failure);
        }
        if member.take_all_down() && client::reach(self.consumer().client(), ANSWER_WITHIN).is_err()
        {
            return Err("no broker answers".to_owned());
        }
        Ok(())
    }

    /// The messages that are there, up to this many bytes and one more; waits for the first one.
    ///
    /// Partitions may be given back while it waits. What it has of them by then is not gathered:
    /// the next member reads it.
    fn handful(&self, bytes: usize, wait: Duration) -> Result<Vec<BorrowedMessage<'_>>, String> {
        let (mut messages, mut size, mut wait) = (Vec::new(), 0, wait);
        while messages.len() < HANDFUL && size < bytes {
            match self.consumer().poll(wait) {
                Some(Ok(message)) => {
                    size += message.payload_len();
                    messages.push(message);
                }
                // Of a fatal error the group hears by the next line; others the client mends.
                Some(Err(error)) => {
                    if let Some((_, text)) = self.consumer().client().fatal_error() {
                        return Err(format!("the client has given up: {text}"));
                    }
                    tracing::debug!(%error, "a consumer goes on after an error");
                }
                None => break,
            }
            wait = Duration::ZERO;
        }
        Ok(messages)
    }

    /// The most of a batch: as set, and as the next agents take.
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

    /// Waits for the channels; where that takes long, serves the group with paused partitions.
    fn hold(&self) -> Result<(), String> {
        let mut pace = self.0.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *pace.since.get_or_insert_with(Instant::now);
        if since.elapsed() < HOLD_AFTER {
            self.member().wait(TURN);
            return Ok(());
        }
        let generation = self.member().generation();
        if pace.paused != Some(generation) {
            let paused = self.consumer().assignment().and_then(|all| self.consumer().pause(&all));
            paused.map_err(|error| format!("partitions cannot be paused: {error}"))?;
            pace.paused = Some(generation);
        }
        let (bytes, events) = self.limits();
        // What was on its way when they were paused is one batch more at most.
        self.member().push(&self.handful(bytes, TURN)?, bytes, events);
        Ok(())
    }

    fn go_on(&self) -> Result<(), String> {
        let mut pace = self.0.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.since = None;
        if pace.paused.take().is_some() {
            let resumed = self.consumer().assignment().and_then(|all| self.consumer().resume(&all));
            resumed.map_err(|error| format!("partitions cannot be resumed: {error}"))?;
        }
        Ok(())
    }

    /// What ends there is stored: the offsets of the group follow.
    pub(super) fn stored(&self, ends: &[End]) {
        let mut list = TopicPartitionList::new();
        for End { partition, position, .. } in ends {
            let at = Offset::Offset(position.next as i64);
            // An offset of the client's own type is a valid one.
            let _ = list.add_partition_offset(&partition.topic, partition.number, at);
        }
        if let Err(error) = self.consumer().store_offsets(&list) {
            // The partition is another member's now.
            tracing::debug!(%error, "offsets are not noted");
        }
        self.member().settled(ends);
    }

    /// Leaves the group, and waits until that is done; for so long at most.
    pub(super) async fn close(self) {
        let closed = self.0.closed.clone();
        drop(self);
        if tokio::time::timeout(CLOSE_WITHIN, closed.notified()).await.is_err() {
            tracing::warn!(
                "a consumer group is not left within {CLOSE_WITHIN:?}: its partitions are free \
                 when the session of this member has timed out",
            );
        }
    }
}
