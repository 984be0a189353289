//! `mqtt`: publishes each event as a message; a batch is delivered when all are acknowledged.
//!
//! ```text
//!   QoS 0   written to the connection: delivered, as far as this side can know
//!   QoS 1   PUBACK of each message
//!   QoS 2   PUBREC, PUBREL, PUBCOMP of each message
//! ```
//!
//! If the connection ends, the whole batch is resent on another one, so a message may be delivered
//! more than once, even with QoS 2.

mod ended;
mod publishing;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use kit::places::Places;
use kit::refused::{Refusal, except};
use pipeline::deliver::{
    Deliver, Delivered, Destinations, InFlight, Requests, UNKNOWN_DESTINATION,
};
use pipeline::units::Period;
use pipeline::{Batch, BuildContext, BuildError, Component, EventRef, Guarantee, Sink};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use crate::broker::{Broker, Target};
use crate::connection::MqttError;
use crate::packets::{Publish, PublishProperties, QoS, Version, qos_of};
use crate::topic::{TopicOfEvent, check_text};
use ended::ConnectionEnds;
use publishing::{Placed, Publishing};

/// Settings of the `mqtt` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker and its connection settings.
    broker: Broker,
    /// Topic of each message, with headers of the event: `site/%{site}/log`.
    topic: String,
    /// Quality of service: 0, 1 or 2.
    #[serde(default = "default_qos")]
    qos: u8,
    /// Whether the broker retains the last message of each topic for new subscribers.
    #[serde(default)]
    retain: bool,
    /// Headers that become user properties with the same names (version 5).
    #[serde(default)]
    properties: Vec<String>,
    /// Content type of the messages (version 5). Default: none.
    #[serde(default)]
    content_type: Option<String>,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<1, 30>,
    /// Time that events wait for a topic that their headers select and that the broker does not
    /// allow. Then they become dead letters. Events wait without a limit for a topic that does not
    /// depend on them.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
}

fn default_qos() -> u8 {
    1
}

impl Component for Config {
    const KIND: &'static str = "mqtt";
    const LETTERS: &[&str] =
        &["invalid_topic", "invalid_property", "too_large", "refused", "unknown_destination"];
    const EXAMPLE: &str = "topic = \"a\"\n\
        broker = { address = \"127.0.0.1:1883\" }";
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if self.qos > 2 {
            return Err(BuildError::invalid("qos", "must be 0, 1 or 2"));
        }
        let texts =
            [("properties", &self.properties[..]), ("content_type", self.content_type.as_slice())];
        for (setting, texts) in texts {
            let checked = texts.iter().try_for_each(|text| check_text(text));
            checked.map_err(|error| BuildError::invalid(setting, error))?;
        }
        let topic =
            TopicOfEvent::new(&self.topic).map_err(|error| BuildError::invalid("topic", error))?;
        let target = self.broker.target(cx)?;
        if target.version == Version::V311
            && (!self.properties.is_empty() || self.content_type.is_some())
        {
            let problem = "has an effect only with MQTT 5; set `broker.version` to 5, or remove \
                           this";
            let setting = if self.properties.is_empty() { "content_type" } else { "properties" };
            return Err(BuildError::invalid(setting, problem));
        }
        let options = self.in_flight.options()?;
        let mqtt = Mqtt {
            target,
            topic,
            qos: qos_of(self.qos),
            retain: self.retain,
            properties: self.properties,
            content_type: self.content_type,
            places: Places::new(self.in_flight.in_flight_max),
            destinations: Destinations::new(self.destination_wait),
            ended: ConnectionEnds::default(),
        };
        Ok(Box::new(Requests::new(mqtt, options)))
    }
}

struct Mqtt {
    target: Target,
    topic: TopicOfEvent,
    qos: QoS,
    retain: bool,
    properties: Vec<String>,
    content_type: Option<String>,
    places: Places<Publishing>,
    destinations: Destinations,
    ended: ConnectionEnds,
}

impl Mqtt {
    fn properties_of(&self, event: EventRef<'_>) -> Result<PublishProperties, String> {
        let content_type = self.content_type.clone();
        let mut properties = PublishProperties { content_type, ..PublishProperties::default() };
        for name in &self.properties {
            if let Some(value) = event.header(name) {
                check_text(value).map_err(|problem| format!("header `{name}`: {problem}"))?;
                properties.user_properties.push((name.clone(), value.to_owned()));
            }
        }
        Ok(properties)
    }

