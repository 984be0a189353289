//! The group member: its partitions, its batch in progress, and its handling of rebalances.
//!
//! The client calls back on the thread that polls it, so a rebalance never sees a partially added
//! message. Before a partition moves to another member, the events read from it are stored and its
//! offset is committed, or the wait for that times out.

mod assigned;
mod calls;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use pipeline::{Batch, PositionIntake, SourcePosition};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::config::{Options, Start};
use super::gather::Gather;
use super::position::{self, End, Partition};
use crate::client::BrokerFailure;
use crate::token::Tokens;
use assigned::{Assigned, Assignment};

/// Timeout of a broker request.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A batch for the channels.
pub(super) struct Piece {
    pub(super) batch: Batch,
    /// The channels that lack it; `None` for all.
    pub(super) targets: Option<Vec<usize>>,
    pub(super) ends: Vec<End>,
}

/// The client's callbacks, and the state shared with the turns.
pub(super) struct Member {
    name: Arc<str>,
    pub(super) options: Arc<Options>,
    /// Tokens of this client.
    pub(super) token: Option<Tokens>,
    pub(super) broker_failure: BrokerFailure,
    intake: Arc<dyn PositionIntake>,
    /// Set when a broker has answered.
    cluster: OnceLock<String>,
    state: Mutex<State>,
    /// Signals that a piece is stored, or that the source stops.
    stored: Condvar,
    idle: Notify,
    pieces: mpsc::UnboundedSender<Piece>,
}

#[derive(Default)]
struct State {
    assigned: Assignment,
    gather: Gather,
    /// The channels that lack the batch in progress; `None` for all.
    targets: Option<Vec<usize>>,
    /// When its first message arrived.
    since: Option<Instant>,
    in_flight: usize,
    is_stopping: bool,
    /// Why the source must restart.
    failure: Option<String>,
    all_down: bool,
    /// Incremented with each assignment.
    generation: u64,
}

impl Member {
    pub(super) fn new(
        name: Arc<str>,
        options: Arc<Options>,
        intake: Arc<dyn PositionIntake>,
        pieces: mpsc::UnboundedSender<Piece>,
    ) -> Self {
        let (state, stored, idle) = (Mutex::default(), Condvar::new(), Notify::new());
        let cluster = OnceLock::new();
        let token = options.token.as_ref().map(Tokens::for_another_client);
        let trouble = BrokerFailure::default();
        Self {
            name,
            options,
            token,
            broker_failure: trouble,
            intake,
            cluster,
            state,
            stored,
            idle,
            pieces,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn joined(&self, cluster: String) {
        // Set only once per consumer.
        let _ = self.cluster.set(cluster);
    }

    pub(super) fn intake(&self) -> &dyn PositionIntake {
        &*self.intake
    }

    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state().is_stopping
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.state().failure.take()
    }

    /// Returns whether the client reported, since the last call, that no broker is reachable.
    pub(super) fn take_all_down(&self) -> bool {
        std::mem::take(&mut self.state().all_down)
    }

    /// Ends all waits.
    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
        self.stored.notify_all();
    }

    /// Waits until nothing is being stored.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Waits until a piece is stored, with a timeout.
    pub(super) fn wait(&self, limit: Duration) {
        let state = self.state();
        if state.in_flight > 0 && !state.is_stopping {
            // The caller checks the state in any case.
            drop(self.stored.wait_timeout(state, limit));
        }
    }

    /// Stops storing: pieces in flight will be read again.
    pub(super) fn stop_storing(&self) {
        self.state().in_flight = 0;
    }

    /// Records a stored piece with these end positions.
    pub(super) fn settled(&self, ends: &[End]) {
        let mut state = self.state();
        for End { partition, position, .. } in ends {
            if let Some(assigned) = state.assigned.get_mut(&partition.topic, partition.number) {
                assigned.stored = assigned.stored.max(position.next);
            }
        }
        state.in_flight -= 1;
        drop(state);
        self.stored.notify_all();
        self.idle.notify_waiters();
    }

