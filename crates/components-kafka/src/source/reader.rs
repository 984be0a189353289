//! The consumer, and one turn of it on a thread that may block.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peers::limits::Cut;
use pipeline::Env;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::member::{ANSWER_WITHIN, Member};
use super::position::End;

/// How long a turn takes at most while all is well.
const TURN: Duration = Duration::from_millis(100);
/// Batches that are being stored at most.
const IN_FLIGHT_MAX: usize = 2;
/// How long a full channel is waited for before partitions are paused and the group is served.
const HOLD_AFTER: Duration = Duration::from_secs(2);

/// A consumer in its group. Clones are the same one.
#[derive(Clone)]
pub(super) struct Reader(Arc<Inner>);

struct Inner {
    /// None once it is closed.
    consumer: Option<BaseConsumer<Member>>,
    env: Env,
    hold: Mutex<Hold>,
}

/// Since when nothing is read because the channels are full, and whether partitions are paused, and
/// in which generation.
#[derive(Default)]
struct Hold {
    since: Option<Instant>,
    paused: Option<u64>,
}

/// The end of a consumer takes as long as its brokers take.
impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            consumer.context().stop();
            self.env.blocking.run(Box::new(move || drop(consumer)));
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
        let cluster = consumer.client().fetch_cluster_id(ANSWER_WITHIN);
        let cluster = cluster.ok_or_else(|| {
            format!("no broker answered within {ANSWER_WITHIN:?}: look after `brokers`")
        })?;
        consumer.context().joined(cluster);
        let topics: Vec<&str> = options.topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).map_err(|error| format!("cannot subscribe: {error}"))?;
        Ok(Self(Arc::new(Inner { consumer: Some(consumer), env, hold: Mutex::default() })))
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
        while Instant::now() < until && !member.is_stopping() {
            if member.in_flight() >= IN_FLIGHT_MAX {
                self.hold()?;
                continue;
            }
            self.go_on()?;
            match self.consumer().poll(TURN / 10) {
                Some(Ok(message)) => {
                    if member.push(&message, bytes, events) {
                        continue;
                    }
                }
                // Of a fatal error the group is told by the next line; others the client mends.
                Some(Err(error)) => {
                    if let Some((_, text)) = self.consumer().client().fatal_error() {
                        return Err(format!("the client has given up: {text}"));
                    }
                    tracing::debug!(%error, "a consumer goes on after an error");
                }
                None => {}
            }
            member.send_if_due();
        }
        if let Some(failure) = member.failure() {
            return Err(failure);
        }
        if member.take_all_down() && self.consumer().fetch_metadata(None, ANSWER_WITHIN).is_err() {
            return Err("no broker answers".to_owned());
        }
        Ok(())
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

    /// Waits for the channels; where that takes long, serves the group with paused partitions.
    fn hold(&self) -> Result<(), String> {
        let mut hold = self.0.hold.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *hold.since.get_or_insert_with(Instant::now);
        if since.elapsed() < HOLD_AFTER {
            self.member().wait(TURN);
            return Ok(());
        }
        let generation = self.member().generation();
        if hold.paused != Some(generation) {
            let paused = self.consumer().assignment().and_then(|all| self.consumer().pause(&all));
            paused.map_err(|error| format!("partitions cannot be paused: {error}"))?;
            hold.paused = Some(generation);
        }
        let (bytes, events) = self.limits();
        // What was on its way when they were paused is one batch more at most.
        if let Some(Ok(message)) = self.consumer().poll(TURN) {
            self.member().push(&message, bytes, events);
        }
        Ok(())
    }

    fn go_on(&self) -> Result<(), String> {
        let mut hold = self.0.hold.lock().unwrap_or_else(PoisonError::into_inner);
        hold.since = None;
        if hold.paused.take().is_some() {
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
        self.member().settled();
    }

    /// Ends this handle: the last one closes the consumer, on a thread that may block.
    pub(super) fn close(self) {}
}
