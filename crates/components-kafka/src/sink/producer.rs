//! The client, and what becomes of the messages that it was given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipeline::Env;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use crate::client;

/// What is known of the messages of a batch.
pub(super) struct Pending {
    /// Messages that the client has, and one until all were handed over.
    left: AtomicUsize,
    failed: Mutex<Vec<(usize, Code)>>,
    done: Notify,
}

impl Pending {
    pub(super) fn new() -> Arc<Self> {
        let (left, failed, done) = (AtomicUsize::new(1), Mutex::default(), Notify::new());
        Arc::new(Self { left, failed, done })
    }

    /// The client gets one more.
    pub(super) fn begin(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// The client has one less.
    pub(super) fn end(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    /// The event at this place is not acknowledged.
    pub(super) fn failed(&self, index: usize, code: Code) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((index, code));
    }

    /// Waits until it is known of each, and answers those that are not acknowledged. Once only.
    pub(super) async fn outcome(&self) -> Vec<(usize, Code)> {
        self.end();
        self.done.notified().await;
        std::mem::take(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A message in the client: an allocation next to the several that the client makes for each.
pub(super) struct Handed {
    pub(super) pending: Arc<Pending>,
    pub(super) index: usize,
}

struct Context {
    name: Arc<str>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(&self.name, level, facility, text);
    }

    fn error(&self, error: KafkaError, text: &str) {
        client::log_error(&self.name, &error, text);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Handed>;

    fn delivery(&self, result: &DeliveryResult<'_>, handed: Box<Handed>) {
        if let Err((error, _)) = result {
            handed.pending.failed(handed.index, code(error));
        }
        handed.pending.end();
    }
}

fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}

/// A client with a thread of its own for answers.
pub(super) struct Producer {
    /// None once it is closed.
    client: Option<ThreadedProducer<Context>>,
    env: Env,
}

/// Its end takes up to half a second.
impl Drop for Producer {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            self.env.blocking.run(Box::new(move || drop(client)));
        }
    }
}

impl Producer {
    pub(super) fn new(config: &ClientConfig, name: Arc<str>, env: Env) -> Result<Self, KafkaError> {
        let client = config.create_with_context(Context { name })?;
        Ok(Self { client: Some(client), env })
    }

    fn client(&self) -> &ThreadedProducer<Context> {
        self.client.as_ref().expect("it is taken when the producer goes")
    }

    /// Whether it needs to be replaced.
    pub(super) fn has_given_up(&self) -> bool {
        self.client().client().fatal_error().is_some()
    }

    /// Asks a broker for something. Blocks.
    pub(super) fn ask(&self, limit: Duration) -> Result<(), KafkaError> {
        client::reach(self.client().client(), limit)
    }

    pub(super) fn send(&self, record: BaseRecord<'_, str, [u8], Box<Handed>>) -> Result<(), Code> {
        self.client().send(record).map_err(|(error, _)| code(&error))
    }
}