    /// Adds messages in order, with these size limits of a batch.
    pub(super) fn push(&self, messages: &[BorrowedMessage<'_>], bytes: usize, events: usize) {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut no_events = 0;
        for message in messages {
            let (topic, number) = (message.topic(), message.partition());
            // The message belongs to a revoked partition.
            let Some(assigned) = state.assigned.get_mut(topic, number) else { continue };
            let offset = message.offset() as u64;
            let Some(targets) = assigned.lacking(offset) else { continue };
            let gathered = state.gather.len();
            let is_over = state.gather.bytes() + message.payload_len() > bytes;
            if gathered > 0 && (is_over || gathered >= events || state.targets != targets) {
                self.send(state);
            }
            let Some(assigned) = state.assigned.get_mut(topic, number) else { continue };
            assigned.gathered(offset);
            state.targets = targets;
            state.since.get_or_insert_with(Instant::now);
            if !state.gather.push(message, &self.options) {
                no_events += 1;
            }
        }
        if state.gather.len() >= events || state.gather.bytes() >= bytes {
            self.send(state);
        }
        if no_events > 0 {
            self.count("not_flume_event", no_events);
        }
    }

    /// Sends the batch in progress if it has waited long enough.
    pub(super) fn send_if_due(&self) {
        let mut state = self.state();
        if state.since.is_some_and(|since| since.elapsed() >= self.options.batch_wait) {
            self.send(&mut state);
        }
    }

    fn send(&self, state: &mut State) {
        if state.gather.len() == 0 {
            return;
        }
        let mut batch = state.gather.finish();
        let ends = state.assigned.take_ends();
        for end in &ends {
            batch.envelope.positions.push(SourcePosition {
                source: self.name.clone(),
                key: end.key.clone(),
                value: Some(end.position.encode()),
                after: None,
            });
        }
        let targets = state.targets.take();
        state.since = None;
        // Without a receiver the source has ended; events that are not stored will be read again.
        if self.pieces.send(Piece { batch, targets, ends }).is_ok() {
            state.in_flight += 1;
        }
    }

    pub(super) fn count(&self, reason: &'static str, times: u64) {
        self.options.metrics.count_anomaly(&self.name, reason, times);
    }

    /// Asks the brokers how many messages of its partitions are not stored yet.
    pub(super) fn measure(&self, consumer: &BaseConsumer<Self>, limit: Duration) {
        let list = self.state().assigned.list(Offset::End);
        if list.count() == 0 {
            self.options.lag.set(0.0);
            return;
        }
        match consumer.offsets_for_times(list, limit) {
            Ok(ends) => {
                let lag: u64 = self.state().assigned.lag(&ends);
                self.options.lag.set(lag as f64);
            }
            Err(error) => tracing::debug!(source = %self.name, %error, "cannot measure the lag"),
        }
    }

    /// Assigns partitions, each at its position.
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        given: &TopicPartitionList,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        if given.count() == 0 {
            return Ok(list);
        }
        let committed = consumer.committed_offsets(given.clone(), ANSWER_WITHIN)?;
        let bounds = |at: Offset| -> KafkaResult<TopicPartitionList> {
            let mut all = given.clone();
            all.set_all_offsets(at)?;
            consumer.offsets_for_times(all, ANSWER_WITHIN)
        };
        let (first, end) = (bounds(Offset::Beginning)?, bounds(Offset::End)?);
        let known = self.intake.positions(&self.name);
        let cluster = self.cluster.get().map_or("", |cluster| cluster);
        let mut assigned = Vec::new();
        for element in committed.elements() {
            element.error()?;
            let (topic, number) = (element.topic(), element.partition());
            let (low, high) = (offset(&first, topic, number)?, offset(&end, topic, number)?);
            let partition = Partition { topic: topic.into(), number };
            let key = partition.key(cluster);
            let of: Vec<_> = known.iter().map(|known| position::find(known, &key)).collect();
            let committed = element.offset().to_raw().and_then(|at| u64::try_from(at).ok());
            let standing = match position::standing(&of, committed) {
                Some(standing) => standing,
                None if self.options.start == Start::Latest
                    && self.is_new_topic(consumer, topic)? =>
                {
                    // Store the start position now, so that a restart before the first message
                    // starts there, too.
                    let mut first = TopicPartitionList::new();
                    first.add_partition_offset(topic, number, Offset::Offset(high as i64))?;
                    consumer.commit(&first, CommitMode::Async)?;
                    vec![high; known.len()]
                }
                None => vec![low; known.len()],
            };
            let start = standing.iter().copied().min().unwrap_or(low);
            if start < low || start > high {
                let (source, lost) = (&self.name, low.saturating_sub(start));
                tracing::warn!(
                    %source, topic, partition = number, start, first = low, end = high, lost,
                    "the stored position is outside the partition: its retention is too short, or \
                     the topic was recreated; reading from the first message; `lost` messages were \
                     deleted unread; raise the retention of the topic",
                );
                self.count("position_out_of_range", 1);
            }
            let inside = |at: u64| if at > high { low } else { at.max(low) };
            let standing: Vec<u64> = standing.into_iter().map(inside).collect();
            let start = inside(start);
            list.add_partition_offset(topic, number, Offset::Offset(start as i64))?;
            let begin = of.iter().flatten().map(|position| position.begin).min();
            assigned.push((partition, Assigned::new(begin.unwrap_or(start), start, standing, key)));
        }
        let mut state = self.state();
        assigned.into_iter().for_each(|(partition, one)| state.assigned.insert(partition, one));
        Ok(list)
    }

