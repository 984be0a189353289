//! Sends a batch in one transaction: its messages, and its identity in the ledger of its origin.
//!
//! ```text
//!   init    with the transactional id of the origin: ends all transactions of other clients with
//!     │     this id, committed or not, and fences these clients
//!   read    the ledger of the origin: the metadata of an offset of the group with the same name
//!     │
//!     ▼     known? done
//!   begin ─ messages ─ the ledger, with the batch ─ commit
//!     ▲         └ one is rejected: abort; aborted transactions find out which one
//!     └───────────┘
//! ```
//!
//! Batches that wait for an earlier batch of their origin are sent together: one transaction
//! contains their messages and identities, which saves commit round trips. If it fails, or a
//! message is rejected, each batch is sent separately.
//!
//! # Invariants
//!
//! 1. The ledger in memory equals the one on the brokers, or the next step of this client fails:
//!    only the last client that called `init` can commit with a transactional id.
//! 2. After a failure, or if a batch is dropped midway, the client is dropped, and the next batch
//!    of the origin starts with `init`. An unknown outcome is therefore resolved before it matters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kit::record::{Known, closed};
use pipeline::deliver::Delivered;
use pipeline::traces::Attribute;
use pipeline::{Batch, Floors, Identity, Origin};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::ledger::Ledger;
use super::messages::delivered;
use super::producer::{Context, Producer};
use super::reasons::{Failed, only_causes};
use super::{ANSWER_WITHIN, Kafka, SendError};
use crate::token;

/// Maximum number of attempts in a row if only the client failed.
const ATTEMPTS: usize = 3;
/// Maximum random pause between attempts, as a multiple of the first attempt's duration. Two agents
/// with batches of one origin fence each other, and one of them must get through, however slow
/// brokers and hosts are.
const PAUSE_TIMES: u32 = 4;
/// Lower and upper bound of the duration used for the pause.
const ATTEMPT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Timeout of a single client call; the call is repeated.
const STEP: Duration = Duration::from_secs(5);
/// Pause before a failed call is repeated.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// The client of an origin.
pub(super) struct Lane {
    origin: Origin,
    producer: Arc<Producer>,
    group: Arc<ConsumerGroupMetadata>,
    ledger: Ledger,
}

/// Result of a batch.
enum Sent {
    Now(Delivered),
    Before(Delivered),
    /// Its epoch is closed.
    Closed,
}

impl Kafka {
    /// Delivers a batch once, whatever earlier attempts by any agent did.
    pub(super) async fn deliver_once(
        &self,
        batch: &Batch,
        key: Identity,
    ) -> Result<Delivered, SendError> {
        let mut key = self.floors.offered(key);
        self.floors.put(key);
        loop {
            let began = Instant::now();
            match self.attempts(batch, key).await? {
                Sent::Now(delivered) => {
                    let topics = || Attribute::Texts(self.topics(batch));
                    self.traces.committed(key, began, || [("aqueduct.topics", topics())]);
                    return Ok(delivered);
                }
                Sent::Before(delivered) => {
                    self.repeated.inc();
                    return Ok(delivered);
                }
                Sent::Closed => {
                    let name = self.floors.rename_closed(&self.env, key).await;
                    if name == key {
                        return Ok(closed(batch, key));
                    }
                    self.floors.put(name);
                    key = name;
                }
            }
        }
    }

    /// Delivers batches of one origin in one transaction. `None`: the result is unknown, and the
    /// next attempt finds it out, as after any failure.
    pub(super) async fn deliver_in_one(&self, batches: &[&Batch]) -> Option<Vec<Delivered>> {
        let keys: Option<Vec<Identity>> =
            batches.iter().map(|batch| batch.envelope.identity).collect();
        let keys: Vec<Identity> = keys?.into_iter().map(|key| self.floors.offered(key)).collect();
        let origin = keys.first()?.origin;
        let began = Instant::now();
        let mut seat = self.origins.seat(origin).await;
        // The first batch of an origin opens its client, in a separate transaction.
        let mut lane = seat.take().filter(|lane| !lane.producer.must_be_replaced())?;
        if keys.iter().any(|key| lane.ledger.status(*key) != Known::New) {
            *seat = Some(lane);
            return None;
        }
        keys.iter().for_each(|key| self.floors.put(*key));
        let delivered = match self.transact_together(&mut lane, batches, &keys).await {
            Ok(delivered) => delivered,
            Err(problem) => {
                self.reopened.inc();
                tracing::debug!(%problem, %origin, "a transaction of several batches has failed");
                return None;
            }
        };
        *seat = Some(lane);
        let delivered = delivered?;
        for (batch, key) in batches.iter().zip(keys) {
            let topics = || Attribute::Texts(self.topics(batch));
            self.traces.committed(key, began, || [("aqueduct.topics", topics())]);
        }
        Some(delivered)
    }

