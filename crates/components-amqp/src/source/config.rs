//! Settings of the source `amqp`.

use kit::consume::Consumed;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Amqp;
use crate::broker::{Broker, DestinationType};
use crate::message::JmsHeader;

/// Settings of the `amqp` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker and its connection settings.
    broker: Broker,
    /// Address of the messages: the name of the queue or topic.
    address: String,
    /// Kind of the address, `queue` or `topic`. The broker creates a missing address with this
    /// kind.
    destination_type: DestinationType,
    /// JMS selector over the properties of messages: `site = 'a' AND level > 3`. Default: all
    /// messages.
    #[serde(default)]
    message_selector: Option<String>,
    /// Name of a durable subscription of a topic, with `broker.client_id`: the broker keeps its
    /// messages while the agent is disconnected. Default: none.
    #[serde(default)]
    durable_subscription_name: Option<String>,
    /// Prefetch: limit of unacknowledged messages, and therefore of the events in a batch.
    #[serde(default = "pipeline::units::number_u32::<1000>")]
    credit: u32,
    /// Size limit of a message. A larger one closes the connection. Not checked with a durable
    /// subscription, which would end with the connection.
    #[serde(default = "pipeline::units::mib::<16>")]
    message_max: ByteSize,
    /// Properties of messages that become headers, by their JMS names: `JMSMessageID`,
    /// `JMSCorrelationID`, `JMSTimestamp`, `JMSExpiration`, `JMSType`, `JMSDestination`,
    /// `JMSReplyTo`, `JMSPriority`, `JMSRedelivered`, `JMSXGroupID`, `JMSXUserID`. Application
    /// properties always become headers.
    #[serde(default = "default_jms_headers")]
    jms_headers: Vec<JmsHeader>,
}

fn default_jms_headers() -> Vec<JmsHeader> {
    vec![JmsHeader::JmsMessageId, JmsHeader::JmsCorrelationId, JmsHeader::JmsTimestamp]
}

/// What a link asks for.
pub(super) struct Options {
    pub(super) address: String,
    pub(super) destination_type: DestinationType,
    pub(super) message_selector: Option<String>,
    pub(super) link_name: String,
    durable: bool,
    pub(super) credit: u32,
    pub(super) message_max: u64,
    pub(super) jms_headers: Vec<JmsHeader>,
}

impl Options {
    /// Whether the broker keeps a subscription of this source.
    pub(super) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether the broker keeps messages while there is no connection.
    pub(super) fn keeps(&self) -> bool {
        self.durable || self.destination_type == DestinationType::Queue
    }
}

impl Component for Config {
    const KIND: &'static str = "amqp";
    const ANOMALIES: &[&str] = &["message_rejected", "message_repeated"];
    const EXAMPLE: &str = "address = \"a\"\n\
        destination_type = \"queue\"\n\
        broker = { urls = [\"amqp://127.0.0.1:5672\"] }";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.address.is_empty() {
            return invalid("address", "must not be empty: set the name of a queue or topic");
        }
        if self.message_selector.as_ref().is_some_and(String::is_empty) {
            return invalid(
                "message_selector",
                "must not be empty: remove it to receive all messages",
            );
        }
        if !(1..=10_000).contains(&self.credit) {
            return invalid("credit", "must be from 1 to 10000");
        }
        if !(1 << 10..=1 << 30).contains(&self.message_max.0) {
            return invalid("message_max", "must be from 1KiB to 1GiB");
        }
        match &self.durable_subscription_name {
            Some(_) if self.destination_type == DestinationType::Queue => {
                return invalid(
                    "durable_subscription_name",
                    "has an effect only with `destination_type = \"topic\"`; set it, or remove \
                     this",
                );
            }
            Some(name) if name.is_empty() => {
                return invalid(
                    "durable_subscription_name",
                    "must not be empty: remove it, or set a value",
                );
            }
            _ => {}
        }
        let options = Options {
            durable: self.durable_subscription_name.is_some(),
            link_name: self.durable_subscription_name.unwrap_or_else(|| cx.name.to_string()),
            address: self.address,
            destination_type: self.destination_type,
            message_selector: self.message_selector,
            credit: self.credit,
            message_max: self.message_max.0,
            jms_headers: self.jms_headers,
        };
        let target = self.broker.target(cx)?;
        let amqp = Amqp { name: cx.name.clone(), options, target };
        Ok(Box::new(Consumed::new(cx, amqp)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn guarantee(more: &Value) -> Result<pipeline::Guarantee, String> {
        let settings = json!({
            "broker": { "urls": ["amqp://b:5672"] }, "address": "in", "destination_type": "topic",
        });
        kit::testkit::built::<Config>(settings, more).map(|source| source.guarantee())
    }

    #[test]
    fn messages_that_the_broker_does_not_keep_are_best_effort() {
        use pipeline::Guarantee::{AtLeastOnce, BestEffort};

        assert_eq!(guarantee(&json!({})), Ok(BestEffort));
        assert_eq!(guarantee(&json!({ "durable_subscription_name": "s" })), Ok(AtLeastOnce));
        assert_eq!(guarantee(&json!({ "destination_type": "queue" })), Ok(AtLeastOnce));
    }

    #[test]
    fn rejects_invalid_settings_and_names_setting_and_remedy() {
        for (settings, expected) in [
            (json!({ "address": "" }), "set the name"),
            (json!({ "message_selector": "" }), "remove it to receive all messages"),
            (json!({ "credit": 0 }), "from 1 to 10000"),
            (json!({ "message_max": "1B" }), "from 1KiB to 1GiB"),
            (json!({ "jms_headers": ["JMSFoo"] }), "JMSMessageID"),
            (json!({ "durable_subscription_name": "" }), "remove it"),
            (
                json!({ "destination_type": "queue", "durable_subscription_name": "s" }),
                "has an effect only with",
            ),
        ] {
            let error = guarantee(&settings).unwrap_err();
            assert!(error.contains(expected), "{settings}: {error}");
        }
    }
}