    /// Returns true if the broker can refuse a topic only by the end of the connection.
    fn may_refuse_by_ending(&self) -> bool {
        self.target.version == Version::V311 && self.topic.is_chosen_by_event()
    }

    /// The events for topics that are not allowed, whose wait is over.
    ///
    /// # Errors
    /// Fails if the batch must wait for a topic.
    fn overdue(&self, not_allowed: Placed<MqttError>) -> Result<Vec<Refusal>, MqttError> {
        let (mut overdue, mut waits, now) = (Vec::new(), None, Instant::now());
        for (place, error) in not_allowed {
            let is_over = match &error {
                MqttError::NoRight { topic, .. } if self.topic.is_chosen_by_event() => {
                    self.destinations.refused(topic, now)
                }
                _ => false,
            };
            match is_over {
                true => {
                    let detail = error.to_string();
                    overdue.push(Refusal { place, reason: UNKNOWN_DESTINATION, detail });
                }
                false => {
                    waits.get_or_insert(error);
                }
            }
        }
        waits.map_or(Ok(overdue), Err)
    }

    /// Returns the messages of a batch with the positions of their events, and the events that
    /// cannot be messages.
    fn messages(&self, batch: &Batch) -> (Placed<Publish>, Vec<Refusal>) {
        let (mut messages, mut refused) = (Vec::new(), Vec::new());
        let mut topic = String::new();
        for event in batch.iter() {
            let place = event.index();
            if let Err(detail) = self.topic.fill(event, &mut topic) {
                refused.push(Refusal { place, reason: "invalid_topic", detail });
                continue;
            }
            let properties = match self.properties_of(event) {
                Ok(properties) => properties,
                Err(detail) => {
                    refused.push(Refusal { place, reason: "invalid_property", detail });
                    continue;
                }
            };
            let body = Bytes::copy_from_slice(event.body());
            let mut message = Publish::new(topic.clone(), self.qos, body, Some(properties));
            message.retain = self.retain;
            messages.push((place, message));
        }
        (messages, refused)
    }
}

fn has_ended(error: &MqttError) -> bool {
    matches!(error, MqttError::Ended { .. } | MqttError::Broken { .. })
}

fn topic_of(message: &Publish) -> Option<&str> {
    std::str::from_utf8(&message.topic).ok()
}

#[async_trait]
impl Deliver for Mqtt {
    type Error = MqttError;

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, MqttError> {
        let (mut messages, mut refused) = self.messages(batch);
        let mut taken = self.places.take();
        let place = taken.place();
        // Messages that were in flight when a connection ended are resent one at a time: if more
        // follow, the reset of the connection discards the broker's reason. The range only moves
        // forward, so the attempts end.
        let mut alone = 0..0;
        loop {
            let open = place.open.take().and_then(Publishing::if_usable);
            let mut publishing = match open {
                Some(open) => open,
                None => Publishing::open(&self.target, place.number).await?,
            };
            let before = refused.len();
            match publishing.publish(&messages, &mut refused, &alone).await {
                Ok(not_allowed) => {
                    place.open = Some(publishing);
                    self.ended.acknowledged(messages.iter().filter_map(|(_, it)| topic_of(it)));
                    refused.extend(self.overdue(not_allowed)?);
                    break;
                }
                // Some brokers close the connection after a refusal: resend without that message,
                // so that it does not block the others for ever.
                Err(_) if refused.len() > before => {
                    let known = &refused[before..];
                    messages.retain(|(event, _)| known.iter().all(|other| *event != other.place));
                }
                Err(error) => {
                    let unanswered = publishing.unanswered();
                    let first = messages.iter().find(|(event, _)| unanswered.contains(event));
                    let (Some((event, message)), true) = (first, has_ended(&error)) else {
                        return Err(error);
                    };
                    let (event, topic) = (*event, topic_of(message).unwrap_or_default());
                    if event >= alone.end {
                        alone = unanswered;
                        continue;
                    }
                    let is_refused =
                        alone.contains(&event) && self.ended.ended(topic, Instant::now());
                    if !(is_refused && self.may_refuse_by_ending()) {
                        return Err(error);
                    }
                    let (address, topic) = (self.target.address.clone(), topic.to_owned());
                    let not_allowed = vec![(event, MqttError::NoRight { address, topic })];
                    refused.extend(self.overdue(not_allowed)?);
                    messages.retain(|(other, _)| *other != event);
                }
            }
        }
        Ok(except(refused))
    }

    fn guarantee(&self) -> Guarantee {
        match self.qos {
            QoS::AtMostOnce => Guarantee::BestEffort,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Guarantee::AtLeastOnce,
        }
    }
}
