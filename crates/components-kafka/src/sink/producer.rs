//! The client, and the results of its messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipeline::Env;
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::sync::{Notify, RwLock};

use super::reasons::Failed;
use crate::client::{self, Delivery};

/// Results of a batch's messages.
pub(super) struct Pending {
    /// Messages in the client, plus one until all are handed over.
    left: AtomicUsize,
    failed: Mutex<Failed>,
    /// At most one task waits.
    news: Notify,
}

impl Pending {
    pub(super) fn new() -> Arc<Self> {
        let (left, failed, news) = (AtomicUsize::new(1), Mutex::default(), Notify::new());
        Arc::new(Self { left, failed, news })
    }

    /// Counts a message handed to the client.
    pub(super) fn begin(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a finished message.
    pub(super) fn end(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.news.notify_one();
        }
    }

    /// Records an event that is not acknowledged.
    pub(super) fn failed(&self, index: usize, code: Code) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((index, code));
        self.news.notify_one();
    }

    /// Records that all messages are handed over. Call once, before waiting.
    pub(super) fn all_handed_over(&self) {
        self.end();
    }

    /// Returns whether a message has failed so far.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Waits until all are acknowledged, or one has failed.
    pub(super) async fn done_or_failed(&self) {
        while !self.is_done() && !self.has_failed() {
            self.news.notified().await;
        }
    }

    /// Waits for all results. Returns the events that are not acknowledged.
    pub(super) async fn outcome(&self) -> Failed {
        while !self.is_done() {
            self.news.notified().await;
        }
        std::mem::take(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// User data of a message: one allocation in addition to the client's own.
pub(super) struct Handed {
    pub(super) pending: Arc<Pending>,
    pub(super) index: usize,
}

/// Callbacks of the client.
pub(super) type Context = client::Context<Handed>;

impl Delivery for Handed {
    fn delivered(self, result: &DeliveryResult<'_>) {
        if let Err((error, _)) = result {
            self.pending.failed(self.index, code(error));
        }
        self.pending.end();
    }
}

fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}

/// A client with its own thread for responses.
pub(super) struct Producer {
    /// `None` after it is closed.
    client: Option<ThreadedProducer<Context>>,
    env: Env,
    /// Whether messages are always in transactions.
    pub(super) is_transactional: bool,
    /// Locked for reading while a batch is sent; for writing by a batch that must be alone.
    pub(super) alone: RwLock<()>,
}

/// Dropping it takes up to half a second.
impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.env.blocking.run(Box::new(move || drop(client)));
        }
    }
}

impl Producer {
    pub(super) fn new(
        config: &ClientConfig,
        context: Context,
        env: Env,
    ) -> Result<Self, KafkaError> {
        let client = Some(config.create_with_context(context)?);
        let is_transactional = config.get("transactional.id").is_some();
        Ok(Self { client, env, is_transactional, alone: RwLock::default() })
    }

    fn client(&self) -> &ThreadedProducer<Context> {
        self.client.as_ref().expect("it is taken when the producer goes")
    }

    /// Returns whether it must be replaced.
    pub(super) fn must_be_replaced(&self) -> bool {
        self.client().client().fatal_error().is_some()
    }

    /// Returns why a broker cannot be used.
    pub(super) fn trouble(&self) -> String {
        self.client().client().context().broker_failure.last()
    }

    /// Sends a request to a broker. Blocks.
    pub(super) fn ask(&self, limit: Duration) -> Result<(), KafkaError> {
        client::reach(self.client().client(), limit)
    }

    /// Requests a topic, which brokers with automatic creation create. Blocks.
    pub(super) fn ask_for(&self, topic: &str, limit: Duration) -> Result<(), KafkaError> {
        let metadata = self.client().client().fetch_metadata(Some(topic), limit)?;
        let error = metadata.topics().first().and_then(MetadataTopic::error);
        error.map_or(Ok(()), |error| Err(KafkaError::MetadataFetch(error.into())))
    }

    /// Ends the transactions of other clients with the same transactional id, and fences these
    /// clients. Blocks, like all following methods.
    pub(super) fn init(&self, limit: Duration) -> Result<(), KafkaError> {
        self.client().init_transactions(limit)
    }

    pub(super) fn begin(&self) -> Result<(), KafkaError> {
        self.client().begin_transaction()
    }

    /// Adds a group's offset to the transaction.
    pub(super) fn add(
        &self,
        offset: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        limit: Duration,
    ) -> Result<(), KafkaError> {
        self.client().send_offsets_to_transaction(offset, group, limit)
    }

    pub(super) fn commit(&self, limit: Duration) -> Result<(), KafkaError> {
        self.client().commit_transaction(limit)
    }

    /// Aborts the transaction, including messages that are not yet sent.
    pub(super) fn abort(&self, limit: Duration) -> Result<(), KafkaError> {
        self.client().abort_transaction(limit)
    }

    pub(super) fn send(&self, record: BaseRecord<'_, str, [u8], Box<Handed>>) -> Result<(), Code> {
        self.client().send(record).map_err(|(error, _)| code(&error))
    }
}
