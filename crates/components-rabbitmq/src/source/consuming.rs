//! The consumer of a queue: messages come, acknowledgements go.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::basic::{AMQPMethod as Basic, Ack, Consume, Deliver, Qos, Reject};
use amq_protocol::protocol::queue::{AMQPMethod as OfQueue, Bind, Declare};
use amq_protocol::protocol::{AMQPClass, basic::AMQPProperties};
use amq_protocol::types::{FieldTable, ShortString};

use super::config::Options;
use crate::broker::Target;
use crate::connection::Connection;
use crate::frames::{Body, Incoming};
use crate::message::Received;
use crate::refusal::RabbitError;

/// A delivery: the tag of the message, and the message, or why it cannot become an event.
#[derive(Debug)]
pub(super) enum Delivered {
    Message(u64, Box<Received>),
    Unusable(u64, String),
}

/// A consumer, and the connection below it.
pub(super) struct Consuming {
    connection: Connection,
    /// What a refusal is about.
    what: String,
    message_max: u64,
}

impl Consuming {
    /// Connects, and asks for the messages of the queue.
    ///
    /// # Errors
    /// There is no connection, or the broker does not give the messages.
    pub(super) async fn open(target: &Target, options: &Options) -> Result<Self, RabbitError> {
        let message_max = options.message_max;
        let connection = Connection::open(target, &target.client_id, message_max).await?;
        let what = format!("queue `{}`", options.queue);
        let mut consuming = Self { connection, what, message_max };
        consuming.set_up(target.timeout, options).await?;
        Ok(consuming)
    }

    async fn set_up(&mut self, limit: Duration, options: &Options) -> Result<(), RabbitError> {
        let queue = ShortString::from(&*options.queue);
        let declare = Declare {
            queue: queue.clone(),
            passive: options.declare.is_none(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: options.declare.as_ref().map(|it| it.table()).unwrap_or_default(),
        };
        let declare = AMQPClass::Queue(OfQueue::Declare(declare));
        self.connection.ask(declare, &self.what, limit).await?;
        for binding in options.declare.iter().flat_map(|it| &it.bindings) {
            let bind = Bind {
                queue: queue.clone(),
                exchange: binding.exchange.as_str().into(),
                routing_key: binding.routing_key.as_str().into(),
                nowait: false,
                arguments: FieldTable::default(),
            };
            let what = format!("the binding of {} to exchange `{}`", self.what, binding.exchange);
            self.connection.ask(AMQPClass::Queue(OfQueue::Bind(bind)), &what, limit).await?;
        }
        let qos = Qos { prefetch_count: options.prefetch, global: false };
        self.connection.ask(AMQPClass::Basic(Basic::Qos(qos)), &self.what, limit).await?;
        let consume = Consume {
            queue,
            consumer_tag: "aqueduct".into(),
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.connection.ask(AMQPClass::Basic(Basic::Consume(consume)), &self.what, limit).await?;
        Ok(())
    }

    /// `host:port` of the broker.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.connection.address
    }

    /// Whether the connection is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// The broker has ended the consumer, or the connection has ended.
    pub(super) async fn next(&mut self) -> Result<Delivered, RabbitError> {
        loop {
            match self.connection.next(&self.what).await? {
                Incoming::Content(Basic::Deliver(deliver), properties, body) => {
                    return Ok(delivered(&deliver, properties, body, self.message_max));
                }
                Incoming::Method(_, AMQPClass::Basic(Basic::Cancel(_))) => {
                    let problem = format!(
                        "the broker cancelled the consumer of {}: the queue was deleted or moved \
                         to another node",
                        self.what
                    );
                    return Err(self.connection.ended(problem));
                }
                _ => {}
            }
        }
    }

    /// The broker may forget this message and all before it.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn acknowledge(&mut self, last_tag: u64) -> Result<(), RabbitError> {
        let ack = Ack { delivery_tag: last_tag, multiple: true };
        self.connection.tell(AMQPClass::Basic(Basic::Ack(ack))).await
    }

    /// The broker finds another place for this message.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn reject(&mut self, tag: u64) -> Result<(), RabbitError> {
        let reject = Reject { delivery_tag: tag, requeue: false };
        self.connection.tell(AMQPClass::Basic(Basic::Reject(reject))).await
    }

    /// Ends the connection in order, with what is queued; for so long at most.
    pub(super) async fn close(self, limit: Duration) {
        self.connection.close(limit).await;
    }
}

fn delivered(
    deliver: &Deliver,
    properties: Result<Box<AMQPProperties>, String>,
    body: Body,
    message_max: u64,
) -> Delivered {
    let tag = deliver.delivery_tag;
    match (properties, body) {
        (Err(problem), _) => Delivered::Unusable(tag, problem),
        (_, Body::Skipped(bytes)) => {
            let problem = format!(
                "its body has {bytes} bytes, over `message_max` ({message_max}), which you can \
                 raise"
            );
            Delivered::Unusable(tag, problem)
        }
        (Ok(properties), Body::Whole(body)) => Delivered::Message(
            tag,
            Box::new(Received {
                properties: *properties,
                exchange: deliver.exchange.to_string(),
                routing_key: deliver.routing_key.to_string(),
                is_repeated: deliver.redelivered,
                body,
            }),
        ),
    }
}
