//! `kafka`: each event as a message of a topic.
//!
//! ```text
//!   acknowledged by all replicas in sync     delivered
//!   too large, no such partition, refused    the event goes to the dead letters
//!   no such topic, not authorized            nothing can be delivered until the set-up is right; a
//!                                            topic that the event names is waited for so long as
//!                                            `destination_wait`, then the event is a dead letter
//!   no answer                                tried again
//! ```
//!
//! The producer is idempotent: what it sends again after a broken connection is in the topic once.
//! A batch that is offered again is another matter: after the agent was killed, or after `timeout`,
//! its messages may be in the topic twice. With `exactly_once` they are not: a batch is a
//! transaction, and what the brokers know of its origin is asked before.
//!
//! | module | what it does |
//! |---|---|
//! | `config` | the settings |
//! | `messages` | events of a batch as messages, and which of them are refused |
//! | `producer` | the client, and what became of the messages of a batch |
//! | `reasons` | what a code says of a message: pure |
//! | `once` | a batch in one transaction |
//! | `origins` | the clients of origins |
//! | `ledger` | what the brokers keep of an origin: pure |

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

use crate::client::Trouble;
use crate::token::Tokens;
pub(crate) use config::Compression;
pub use config::Config;
use config::Target;
use messages::delivered;
use once::Lane;
use origins::Origins;
use producer::{Context, Producer};
use reasons::{class_of, is_fenced, is_of_topic};

/// How often a topic that is not there is asked for, and the pause between two times.
const TOPIC_ASKED: usize = 10;
const TOPIC_PAUSE: Duration = Duration::from_millis(200);
/// How long the first answer of a broker may take.
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
            // Transactions of an origin go one after the other.
            in_order: target.in_order || target.is_exactly_once,
            // The client has a limit for each message, after which it knows what became of it.
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
    #[error("the client cannot be made")]
    Client(#[source] KafkaError),
    #[error("no broker answered within {ANSWER_WITHIN:?}: look after `brokers`{said}")]
    Unreachable { said: String, source: KafkaError },
    #[error("the topic `{topic}`, of which the ledger is a part, cannot be used: make it")]
    Topic { topic: String, source: KafkaError },
    #[error("a message for the topic `{topic}` is not acknowledged: {code}{}", remedy_of(*code))]
    NotAcknowledged { topic: String, code: Code },
    #[error("a transaction failed at the step: {step}{}", hint(source))]
    Transaction { step: &'static str, source: KafkaError },
    #[error(
        "the offset of the group `{id}`, which is the ledger, cannot be read{}",
        pending(source)
    )]
    Ledger { id: String, source: KafkaError },
    #[error(
        "the offset of the group `{id}` is not what this sink writes: give `ledger.name` another \
         value, or delete the group"
    )]
    ForeignLedger { id: String },
    #[error(
        "the ledger of the origin {origin} has too many gaps: raise `offset.metadata.max.bytes` \
         of the brokers and `ledger.bytes_max`"
    )]
    LedgerFull { origin: Origin, source: ledger::Full },
}

/// What helps if a topic does not accept messages.
fn remedy_of(code: Code) -> &'static str {
    match code {
        Code::TopicAuthorizationFailed => "; allow this client to write to the topic",
        _ if is_of_topic(code) => "; create the topic, or change `topic` or `topic_header`",
        _ => "",
    }
}

/// What it takes an operator to know of a failed transaction.
fn hint(error: &KafkaError) -> &'static str {
    if error.rdkafka_error_code().is_some_and(is_fenced) {
        "; another agent has sent batches of the same origin, or the transaction took longer than \
         `timeout`"
    } else {
        ""
    }
}

/// What it takes an operator to know of an offset that cannot be read.
fn pending(error: &KafkaError) -> &'static str {
    if error.rdkafka_error_code() == Some(Code::OperationTimedOut) {
        "; if the brokers are well and it stays so, a transaction hangs: the page of this sink \
         says how it is ended"
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

    /// Whether another client may get over it.
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
            // What concerns one message is found before.
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
    /// Of what goes without a transaction. None before the first opening.
    producer: Mutex<Option<Arc<Producer>>>,
    /// Of what goes in transactions.
    origins: Origins<Lane>,
    floors: FloorBoard,
    traces: Traces,
    repeated: Counter,
    transactions: Counter,
    reopened: Counter,
    /// Topics that events name.
    destinations: Destinations,
}

impl Kafka {
    /// What a further client calls.
    fn context(&self) -> Context {
        let token = self.target.token.as_ref().map(Tokens::another);
        Context { name: self.name.clone(), token, trouble: Trouble::default() }
    }

    fn known(&self) -> Option<Arc<Producer>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client; a new one after a failure that it does not get over.
    fn ready(&self) -> Result<Arc<Producer>, SendError> {
        if let Some(known) = self.known().filter(|known| !known.has_given_up()) {
            return Ok(known);
        }
        let made = Producer::new(&self.target.client, self.context(), self.env.clone());
        let made = Arc::new(made.map_err(SendError::Client)?);
        *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }

    /// Delivers a batch that may be in the topics already.
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
                Err(source) if asked == TOPIC_ASKED => {
                    return Err(SendError::Topic { topic: self.target.topic.clone(), source });
                }
                // Brokers that make the topic answer that it is not there yet.
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
        // While one half is on its way, the other one gathers.
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
