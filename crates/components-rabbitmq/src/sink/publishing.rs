//! A connection that publishes one batch at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::basic::{AMQPMethod as Basic, AMQPProperties, Publish, Return};
use amq_protocol::protocol::exchange::{AMQPMethod as OfExchange, Declare};
use amq_protocol::protocol::{AMQPClass, confirm};
use amq_protocol::types::{FieldTable, ShortString};
use kit::refused::Refusal;

use super::Unroutable;
use super::confirms::{Confirm, ConfirmError, Confirms};
use crate::broker::Target;
use crate::connection::{CHANNEL, Connection};
use crate::frames::{self, Incoming};
use crate::refusal::RabbitError;

/// Time limit for closing a connection.
const GOODBYE: Duration = Duration::from_secs(1);

/// An outgoing message.
#[derive(Clone)]
pub(super) struct Outgoing<'a> {
    /// Position of its event in the batch.
    pub(super) place: usize,
    pub(super) routing_key: String,
    /// Properties with a message id.
    pub(super) properties: AMQPProperties,
    pub(super) body: &'a [u8],
}

/// Messages of which some are not confirmed.
pub(super) struct UnconfirmedBatch<'a> {
    pub(super) error: RabbitError,
    /// Unconfirmed messages, in their order.
    pub(super) unconfirmed: Vec<Outgoing<'a>>,
}

/// State of the current batch.
struct Batch<'a> {
    /// Positions by message id, to identify returned messages.
    places: BTreeMap<ShortString, usize>,
    unroutable: Unroutable,
    refused: &'a mut Vec<Refusal>,
}

/// A connection for publishing.
pub(super) struct Publishing {
    connection: Connection,
    confirms: Confirms,
    exchange: ShortString,
    /// Description of the request, for errors.
    what: String,
}

impl Publishing {
    /// Connects as the client with this number, and checks that the exchange exists.
    ///
    /// # Errors
    /// Fails if it cannot connect, or the exchange does not exist.
    pub(super) async fn open(
        target: &Target,
        number: usize,
        exchange: &str,
    ) -> Result<Self, RabbitError> {
        let client_id = match number {
            0 => target.client_id.to_string(),
            more => format!("{}-{more}", target.client_id),
        };
        // Only returned messages arrive with a body, which this side has already.
        let connection = Connection::open(target, &client_id, 0).await?;
        let what = format!("exchange `{exchange}`");
        let mut publishing =
            Self { connection, confirms: Confirms::default(), exchange: exchange.into(), what };
        publishing.set_up(target.timeout).await?;
        Ok(publishing)
    }

    async fn set_up(&mut self, limit: Duration) -> Result<(), RabbitError> {
        if !self.exchange.as_str().is_empty() {
            let declare = Declare {
                exchange: self.exchange.clone(),
                kind: "".into(),
                passive: true,
                durable: false,
                auto_delete: false,
                internal: false,
                nowait: false,
                arguments: FieldTable::default(),
            };
            let declare = AMQPClass::Exchange(OfExchange::Declare(declare));
            self.connection.ask(declare, &self.what, limit).await?;
        }
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.connection.ask(AMQPClass::Confirm(select), "confirmations", limit).await?;
        Ok(())
    }

