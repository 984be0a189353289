//! Settings of the source `rabbitmq`.

use std::collections::BTreeMap;

use amq_protocol::types::{AMQPValue, FieldTable};
use kit::consume::Consumed;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rabbit;
use crate::broker::{Broker, check_name};
use crate::message::Property;

/// Settings of the `rabbitmq` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker and its connection settings.
    broker: Broker,
    /// Name of the queue. It must exist, or be created by `declare`.
    queue: String,
    /// Creates the queue with these properties. An existing queue must have the same ones. Default:
    /// the queue is not created.
    #[serde(default)]
    declare: Option<Declare>,
    /// Prefetch: limit of unacknowledged messages, and therefore of the events in a batch.
    #[serde(default = "pipeline::units::number_u16::<1000>")]
    prefetch: u16,
    /// Size limit of a message body. A larger message cannot become an event: see `unusable`.
    #[serde(default = "pipeline::units::mib::<16>")]
    message_max: ByteSize,
    /// Handling of a message that cannot become an event, or that is larger than a channel.
    #[serde(default)]
    unusable: Unusable,
    /// Properties of a message that become headers `rabbitmq.NAME`: `message_id`, `correlation_id`,
    /// `timestamp`, `content_type`, `content_encoding`, `type`, `reply_to`, `expiration`,
    /// `priority`, `user_id`, `app_id`, `exchange`, `routing_key`, `redelivered`. Headers of the
    /// message always become headers.
    #[serde(default = "default_properties")]
    properties: Vec<Property>,
}

/// A queue that is made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Declare {
    /// Type of the queue. Queues are always durable.
    #[serde(default)]
    pub(super) queue_type: QueueType,
    /// Further arguments, by name: `{ x-dead-letter-exchange = "letters" }`.
    #[serde(default)]
    pub(super) arguments: BTreeMap<String, Argument>,
    /// Exchanges that the queue is bound to. They must exist.
    #[serde(default)]
    pub(super) bindings: Vec<Binding>,
}

/// How a broker keeps a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueueType {
    /// On one node.
    #[default]
    Classic,
    /// On several nodes; a majority of them stores each message.
    Quorum,
}

/// A value of an argument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Argument {
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

/// An exchange that gives a queue messages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binding {
    /// Name of the exchange.
    pub(super) exchange: String,
    /// Routing key, or a pattern of keys for a topic exchange, such as `logs.#`.
    #[serde(default)]
    pub(super) routing_key: String,
}

/// Handling of a message that cannot become an event, or that is larger than a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unusable {
    /// The message stays in the queue, and the source stops before it until it is removed.
    #[default]
    Hold,
    /// The broker moves the message to the dead letter exchange of the queue, or deletes it if
    /// there is none.
    Reject,
}

fn default_properties() -> Vec<Property> {
    vec![
        Property::MessageId,
        Property::Timestamp,
        Property::ContentType,
        Property::Exchange,
        Property::RoutingKey,
        Property::Redelivered,
    ]
}

/// What a consumer asks for.
pub(super) struct Options {
    pub(super) queue: String,
    pub(super) declare: Option<Declare>,
    pub(super) prefetch: u16,
    pub(super) message_max: u64,
    pub(super) unusable: Unusable,
    pub(super) properties: Vec<Property>,
}

impl Declare {
    /// What is wrong with it, if anything: the setting and the cause.
    fn check(&self) -> Result<(), (&'static str, String)> {
        for (name, value) in &self.arguments {
            check_name(name).map_err(|cause| ("declare.arguments", cause))?;
            if name == "x-queue-type" {
                let cause = "set `queue_type` instead of `x-queue-type`".to_owned();
                return Err(("declare.arguments", cause));
            }
            if *value == Argument::Text(String::new()) {
                return Err(("declare.arguments", format!("`{name}` is empty: remove it")));
            }
        }
        for binding in &self.bindings {
            check_name(&binding.exchange).map_err(|cause| {
                (
                    "declare.bindings",
                    format!(
                        "the exchange {cause}; remove a binding to the default exchange, which \
                         every queue has"
                    ),
                )
            })?;
            if !binding.routing_key.is_empty() {
                check_name(&binding.routing_key)
                    .map_err(|cause| ("declare.bindings", format!("the routing key {cause}")))?;
            }
        }
        Ok(())
    }