    /// Sends the messages of unknown batches, with their identities. If a message is not
    /// acknowledged, aborts the transaction and returns `None`.
    async fn transact_together(
        &self,
        lane: &mut Lane,
        batches: &[&Batch],
        keys: &[Identity],
    ) -> Result<Option<Vec<Delivered>>, SendError> {
        let producer = lane.producer.clone();
        self.begin(&producer).await?;
        let mut handed = Vec::with_capacity(batches.len());
        for batch in batches {
            handed.push(self.hand_all_over(&producer, batch, |_| true).await);
        }
        let mut has_failed = false;
        for (pending, _) in &handed {
            pending.done_or_failed().await;
            has_failed = pending.has_failed();
            if has_failed {
                break;
            }
        }
        if has_failed {
            self.abort(&producer).await?;
            for (pending, _) in &handed {
                pending.outcome().await;
            }
            return Ok(None);
        }
        let mut noted = Vec::with_capacity(batches.len());
        for ((key, batch), (_, not_taken)) in keys.iter().zip(batches).zip(handed) {
            // Events that the client rejects are not part of the transaction.
            noted.push((*key, delivered(self.judge(batch, not_taken)?)));
        }
        self.commit(lane, &noted).await?;
        Ok(Some(noted.into_iter().map(|(_, delivered)| delivered).collect()))
    }

    /// Returns the topics of a batch, without duplicates.
    fn topics(&self, batch: &Batch) -> Vec<String> {
        let topics: BTreeSet<&str> = batch.iter().map(|event| self.target.topic(event)).collect();
        topics.into_iter().map(str::to_owned).collect()
    }

    /// Retries a batch until a problem remains that a new client does not solve.
    async fn attempts(&self, batch: &Batch, key: Identity) -> Result<Sent, SendError> {
        let mut attempts = 1;
        loop {
            let began = Instant::now();
            let problem = match self.attempt(batch, key).await {
                Ok(sent) => return Ok(sent),
                Err(problem) => problem,
            };
            // An attempt that used up its time was delayed by the brokers, not by another client.
            let is_late = began.elapsed() >= self.target.timeout;
            if attempts == ATTEMPTS || is_late || !problem.may_go_by_itself() {
                return Err(problem);
            }
            self.reopened.inc();
            tracing::debug!(%problem, origin = %key.origin, "a transaction is attempted again");
            let most = began.elapsed().clamp(ATTEMPT.0, ATTEMPT.1) * PAUSE_TIMES;
            let pause = self.env.entropy.next_u64() % most.as_millis() as u64;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            attempts += 1;
        }
    }

    async fn attempt(&self, batch: &Batch, key: Identity) -> Result<Sent, SendError> {
        let mut seat = self.origins.seat(key.origin).await;
        // An early return leaves the seat empty.
        let mut lane = match seat.take().filter(|lane| !lane.producer.must_be_replaced()) {
            Some(lane) => lane,
            None => self.open_lane(key.origin).await?,
        };
        let sent = match lane.ledger.status(key) {
            Known::New => Sent::Now(self.transact(&mut lane, batch, key).await?),
            Known::Applied => Sent::Before(lane.ledger.delivered(key)),
            Known::Closed => Sent::Closed,
        };
        *seat = Some(lane);
        Ok(sent)
    }

    /// Opens a client for an origin, and reads its ledger.
    async fn open_lane(&self, origin: Origin) -> Result<Lane, SendError> {
        let id = self.target.transactional_id(origin);
        let mut config = self.target.client.clone();
        config.set("transactional.id", &id);
        let producer = Producer::new(&config, self.context(), self.env.clone());
        let producer = Arc::new(producer.map_err(SendError::Client)?);
        self.step("begin with a transactional id", &producer, |producer| producer.init(STEP))
            .await?;
        let mut config = self.target.reader.clone();
        config.set("group.id", &id);
        let (topic, context) = (self.target.topic.clone(), self.context());
        let read = self.env.offload(move || read(&config, context, &topic)).await;
        let (group, text) = read.map_err(|source| SendError::Ledger { id: id.clone(), source })?;
        let ledger = match text.as_deref().map(Ledger::read) {
            None => Ledger::default(),
            Some(Ok(ledger)) => ledger,
            Some(Err(_)) => return Err(SendError::ForeignLedger { id }),
        };
        Ok(Lane { origin, producer, group: Arc::new(group), ledger })
    }

