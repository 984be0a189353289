//! `rabbitmq`: publishes each event as a message to an exchange; a batch is delivered when the
//! broker has confirmed all of it.
//!
//! ```text
//!   confirmed    delivered
//!   returned     no queue is bound: dead letters or a retry, by the setting `unroutable`
//!   refused      the whole batch is resent
//!   rejected     the channel is closed because of one message: unconfirmed messages are resent in
//!                halves, down to that message, which goes to the dead letters
//! ```
//!
//! If the connection ends before the confirmations, the whole batch is resent on another one, so a
//! message may be delivered more than once; all copies have the same message id.

mod confirms;
mod publishing;
mod routing;

use async_trait::async_trait;
use kit::places::Places;
use kit::refused::{Refusal, except};
use pipeline::deliver::{
    Deliver, Delivered, Destinations, InFlight, Requests, UNKNOWN_DESTINATION,
};
use pipeline::env::Env;
use pipeline::units::{ByteSize, Period};
use pipeline::{Batch, BuildContext, BuildError, Component, Guarantee, Sink};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::broker::{Broker, NAME_BYTES_MAX, Target};
use crate::message::properties_of;
use crate::refusal::{OnlyRabbit, RabbitError};
use publishing::{Outgoing, Publishing, UnconfirmedBatch};
use routing::RoutingKey;

/// Settings of the `rabbitmq` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker and its connection settings.
    broker: Broker,
    /// Name of an existing exchange. `""` is the default exchange, which delivers a message to the
    /// queue that its routing key names.
    exchange: String,
    /// Routing key of the messages. `%{NAME}` is the header NAME of the event.
    #[serde(default)]
    routing_key: String,
    /// Handling of a message that no queue is bound for.
    #[serde(default)]
    unroutable: Unroutable,
    /// Size limit of a message body; a larger one becomes a dead letter. RabbitMQ accepts 16 MiB by
    /// default, and 128 MiB before version 4.
    #[serde(default = "pipeline::units::mib::<16>")]
    message_max: ByteSize,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<1, 30>,
    /// Time that events wait for a routing key that their headers select and to which the user may
    /// not publish. Then they become dead letters. Events wait without a limit for a routing key
    /// that does not depend on them.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
}

/// Handling of a message that no queue is bound for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unroutable {
    /// The event becomes a dead letter.
    #[default]
    DeadLetter,
    /// The whole batch is resent until a queue exists.
    Retry,
}

impl Component for Config {
    const KIND: &'static str = "rabbitmq";
    const LETTERS: &[&str] = &["invalid_address", "too_large", "unroutable", "unknown_destination"];
    const EXAMPLE: &str = "exchange = \"a\"\n\
        broker = { urls = [\"amqp://127.0.0.1:5672\"] }";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let options = self.in_flight.options()?;
        Ok(Box::new(Requests::new(self.rabbit(cx)?, options)))
    }
}

impl Config {
    fn rabbit(self, cx: &BuildContext) -> Result<Rabbit, BuildError> {
        let invalid = |setting: &str, problem: String| Err(BuildError::invalid(setting, problem));
        if self.exchange.len() > NAME_BYTES_MAX {
            return invalid("exchange", format!("must have at most {NAME_BYTES_MAX} bytes"));
        }
        let routing_key = match RoutingKey::new(&self.routing_key) {
            Ok(_) if self.exchange.is_empty() && self.routing_key.is_empty() => {
                let problem = "must not be empty with the default exchange: set the name of the \
                               queue";
                return invalid("routing_key", problem.into());
            }
            Ok(key) => key,
            Err(problem) => return invalid("routing_key", problem),
        };
        if !(1 << 10..=1 << 30).contains(&self.message_max.0) {
            return invalid("message_max", "must be from 1KiB to 1GiB".into());
        }
        Ok(Rabbit {
            target: self.broker.target(cx)?,
            env: cx.env.clone(),
            exchange: self.exchange,
            routing_key,
            unroutable: self.unroutable,
            message_max: self.message_max.0,
            places: Places::new(self.in_flight.in_flight_max),
            destinations: Destinations::new(self.destination_wait),
        })
    }
}

