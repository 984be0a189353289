//! The member of the group: which partitions it has, what it has gathered of them, and what a
//! rebalance asks for.
//!
//! Calls of the client come in the thread that polls it, so a rebalance finds no half-added
//! message. Before a partition goes to another member, what was read of it is stored and its offset
//! is written, or the wait for that is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use metrics::SourceReason;
use pipeline::{Batch, PositionIntake, SourcePosition};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::config::{Options, Start};
use super::gather::Gather;
use super::position::{self, End, Partition, Position};
use crate::client;

/// How long a broker may take for one question.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What is handed to the channels.
pub(super) struct Piece {
    pub(super) batch: Batch,
    /// The channels that lack it; `None`: all.
    pub(super) targets: Option<Vec<usize>>,
    pub(super) ends: Vec<End>,
}

/// The client's callbacks, and what they share with the turns.
pub(super) struct Member {
    name: Arc<str>,
    pub(super) options: Arc<Options>,
    intake: Arc<dyn PositionIntake>,
    /// Known once a broker has answered.
    cluster: OnceLock<String>,
    state: Mutex<State>,
    /// A piece is stored, or the source stops.
    stored: Condvar,
    idle: Notify,
    pieces: mpsc::UnboundedSender<Piece>,
}

#[derive(Default)]
struct State {
    assigned: BTreeMap<Partition, Assigned>,
    gather: Gather,
    /// The channels that lack what is gathered; `None`: all.
    targets: Option<Vec<usize>>,
    ends: BTreeMap<Partition, End>,
    /// When the first gathered message came.
    since: Option<Instant>,
    in_flight: usize,
    is_stopping: bool,
    /// Why the source has to begin anew.
    failure: Option<String>,
    all_down: bool,
    /// Rises with each assignment.
    generation: u64,
}

/// A partition of this member.
struct Assigned {
    /// Where reading began; none while it begins where the group's rule says.
    begin: Option<u64>,
    /// For each channel the offset of the first message that it lacks.
    standing: Vec<u64>,
    key: bytes::Bytes,
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
        Self { name, options, intake, cluster, state, stored, idle, pieces }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn joined(&self, cluster: String) {
        // Set once for each consumer.
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

    /// Whether the client said since the last call that it reaches no broker.
    pub(super) fn take_all_down(&self) -> bool {
        std::mem::take(&mut self.state().all_down)
    }

    /// No wait goes on.
    pub(super) fn stop(&self) {
        self.state().is_stopping = true;
        self.stored.notify_all();
    }

    /// Waits until nothing is on its way.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Waits for a piece to be stored, for so long at most.
    pub(super) fn wait(&self, limit: Duration) {
        let state = self.state();
        if state.in_flight > 0 && !state.is_stopping {
            // Either way the caller looks again.
            drop(self.stored.wait_timeout(state, limit));
        }
    }

    /// A piece is stored.
    pub(super) fn settled(&self) {
        self.state().in_flight -= 1;
        self.stored.notify_all();
        self.idle.notify_waiters();
    }

    /// Adds a message; says whether the batch is full.
    pub(super) fn push(&self, message: &BorrowedMessage<'_>, bytes: usize, events: usize) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let partition = Partition { topic: message.topic().into(), number: message.partition() };
        // A message of a partition that was given back.
        let Some(assigned) = state.assigned.get_mut(&partition) else { return false };
        let offset = message.offset() as u64;
        let begin = *assigned.begin.get_or_insert(offset);
        let lacking = (0..).zip(&assigned.standing).filter(|(_, next)| **next <= offset);
        let lacking: Vec<usize> = lacking.map(|(channel, _)| channel).collect();
        if lacking.is_empty() {
            return false;
        }
        let targets = (lacking.len() < assigned.standing.len()).then_some(lacking);
        let position = Position { begin, next: offset + 1 };
        let key = assigned.key.clone();
        let length = message.payload_len();
        let is_over = state.gather.body_bytes() + length > bytes && state.gather.len() > 0;
        if is_over || (state.gather.len() > 0 && state.targets != targets) {
            self.send(state);
        }
        state.targets = targets;
        state.since.get_or_insert_with(Instant::now);
        if !state.gather.push(message, &self.options) {
            self.count("not_flume_event", 1);
        }
        state.ends.insert(partition.clone(), End { partition, key, position });
        let is_full = state.gather.len() >= events || state.gather.body_bytes() >= bytes;
        if is_full {
            self.send(state);
        }
        is_full
    }

    /// Hands over what is gathered, if it has waited long enough.
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
        let ends: Vec<End> = std::mem::take(&mut state.ends).into_values().collect();
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
        // Without a receiver the source is gone, and what is not stored is read again.
        if self.pieces.send(Piece { batch, targets, ends }).is_ok() {
            state.in_flight += 1;
        }
    }