    /// Sends the messages of a new batch, with its identity.
    async fn transact(
        &self,
        lane: &mut Lane,
        batch: &Batch,
        key: Identity,
    ) -> Result<Delivered, SendError> {
        let producer = lane.producer.clone();
        let mut refused = Failed::new();
        loop {
            self.begin(&producer).await?;
            let known: BTreeSet<usize> = refused.iter().map(|(place, _)| *place).collect();
            let is_meant = |place: usize| !known.contains(&place);
            let (pending, not_taken) = self.hand_all_over(&producer, batch, is_meant).await;
            pending.done_or_failed().await;
            if !pending.has_failed() {
                // Events that the client rejects are not part of the transaction.
                refused.extend(self.judge(batch, not_taken)?);
                break;
            }
            self.abort(&producer).await?;
            let mut failed = pending.outcome().await;
            failed.extend(not_taken);
            only_causes(&mut failed);
            let suspects = self.judge(batch, failed)?;
            let first = suspects.first().copied();
            let found = self.refused(&producer, batch, suspects).await?;
            if let Some((place, code)) = first.filter(|_| found.is_empty()) {
                return Err(self.not_acknowledged(batch, place, code));
            }
            refused.extend(found);
        }
        let delivered = delivered(refused);
        self.commit(lane, &[(key, delivered.clone())]).await?;
        Ok(delivered)
    }

    /// Adds the results of batches, whose messages are in the open transaction, to the ledger, and
    /// commits.
    async fn commit(
        &self,
        lane: &mut Lane,
        batches: &[(Identity, Delivered)],
    ) -> Result<(), SendError> {
        let (producer, mut ledger) = (lane.producer.clone(), lane.ledger.clone());
        for (key, delivered) in batches {
            // Finding out the closed epochs asks all channels.
            let is_asked = ledger.can_forget(*key);
            let floors = if is_asked { self.floors.declarable() } else { Floors::default() };
            ledger.add(*key, &floors, delivered);
        }
        let text = ledger.text(self.target.ledger_bytes_max);
        let text = text.map_err(|source| SendError::LedgerFull { origin: lane.origin, source })?;
        let (topic, group) = (self.target.topic.clone(), lane.group.clone());
        self.step("write the ledger", &producer, move |producer| {
            producer.add(&offset(&topic, Some(&text)), &group, STEP)
        })
        .await?;
        self.step("commit", &producer, |producer| producer.commit(STEP)).await?;
        lane.ledger = ledger;
        self.transactions.inc();
        Ok(())
    }

    pub(super) async fn begin(&self, producer: &Arc<Producer>) -> Result<(), SendError> {
        self.step("begin", producer, Producer::begin).await
    }

    pub(super) async fn abort(&self, producer: &Arc<Producer>) -> Result<(), SendError> {
        self.step("abort", producer, |producer| producer.abort(STEP)).await
    }

    /// Runs a step of a transaction on a blocking thread. Repeats it while the client reports a
    /// retriable error.
    async fn step(
        &self,
        name: &'static str,
        producer: &Arc<Producer>,
        act: impl Fn(&Producer) -> Result<(), KafkaError> + Clone + Send + 'static,
    ) -> Result<(), SendError> {
        let until = Instant::now() + self.target.timeout;
        loop {
            let (producer, act) = (producer.clone(), act.clone());
            let error = match self.env.offload(move || act(&producer)).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let may_help = matches!(&error, KafkaError::Transaction(it) if it.is_retriable());
            if !may_help || Instant::now() >= until {
                return Err(SendError::Transaction { step: name, source: error });
            }
            tokio::time::sleep(STEP_PAUSE).await;
        }
    }
}

/// Returns the place of the ledger: the first partition of the topic, in the group.
fn offset(topic: &str, text: Option<&str>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let mut place = list.add_partition(topic, 0);
    if let Some(text) = text {
        // The value is unused. It shows that this is not a consumer's offset.
        place.set_offset(Offset::Offset(0)).expect("an offset of its own type");
        place.set_metadata(text);
    }
    list
}

/// Reads the ledger of a group, and the group metadata of a producer. Blocks.
fn read(
    config: &ClientConfig,
    context: Context,
    topic: &str,
) -> Result<(ConsumerGroupMetadata, Option<String>), KafkaError> {
    let reader: BaseConsumer<Context> = config.create_with_context(context)?;
    token::poll_until_token(&reader, reader.context().token.as_ref(), ANSWER_WITHIN);
    let group = reader.group_metadata().expect("the configuration names a group");
    let found = reader.committed_offsets(offset(topic, None), ANSWER_WITHIN)?;
    let elements = found.elements();
    let place = elements.first().expect("the one that was asked for");
    place.error()?;
    let is_there = matches!(place.offset(), Offset::Offset(_));
    Ok((group, is_there.then(|| place.metadata().to_owned())))
}