struct Rabbit {
    target: Target,
    env: Env,
    exchange: String,
    routing_key: RoutingKey,
    unroutable: Unroutable,
    message_max: u64,
    places: Places<Publishing>,
    destinations: Destinations,
}

impl Rabbit {
    /// Returns the messages of a batch, and the events that cannot be messages.
    fn messages<'a>(&self, batch: &'a Batch) -> (Vec<Outgoing<'a>>, Vec<Refusal>) {
        let (mut messages, mut refused) = (Vec::new(), Vec::new());
        // It stays the same when the batch is resent: consumers can recognise the copy.
        let of_batch = batch.id_text(&*self.env.entropy);
        for event in batch.iter() {
            let place = event.index();
            let mut refuse = |reason, detail| refused.push(Refusal { place, reason, detail });
            let routing_key = match self.routing_key.fill(event) {
                Ok(key) => key,
                Err(detail) => {
                    refuse("invalid_address", detail);
                    continue;
                }
            };
            let body = event.body();
            if body.len() as u64 > self.message_max {
                let detail = format!(
                    "the body has {} bytes, over `message_max`; raise it, or replay the message \
                     with a larger one",
                    body.len()
                );
                refuse("too_large", detail);
                continue;
            }
            match properties_of(event, &format!("{of_batch}-{place}")) {
                Ok(properties) => {
                    messages.push(Outgoing { place, routing_key, properties, body });
                }
                Err(detail) => refuse("too_large", detail),
            }
        }
        (messages, refused)
    }

    /// Returns the outcome of a message that the broker rejects individually.
    ///
    /// # Errors
    /// Fails if the user may not publish with its routing key: the batch waits for the permission.
    fn rejected(&self, one: &Outgoing<'_>, error: RabbitError) -> Result<Refusal, RabbitError> {
        let RabbitError::Other(OnlyRabbit::Message { code, problem, .. }) = &error else {
            return Err(error);
        };
        let reason = match code {
            403 if !self.routing_key.is_chosen_by_event() => return Err(error),
            403 if !self.destinations.refused(&one.routing_key, Instant::now()) => {
                return Err(error);
            }
            403 => UNKNOWN_DESTINATION,
            _ if problem.contains("larger than") => "too_large",
            _ => "refused",
        };
        Ok(Refusal { place: one.place, reason, detail: error.to_string() })
    }
}

#[async_trait]
impl Deliver for Rabbit {
    type Error = RabbitError;

    async fn probe(&self) -> Result<Option<String>, RabbitError> {
        let publishing = Publishing::open(&self.target, 0, &self.exchange).await?;
        let reached = self.target.dialer.connected_text(publishing.address());
        publishing.close().await;
        Ok(Some(reached))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, RabbitError> {
        let (messages, mut refused) = self.messages(batch);
        let mut taken = self.places.take();
        let place = taken.place();
        let mut parts = vec![messages];
        while let Some(part) = parts.pop() {
            let mut publishing = match place.open.take().filter(Publishing::is_open) {
                Some(open) => open,
                None => Publishing::open(&self.target, place.number, &self.exchange).await?,
            };
            match publishing.publish(part, self.unroutable, &mut refused).await {
                Ok(()) => place.open = Some(publishing),
                Err(UnconfirmedBatch {
                    error: error @ RabbitError::Other(OnlyRabbit::Message { .. }),
                    mut unconfirmed,
                }) => match &unconfirmed[..] {
                    [] => return Err(error),
                    [one] => refused.push(self.rejected(one, error)?),
                    _ => {
                        let second = unconfirmed.split_off(unconfirmed.len() / 2);
                        parts.extend([second, unconfirmed]);
                    }
                },
                Err(UnconfirmedBatch { error, .. }) => return Err(error),
            }
        }
        // A message that was returned before the channel closed may be returned again.
        Ok(except(refused))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests;
