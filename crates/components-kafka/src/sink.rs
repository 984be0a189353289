//! `kafka`: sends each event as a message to a topic.
//!
//! ```text
//!   acknowledged by all in-sync replicas      delivered
//!   too large, no such partition, rejected    the event becomes a dead letter
//!   no such topic, not authorized             waits until the setup is fixed; for a topic that the
//!                                             event names, up to `destination_wait`, then a dead
//!                                             letter
//!   no answer                                 retried
//! ```
//!
//! The producer is idempotent: messages resent after a broken connection are in the topic once. If
//! the agent itself repeats a batch, after a kill or after `timeout`, its messages may be in the
//! topic twice. `exactly_once` prevents this: a batch is a transaction, and the sink first asks the
//! brokers for the state of its origin.
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings |
//! | `messages` | sends events as messages, and finds rejected ones |
//! | `producer` | the client, and the results of a batch's messages |
//! | `reasons` | classifies error codes: pure |
//! | `once` | sends a batch in one transaction |
//! | `origins` | one client per origin |
//! | `ledger` | the state of an origin on the brokers: pure |

mod config;
mod ledger;
mod messages;
mod once;
mod origins;
mod producer;
mod reasons;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use metrics::{Counter, MetricSpec};
use peers::FloorBoard;
use pipeline::deliver::{Deliver, Delivered, Destinations, Options, Requests};
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, DedupeScope, Env, ErrorClass, Guarantee,
    Origin, Sink, Traces,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use thiserror::Error;

use crate::token::Tokens;
pub(crate) use config::Compression;
pub use config::Config;
use config::Target;
use messages::delivered;
use once::Lane;
use origins::Origins;
use producer::{Context, Producer};
use reasons::{class_of, is_fenced, is_of_topic};

/// Number of requests for a missing topic, and the pause between them.
const TOPIC_ATTEMPTS: usize = 10;
const TOPIC_PAUSE: Duration = Duration::from_millis(200);
/// Timeout of the first request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Component for Config {
    const KIND: &'static str = "kafka";
    const LETTERS: &[&str] =
        &["too_large", "unknown_partition", "refused", "epoch_closed", "unknown_destination"];
    const EXAMPLE: &str = "brokers = [\"127.0.0.1:9092\"]\n\
        topic = \"a\"";
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter(
            "repeated_batches",
            "Resent batches that the ledger shows as delivered.",
        ),
        MetricSpec::counter(
            "transactions",
            "Committed transactions, each with one or more batches.",
        ),
        MetricSpec::counter(
            "repeated_transactions",
            "Transactions that were repeated with a new client because their commit failed or its \
             result is unknown.",
        ),
    ];
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let target = self.target(cx)?;
        let options = Options {
            in_flight_max: target.in_flight_max,
            // Transactions of an origin run one after the other.
            in_order: target.in_order || target.is_exactly_once,
            // The client has a timeout per message, after which it knows the result.
            timeout: Duration::MAX,
        };
        crate::client::name_plain_text(&target.client, cx);
        let scope = cx.scope::<Self>();
        let kafka = Kafka {
            name: cx.name.clone(),
            env: cx.env.clone(),
            producer: Mutex::default(),
            origins: Origins::new(target.origins_max),
            floors: cx.get(),
            traces: cx.get(),
            repeated: scope.counter("repeated_batches")?,
            transactions: scope.counter("transactions")?,
            reopened: scope.counter("repeated_transactions")?,
            destinations: Destinations::new(target.destination_wait),
            target,
        };
        Ok(Box::new(Requests::new(kafka, options)))
    }
}

/// Why events were not delivered.
#[derive(Debug, Error)]
enum SendError {
    #[error("cannot create the Kafka client: check `properties`")]
    Client(#[source] KafkaError),
    #[error("no broker answered within {ANSWER_WITHIN:?}: check `brokers` and the network{said}")]
    Unreachable { said: String, source: KafkaError },
    #[error(
        "cannot use the topic `{topic}`, whose offsets contain the ledger: create it, or allow \
         this client to describe it"
    )]
    Topic { topic: String, source: KafkaError },
    #[error("a message for the topic `{topic}` was not acknowledged: {code}{}", remedy_of(*code))]
    NotAcknowledged { topic: String, code: Code },
    #[error(
        "a transaction failed at the step \"{step}\", so its events are resent; no event is lost \
         or stored twice{}",
        hint(source)
    )]
    Transaction { step: &'static str, source: KafkaError },
    #[error(
        "cannot read the ledger of delivered batches (the offset of the consumer group `{id}`); \
         batches wait; retrying{}",
        pending(source)
    )]
    Ledger { id: String, source: KafkaError },
    #[error(
        "the offset of the group `{id}` is not a ledger of this sink: set `ledger.name` to \
         another name, or delete the group"
    )]
    ForeignLedger { id: String },
    #[error(
        "the ledger of the sender (origin) {origin} exceeds its size limit: raise \
         `offset.metadata.max.bytes` of the brokers and `ledger.bytes_max`"
    )]
    LedgerFull { origin: Origin, source: ledger::Full },
}

/// Returns a hint for a topic that rejects messages.
fn remedy_of(code: Code) -> &'static str {
    match code {
        Code::TopicAuthorizationFailed => "; grant this client the operation Write on the topic",
        _ if is_of_topic(code) => "; create the topic, or change `topic` or `topic_header`",
        _ => "",
    }
}