    /// Returns whether the group has no offset in any partition of the topic.
    fn is_new_topic(&self, consumer: &BaseConsumer<Self>, topic: &str) -> KafkaResult<bool> {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN)?;
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition(topic, partition.id());
        }
        let committed = consumer.committed_offsets(all, ANSWER_WITHIN)?;
        Ok(committed.elements().iter().all(|one| one.offset().to_raw().is_none_or(|at| at < 0)))
    }

    /// Revokes partitions: waits until their events are stored, and commits the offsets.
    fn revoke(&self, consumer: &BaseConsumer<Self>, given: &TopicPartitionList) {
        let is_lost = consumer.assignment_lost();
        let until = Instant::now() + self.options.revoke_wait;
        let mut state = self.state();
        self.send(&mut state);
        while !is_lost && state.in_flight > 0 && !state.is_stopping && Instant::now() < until {
            let rest = until.saturating_duration_since(Instant::now());
            let waited = self.stored.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.in_flight > 0 {
            // Storing continues; the next member reads these events again.
            tracing::warn!(
                source = %self.name, batches = state.in_flight, is_lost,
                "partitions were revoked before their events were stored; the next member reads \
                 these events again, so they may be stored twice; no action needed unless this \
                 repeats",
            );
            self.count("revoked_unstored", 1);
        }
        for element in given.elements() {
            state.assigned.remove(element.topic(), element.partition());
        }
        drop(state);
        if is_lost {
            return;
        }
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                tracing::warn!(
                    source = %self.name, %error,
                    "cannot commit offsets before partitions are revoked; the next member reads \
                     about a second of events again, which may be stored twice; no action needed",
                );
                self.count("offsets_not_written", 1);
            }
        }
    }
}

/// Returns a requested offset.
fn offset(list: &TopicPartitionList, topic: &str, number: i32) -> KafkaResult<u64> {
    let Some(element) = list.find_partition(topic, number) else {
        return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition));
    };
    element.error()?;
    // An empty partition that never had a message has no offset.
    Ok(element.offset().to_raw().and_then(|at| u64::try_from(at).ok()).unwrap_or(0))
}
