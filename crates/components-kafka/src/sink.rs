//! `kafka`: each event as a message of a topic.
//!
//! ```text
//!   acknowledged by all replicas in sync     delivered
//!   too large, no such partition, refused    the event goes to the dead letters
//!   no such topic, not authorized            nothing can be delivered until the set-up is right
//!   no answer                                tried again
//! ```
//!
//! The producer is idempotent: what it sends again after a broken connection is in the topic once.
//! A batch that is offered again is another matter: after the agent was killed, or after `timeout`,
//! its messages may be in the topic twice.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `producer` | the client, and what became of the messages of a batch |

mod config;
mod producer;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use components::avro::datum::put_event;
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, Env, ErrorClass, EventRef, Guarantee,
    Sink,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use thiserror::Error;
use tokio::sync::RwLock;

pub use config::Config;
use config::Target;
use producer::{Handed, Pending, Producer};

/// How long the first answer of a broker may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a full queue of the client is waited for before the next try.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

impl Component for Config {
    const KIND: &'static str = "kafka";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let options = Options {
            in_flight_max: self.in_flight_max,
            in_order: self.in_order,
            // The client has a limit for each message, after which it knows what became of it.
            timeout: Duration::MAX,
        };
        let target = self.target()?;
        crate::client::name_plain_text(&target.client, cx);
        let (env, name) = (cx.env.clone(), cx.name.clone());
        let (producer, alone) = (Mutex::default(), RwLock::default());
        Ok(Box::new(Requests::new(Kafka { name, target, env, producer, alone }, options)))
    }
}

/// Why events were not delivered.
#[derive(Debug, Error)]
enum SendError {
    #[error("the client cannot be made")]
    Client(#[source] KafkaError),
    #[error("no broker answered within {ANSWER_WITHIN:?}: look after `brokers`")]
    Unreachable(#[source] KafkaError),
    #[error("a message for the topic `{topic}` is not acknowledged: {code}")]
    NotAcknowledged { topic: String, code: Code },
}

impl Classify for SendError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Client(_) => ErrorClass::Blocked,
            Self::Unreachable(_) => ErrorClass::Transient,
            Self::NotAcknowledged { code, .. } => class_of(*code),
        }
    }
}

/// What the failure of a message says.
fn class_of(code: Code) -> ErrorClass {
    match code {
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessage
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::InvalidTopic
        | Code::UnknownPartition => ErrorClass::Poison,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::UnsupportedCompressionType
        | Code::PolicyViolation => ErrorClass::Blocked,
        // It may be in the topic.
        _ => ErrorClass::Indeterminate,
    }
}

/// The reason of the dead letter.
fn reason_of(code: Code) -> &'static str {
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            "too_large"
        }
        Code::UnknownPartition => "unknown_partition",
        _ => "refused",
    }
}

struct Kafka {
    name: Arc<str>,
    target: Target,
    env: Env,
    /// None before the first opening.
    producer: Mutex<Option<Arc<Producer>>>,
    /// Read while a batch is sent; written while it has to be the only one.
    alone: RwLock<()>,
}

/// The places of events that were not acknowledged, each with the reason.
type Failed = Vec<(usize, Code)>;

impl Kafka {
    fn known(&self) -> Option<Arc<Producer>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client; a new one after a failure that it does not get over.
    fn ready(&self) -> Result<Arc<Producer>, SendError> {
        if let Some(known) = self.known().filter(|known| !known.has_given_up()) {
            return Ok(known);
        }
        let made = Producer::new(&self.target.client, self.name.clone(), self.env.clone());
        let made = Arc::new(made.map_err(SendError::Client)?);
        *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }

    /// Hands over the events at these places, or all, and waits for what becomes of each.
    async fn send(
        &self,
        producer: &Producer,
        batch: &Batch,
        only: Option<&BTreeSet<usize>>,
    ) -> Result<Failed, SendError> {
        let pending = Pending::new();
        let is_meant = |event: &EventRef<'_>| only.is_none_or(|only| only.contains(&event.index()));
        for event in batch.iter().filter(is_meant) {
            loop {
                match self.hand_over(producer, event, &pending) {
                    Err(Code::QueueFull) => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
                    Err(code) => break pending.failed(event.index(), code),
                    Ok(()) => break,
                }
            }
        }
        let mut failed = pending.outcome().await;
        failed.sort_unstable_by_key(|(index, _)| *index);
        let other = failed.iter().find(|(_, code)| class_of(*code) != ErrorClass::Poison);
        if let Some((index, code)) = other {
            let event = batch.iter().nth(*index);
            let topic = event.map_or_else(String::new, |event| self.target.topic(event).to_owned());
            return Err(SendError::NotAcknowledged { topic, code: *code });
        }
        Ok(failed)
    }

    /// Which of these events are refused by themselves. A broker refuses a request as a whole, with
    /// messages of other batches in it: so they are sent again in parts, while no other batch is.
    async fn refused(
        &self,
        producer: &Producer,
        batch: &Batch,
        failed: Failed,
    ) -> Result<Failed, SendError> {
        let _alone = self.alone.write().await;
        let sizes: Vec<usize> = batch.iter().map(|event| event.body().len()).collect();
        let (mut refused, mut suspects) = (Failed::new(), vec![failed]);
        while let Some(group) = suspects.pop() {
            let places = group.iter().map(|(place, _)| *place).collect();
            let mut failed = self.send(producer, batch, Some(&places)).await?;
            if places.len() == 1 {
                refused.extend(failed);
                continue;
            }
            // One that is too large is most likely the largest; each refusal costs the client time.
            failed.sort_unstable_by_key(|(place, _)| sizes[*place]);
            let largest = failed.pop();
            let (one, other) = failed.split_at(failed.len() / 2);
            let parts = [one, other, largest.as_slice()];
            suspects.extend(parts.into_iter().filter(|part| !part.is_empty()).map(<[_]>::to_vec));
        }
        refused.sort_unstable_by_key(|(place, _)| *place);
        Ok(refused)
    }

    /// Hands an event to the client, without waiting.
    fn hand_over(
        &self,
        producer: &Producer,
        event: EventRef<'_>,
        pending: &Arc<Pending>,
    ) -> Result<(), Code> {
        let target = &self.target;
        let partition = target.partition(event).map_err(|()| Code::UnknownPartition)?;
        let mut encoded = Vec::new();
        let payload = if target.is_flume_event {
            let headers: Vec<_> = event.headers().collect();
            put_event(&mut encoded, &headers, event.body());
            &encoded
        } else {
            event.body()
        };
        let handed = Box::new(Handed { pending: pending.clone(), index: event.index() });
        let mut record: BaseRecord<'_, str, [u8], Box<Handed>> =
            BaseRecord::with_opaque_to(target.topic(event), handed).payload(payload);
        record.key = target.key(event);
        record.partition = partition;
        record.timestamp = target.timestamp(event);
        if !target.headers.is_empty() {
            let mut headers = OwnedHeaders::new_with_capacity(target.headers.len());
            for (name, of) in &target.headers {
                if let Some(value) = event.header(of) {
                    headers = headers.insert(Header { key: name, value: Some(value) });
                }
            }
            record = record.headers(headers);
        }
        pending.begin();
        producer.send(record).inspect_err(|_| pending.end())
    }
}

#[async_trait]
impl Deliver for Kafka {
    type Error = SendError;

    async fn open(&self) -> Result<(), SendError> {
        let producer = self.ready()?;
        let asked = self.env.offload(move || producer.ask(ANSWER_WITHIN)).await;
        asked.map_err(SendError::Unreachable)
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, SendError> {
        let producer = self.ready()?;
        let failed = {
            let _among_others = self.alone.read().await;
            self.send(&producer, batch, None).await?
        };
        let failed =
            if failed.is_empty() { failed } else { self.refused(&producer, batch, failed).await? };
        let Some((_, code)) = failed.first() else { return Ok(Delivered::All) };
        let (reason, detail) = (reason_of(*code), format!("the message is refused: {code}"));
        let events = failed.iter().map(|(index, _)| *index).collect();
        Ok(Delivered::Except { events, reason, detail })
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}