/// Returns a hint for a failed transaction.
fn hint(error: &KafkaError) -> &'static str {
    if error.rdkafka_error_code().is_some_and(is_fenced) {
        "; another agent took over batches of the same origin, or the transaction took longer \
         than `timeout`"
    } else {
        ""
    }
}

/// Returns a hint for an unreadable offset.
fn pending(error: &KafkaError) -> &'static str {
    if error.rdkafka_error_code() == Some(Code::OperationTimedOut) {
        "; if the brokers are healthy and this continues, a transaction hangs: abort it as \
         described in docs/components/sinks/kafka.md"
    } else {
        ""
    }
}

impl SendError {
    fn code(&self) -> Option<Code> {
        match self {
            Self::Client(source)
            | Self::Unreachable { source, .. }
            | Self::Topic { source, .. }
            | Self::Transaction { source, .. }
            | Self::Ledger { source, .. } => source.rdkafka_error_code(),
            Self::NotAcknowledged { code, .. } => Some(*code),
            Self::ForeignLedger { .. } | Self::LedgerFull { .. } => None,
        }
    }

    /// Returns whether a new client may succeed.
    fn may_go_by_itself(&self) -> bool {
        let is_of_client = matches!(
            self,
            Self::NotAcknowledged { .. } | Self::Transaction { .. } | Self::Ledger { .. }
        );
        is_of_client && self.class() == ErrorClass::Indeterminate
    }
}

impl Classify for SendError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Client(_)
            | Self::Topic { .. }
            | Self::ForeignLedger { .. }
            | Self::LedgerFull { .. } => ErrorClass::Blocked,
            Self::Unreachable { .. } => ErrorClass::Transient,
            // Errors of single messages are handled earlier.
            _ => match self.code().map(class_of) {
                Some(ErrorClass::Blocked) => ErrorClass::Blocked,
                _ => ErrorClass::Indeterminate,
            },
        }
    }
}

struct Kafka {
    name: Arc<str>,
    target: Target,
    env: Env,
    /// For messages without transactions. `None` before the first opening.
    producer: Mutex<Option<Arc<Producer>>>,
    /// For transactions.
    origins: Origins<Lane>,
    floors: FloorBoard,
    traces: Traces,
    repeated: Counter,
    transactions: Counter,
    reopened: Counter,
    /// Topics named by events.
    destinations: Destinations,
}

impl Kafka {
    /// Creates the callbacks of another client.
    fn context(&self) -> Context {
        let token = self.target.token.as_ref().map(Tokens::for_another_client);
        Context::new(self.name.clone(), token)
    }

    fn known(&self) -> Option<Arc<Producer>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the client, or a new one after a fatal error.
    fn ready(&self) -> Result<Arc<Producer>, SendError> {
        if let Some(known) = self.known().filter(|known| !known.must_be_replaced()) {
            return Ok(known);
        }
        let made = Producer::new(&self.target.client, self.context(), self.env.clone());
        let made = Arc::new(made.map_err(SendError::Client)?);
        *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }

    /// Delivers a batch that may already be in the topics.
    async fn deliver_at_least_once(&self, batch: &Batch) -> Result<Delivered, SendError> {
        let producer = self.ready()?;
        let failed = {
            let _among_others = producer.alone.read().await;
            self.send(&producer, batch, None).await?
        };
        if failed.is_empty() {
            return Ok(Delivered::All);
        }
        Ok(delivered(self.refused(&producer, batch, failed).await?))
    }
}

#[async_trait]
impl Deliver for Kafka {
    type Error = SendError;

    async fn open(&self) -> Result<(), SendError> {
        let producer = self.ready()?;
        let asked = producer.clone();
        let answer = self.env.offload(move || asked.ask(ANSWER_WITHIN)).await;
        let unreachable = |source| SendError::Unreachable { said: producer.trouble(), source };
        answer.map_err(unreachable)?;
        if !self.target.is_exactly_once {
            return Ok(());
        }
        let mut asked = 1;
        loop {
            let (producer, topic) = (producer.clone(), self.target.topic.clone());
            let answer = self.env.offload(move || producer.ask_for(&topic, ANSWER_WITHIN)).await;
            match answer {
                Ok(()) => return Ok(()),
                Err(source) if asked == TOPIC_ATTEMPTS => {
                    return Err(SendError::Topic { topic: self.target.topic.clone(), source });
                }
                // Brokers with automatic creation first report that the topic does not exist.
                Err(_) => tokio::time::sleep(TOPIC_PAUSE).await,
            }
            asked += 1;
        }
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, SendError> {
        match batch.envelope.identity {
            Some(key) if self.target.is_exactly_once => self.deliver_once(batch, key).await,
            _ => self.deliver_at_least_once(batch).await,
        }
    }

    fn together_max(&self) -> usize {
        // While one half is in flight, the other half is collected.
        if self.target.is_exactly_once { self.target.in_flight_max.div_ceil(2) } else { 1 }
    }

    async fn deliver_together(&self, batches: &[&Batch]) -> Option<Vec<Delivered>> {
        self.deliver_in_one(batches).await
    }

    fn guarantee(&self) -> Guarantee {
        if self.target.is_exactly_once { Guarantee::ExactlyOnce } else { Guarantee::AtLeastOnce }
    }

    fn dedupe_scope(&self) -> DedupeScope {
        let Target { ledger, brokers, topic, .. } = &self.target;
        if !self.target.is_exactly_once {
            return DedupeScope::Nothing;
        }
        DedupeScope::Dataset(format!("{ledger} in {brokers} {topic}"))
    }
}