    /// Returns `host:port` of the broker.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.connection.address
    }

    /// Returns true if the connection is open, as far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open() && self.connection.is_quiet()
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        self.connection.close(GOODBYE).await;
    }

    /// Sends messages, and waits until each is confirmed. Adds messages that can never be delivered
    /// to `refused`.
    ///
    /// # Errors
    /// Fails if the connection has ended, or the broker refuses. Unconfirmed messages may have been
    /// stored.
    pub(super) async fn publish<'a>(
        &mut self,
        messages: Vec<Outgoing<'a>>,
        unroutable: Unroutable,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), UnconfirmedBatch<'a>> {
        let (first, mut handled) = (self.confirms.next(), Vec::with_capacity(messages.len()));
        let error = match self.publish_all(&messages, &mut handled, unroutable, refused).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let sent = handled.iter().filter_map(|(at, is_sent)| is_sent.then_some(*at));
        let sent: Vec<usize> = sent.collect();
        let open = self
            .confirms
            .open_since(first)
            .filter_map(|number| usize::try_from(number).ok().and_then(|number| sent.get(number)));
        let unconfirmed =
            open.copied().chain(handled.len()..messages.len()).map(|at| messages[at].clone());
        Err(UnconfirmedBatch { error, unconfirmed: unconfirmed.collect() })
    }

    /// Sends messages, and adds the position of each processed one to `handled`, with whether it
    /// was sent.
    async fn publish_all(
        &mut self,
        messages: &[Outgoing<'_>],
        handled: &mut Vec<(usize, bool)>,
        unroutable: Unroutable,
        refused: &mut Vec<Refusal>,
    ) -> Result<(), RabbitError> {
        let mut batch = Batch { places: BTreeMap::new(), unroutable, refused };
        for (at, one) in messages.iter().enumerate() {
            let publish = Publish {
                exchange: self.exchange.clone(),
                routing_key: one.routing_key.as_str().into(),
                mandatory: true,
                immediate: false,
            };
            let (id, properties) = (one.properties.message_id().clone(), one.properties.clone());
            let frame_max = self.connection.frame_max;
            let frames = frames::message(CHANNEL, frame_max, publish, properties, one.body);
            handled.push((at, frames.is_some()));
            let Some(frames) = frames else {
                let detail = format!(
                    "the headers do not fit into a frame of {frame_max} bytes; raise `frame_max` \
                     of the broker, or remove headers"
                );
                batch.refused.push(Refusal { place: one.place, reason: "too_large", detail });
                continue;
            };
            batch.places.insert(id.unwrap_or_default(), one.place);
            self.confirms.sent();
            self.connection.send(frames).await?;
        }
        while !self.confirms.is_complete() {
            let incoming = self.connection.next(&self.what).await?;
            self.heard(incoming, &mut batch)?;
        }
        Ok(())
    }

    fn heard(&mut self, incoming: Incoming, batch: &mut Batch<'_>) -> Result<(), RabbitError> {
        let (said, tag, all_before) = match incoming {
            Incoming::Content(Basic::Return(returned), properties, _) => {
                let id = properties.ok().and_then(|it| it.message_id().clone());
                return self.returned(&returned, id, batch);
            }
            Incoming::Method(_, AMQPClass::Basic(Basic::Ack(ack))) => {
                (Confirm::Confirmed, ack.delivery_tag, ack.multiple)
            }
            Incoming::Method(_, AMQPClass::Basic(Basic::Nack(nack))) => {
                (Confirm::Refused, nack.delivery_tag, nack.multiple)
            }
            _ => return Ok(()),
        };
        match self.confirms.heard(said, tag, all_before) {
            Ok(()) => Ok(()),
            Err(ConfirmError::Refused(count)) => Err(self.not_taken(format!(
                "the broker rejected {count} messages, which are resent; a queue may be full or \
                 unavailable"
            ))),
            Err(ConfirmError::Unknown(tag)) => Err(self
                .connection
                .ended(format!("the broker confirmed the unknown message {tag}"))),
        }
    }

    /// Handles a message without a bound queue. The broker also confirms it, after this.
    fn returned(
        &self,
        returned: &Return,
        id: Option<ShortString>,
        batch: &mut Batch<'_>,
    ) -> Result<(), RabbitError> {
        let problem = format!(
            "no queue is bound to {} for the routing key `{}`: {} {}",
            self.what, returned.routing_key, returned.reply_code, returned.reply_text
        );
        if batch.unroutable == Unroutable::Retry {
            return Err(RabbitError::NotGranted {
                address: self.connection.address.clone(),
                problem: format!(
                    "returned a message: {problem}; bind a queue, or correct `routing_key`"
                ),
            });
        }
        let Some(place) = id.and_then(|id| batch.places.remove(&id)) else {
            return Err(self
                .connection
                .ended(format!("the broker returned an unknown message ({problem})")));
        };
        batch.refused.push(Refusal { place, reason: "unroutable", detail: problem });
        Ok(())
    }

    fn not_taken(&self, problem: String) -> RabbitError {
        RabbitError::NotTaken { address: self.connection.address.clone(), problem }
    }
}