    pub(super) fn count(&self, reason: &'static str, times: u64) {
        let label = SourceReason { source: self.name.to_string(), reason };
        self.options.metrics.source_anomalies.get_or_create(&label).inc_by(times);
    }

    /// Takes partitions, each where it stands.
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
        let known = self.intake.positions(&self.name);
        let cluster = self.cluster.get().map_or("", |cluster| cluster);
        let mut assigned = Vec::new();
        for element in committed.elements() {
            element.error()?;
            let (topic, number) = (element.topic(), element.partition());
            let partition = Partition { topic: topic.into(), number };
            let key = partition.key(cluster);
            let of: Vec<_> = known.iter().map(|known| position::of(known, &key)).collect();
            let committed = element.offset().to_raw().and_then(|at| u64::try_from(at).ok());
            let standing = position::standing(&of, committed);
            let (low, high) = consumer.fetch_watermarks(topic, number, ANSWER_WITHIN)?;
            let (low, high) = (low.max(0) as u64, high.max(0) as u64);
            let standing = match standing {
                Some(standing) => standing,
                None if self.is_new_topic(consumer, topic)?
                    && self.options.start == Start::Latest =>
                {
                    // Kept at once, so that a restart before the first message begins there too.
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
                    "the position is not in the partition any more; reading at its first message",
                );
                self.count("position_out_of_range", 1);
            }
            let standing =
                standing.into_iter().map(|at| if at > high { low } else { at.max(low) }).collect();
            let start = if start > high { low } else { start.max(low) };
            list.add_partition_offset(topic, number, Offset::Offset(start as i64))?;
            let begun = of.iter().flatten().map(|position| position.begin).min();
            let begin = Some(begun.unwrap_or(start));
            assigned.push((partition, Assigned { begin, standing, key }));
        }
        self.state().assigned.extend(assigned);
        Ok(list)
    }

    /// Whether the group has not read any partition of the topic.
    fn is_new_topic(&self, consumer: &BaseConsumer<Self>, topic: &str) -> KafkaResult<bool> {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN)?;
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            all.add_partition(topic, partition.id());
        }
        let committed = consumer.committed_offsets(all, ANSWER_WITHIN)?;
        Ok(committed.elements().iter().all(|one| one.offset().to_raw().is_none_or(|at| at < 0)))
    }

    /// Gives partitions back: what was read of them is stored, and its offsets are written.
    fn give_back(&self, consumer: &BaseConsumer<Self>, given: &TopicPartitionList) {
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
            // They go on and are stored; the next member reads them as well.
            tracing::warn!(
                source = %self.name, batches = state.in_flight, is_lost,
                "partitions went to another member before what was read of them was stored",
            );
            self.count("revoked_unstored", 1);
        }
        for element in given.elements() {
            let partition =
                Partition { topic: element.topic().into(), number: element.partition() };
            state.assigned.remove(&partition);
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
                    "offsets are not written before partitions go to another member",
                );
                self.count("offsets_not_written", 1);
            }
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(&self.name, level, facility, text);
    }

    fn error(&self, error: KafkaError, text: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.state().all_down = true;
        }
        client::log_error(&self.name, &error, text);
    }

    fn stats(&self, statistics: Statistics) {
        let state = self.state();
        let lag = statistics.topics.values().flat_map(|topic| {
            topic.partitions.values().filter(|partition| {
                let (topic, number) = (topic.topic.as_str().into(), partition.partition);
                state.assigned.contains_key(&Partition { topic, number })
            })
        });
        let lag: i64 = lag.map(|partition| partition.consumer_lag_stored.max(0)).sum();
        self.options.lag.set(lag as f64);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        given: &mut TopicPartitionList,
    ) {
        let in_steps = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let list = self.assign(consumer, given).unwrap_or_else(|error| {
                    let failure = format!("partitions cannot be taken: {error}");
                    self.state().failure = Some(failure);
                    TopicPartitionList::new()
                });
                self.state().generation += 1;
                if in_steps { consumer.incremental_assign(&list) } else { consumer.assign(&list) }
            }
            _ => {
                self.give_back(consumer, given);
                if in_steps { consumer.incremental_unassign(given) } else { consumer.unassign() }
            }
        };
        if let Err(error) = done {
            self.state().failure = Some(format!("partitions cannot be exchanged: {error}"));
        }
    }
}