    /// The arguments of the queue.
    pub(super) fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in &self.arguments {
            let value = match value {
                Argument::Flag(it) => AMQPValue::Boolean(*it),
                Argument::Number(it) => AMQPValue::LongLongInt(*it),
                Argument::Text(it) => AMQPValue::LongString(it.as_str().into()),
            };
            table.insert(name.as_str().into(), value);
        }
        if self.queue_type == QueueType::Quorum {
            table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        table
    }
}

impl Component for Config {
    const KIND: &'static str = "rabbitmq";
    const ANOMALIES: &[&str] = &["message_rejected", "message_repeated"];
    const EXAMPLE: &str = "queue = \"a\"\n\
        broker = { urls = [\"amqp://127.0.0.1:5672\"] }";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let invalid = |setting: &str, problem: String| Err(BuildError::invalid(setting, problem));
        if let Err(problem) = check_name(&self.queue) {
            return invalid("queue", problem);
        }
        if self.prefetch == 0 {
            return invalid("prefetch", "must be from 1 to 65535".into());
        }
        if !(1 << 10..=1 << 30).contains(&self.message_max.0) {
            return invalid("message_max", "must be from 1KiB to 1GiB".into());
        }
        if let Some(Err((setting, problem))) = self.declare.as_ref().map(Declare::check) {
            return invalid(setting, problem);
        }
        let options = Options {
            queue: self.queue,
            declare: self.declare,
            prefetch: self.prefetch,
            message_max: self.message_max.0,
            unusable: self.unusable,
            properties: self.properties,
        };
        let target = self.broker.target(cx)?;
        let rabbit = Rabbit { name: cx.name.clone(), options, target };
        Ok(Box::new(Consumed::new(cx, rabbit)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn built(more: &Value) -> Result<(), String> {
        let settings = json!({ "broker": { "urls": ["amqp://b:5672"] }, "queue": "in" });
        kit::testkit::built::<Config>(settings, more).map(drop)
    }

    #[test]
    fn rejects_invalid_settings_and_names_setting_and_remedy() {
        let bound = |exchange: &str| json!({ "bindings": [{ "exchange": exchange }] });
        assert_eq!(built(&json!({ "declare": bound("logs") })), Ok(()));
        for (settings, expected) in [
            (json!({ "queue": "" }), "`queue`: must not be empty"),
            (json!({ "queue": "a".repeat(256) }), "at most 255"),
            (json!({ "prefetch": 0 }), "from 1 to 65535"),
            (json!({ "message_max": "1B" }), "from 1KiB to 1GiB"),
            (json!({ "unusable": "drop" }), "known: `hold`, `reject`"),
            (json!({ "properties": ["size"] }), "message_id"),
            (json!({ "declare": bound("") }), "default exchange"),
            (json!({ "declare": { "arguments": { "x-queue-type": "quorum" } } }), "queue_type"),
            (json!({ "broker": { "urls": [] } }), "at least one"),
            (
                json!({ "broker": { "urls": ["amqp://b:5672"], "heartbeat": "1500ms" } }),
                "whole seconds",
            ),
        ] {
            let error = built(&settings).unwrap_err();
            assert!(error.contains(expected), "{settings}: {error}");
        }
    }

    #[test]
    fn arguments_have_the_types_that_brokers_compare() {
        let declare: Declare = serde_json::from_value(json!({
            "queue_type": "quorum",
            "arguments": { "x-max-length": 5, "x-overflow": "reject-publish", "x-flag": true },
        }))
        .unwrap();
        let table = declare.table();
        let value = |name: &str| table.inner().get(name).cloned().unwrap();
        assert_eq!(value("x-max-length"), AMQPValue::LongLongInt(5));
        assert_eq!(value("x-overflow"), AMQPValue::LongString("reject-publish".into()));
        assert_eq!(value("x-flag"), AMQPValue::Boolean(true));
        assert_eq!(value("x-queue-type"), AMQPValue::LongString("quorum".into()));
        assert!(Declare::default().table().inner().is_empty());
    }
}
