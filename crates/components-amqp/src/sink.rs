//! `amqp`: sends each event as a message to a broker; a batch is delivered when all are accepted.
//!
//! ```text
//!   accepted              delivered
//!   rejected              the event goes to the dead letters, unless the cause is temporary
//!   released, modified    the whole batch is resent
//! ```
//!
//! If the connection ends, the whole batch is resent on another one, so a message may be delivered
//! more than once; all copies have the same message id.

mod sending;

use async_trait::async_trait;
use kit::places::Places;
use kit::refused::{Refusal, except};
use pipeline::deliver::{Deliver, Delivered, Destinations, InFlight, Requests};
use pipeline::units::Period;
use pipeline::{Batch, BuildContext, BuildError, Component, EventRef, Guarantee, Sink};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::broker::{Broker, DestinationType, Target};
use crate::connection::AmqpError;
use crate::message::{BodyForm, message_of};
use sending::{Outgoing, Sending};

/// Settings of the `amqp` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker and its connection settings.
    broker: Broker,
    /// Address of the messages: the name of the queue or topic.
    address: String,
    /// Header with the address of its event. Default: none.
    #[serde(default)]
    address_header: Option<String>,
    /// Kind of the address, `queue` or `topic`. The broker creates a missing address with this
    /// kind.
    destination_type: DestinationType,
    /// Type of the message: `bytes`, a JMS `BytesMessage`, or `text`, a JMS `TextMessage`.
    #[serde(default)]
    body: BodyForm,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<1, 30>,
    /// Time that events wait for an address of `address_header` to which the user may not send.
    /// Then they become dead letters. Events wait for `address` without a limit.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
}

impl Component for Config {
    const KIND: &'static str = "amqp";
    const LETTERS: &[&str] =
        &["invalid_address", "not_text", "too_large", "refused", "unknown_destination"];
    const EXAMPLE: &str = "address = \"a\"\n\
        destination_type = \"queue\"\n\
        broker = { urls = [\"amqp://127.0.0.1:5672\"] }";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if self.address.is_empty() {
            return Err(BuildError::invalid(
                "address",
                "must not be empty: set the name of a queue or topic",
            ));
        }
        let options = self.in_flight.options()?;
        let amqp = Amqp {
            target: self.broker.target(cx)?,
            address: self.address,
            address_header: self.address_header,
            destination_type: self.destination_type,
            body: self.body,
            places: Places::new(self.in_flight.in_flight_max),
            destinations: Destinations::new(self.destination_wait),
        };
        Ok(Box::new(Requests::new(amqp, options)))
    }
}

struct Amqp {
    target: Target,
    address: String,
    address_header: Option<String>,
    destination_type: DestinationType,
    body: BodyForm,
    places: Places<Sending>,
    destinations: Destinations,
}

impl Amqp {
    fn address_of<'a>(&'a self, event: EventRef<'a>) -> Result<&'a str, String> {
        let Some(name) = &self.address_header else { return Ok(&self.address) };
        match event.header(name) {
            Some("") => Err(format!(
                "header `{name}` (`address_header`) is empty, but must contain an address"
            )),
            Some(address) => Ok(address),
            None => Ok(&self.address),
        }
    }

    /// Returns the messages of a batch, and the events that cannot be messages.
    fn messages(&self, batch: &Batch) -> (Vec<Outgoing>, Vec<Refusal>) {
        let (mut messages, mut refused) = (Vec::new(), Vec::new());
        for event in batch.iter() {
            let place = event.index();
            // It stays the same when the batch is resent: consumers can recognise the copy.
            let id = batch.envelope.identity.map(|identity| format!("{identity}-{place}"));
            let address = match self.address_of(event) {
                Ok(address) => address.to_owned(),
                Err(detail) => {
                    refused.push(Refusal { place, reason: "invalid_address", detail });
                    continue;
                }
            };
            match message_of(event, self.body, self.address_header.as_deref(), id) {
                Ok(message) => {
                    let (is_chosen, message) = (address != self.address, message.into());
                    messages.push(Outgoing { place, address, is_chosen, message });
                }
                Err(detail) => refused.push(Refusal { place, reason: "not_text", detail }),
            }
        }
        (messages, refused)
    }
}

#[async_trait]
impl Deliver for Amqp {
    type Error = AmqpError;

    async fn probe(&self) -> Result<Option<String>, AmqpError> {
        let sending = Sending::open(&self.target, 0, self.destination_type).await?;
        let reached = self.target.dialer.connected_text(sending.address());
        sending.close().await;
        Ok(Some(reached))
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, AmqpError> {
        let (messages, mut refused) = self.messages(batch);
        let mut taken = self.places.take();
        let place = taken.place();
        let mut sending = match place.open.take().filter(Sending::is_open) {
            Some(open) => open,
            None => Sending::open(&self.target, place.number, self.destination_type).await?,
        };
        sending.send(&messages, &self.destinations, &mut refused).await?;
        place.open = Some(sending);
        Ok(except(refused))
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests;
