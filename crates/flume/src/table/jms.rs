//! The JMS source: addresses replace Flume's JNDI lookups.

use super::{As, Becomes, Row, by, decision, ignored, same, set};

const AGAIN: &str = "a failed connection is retried with back-off";

pub(super) const ROWS: &[Row] = &[Row {
    role: "source",
    name: "jms",
    classes: &["org.apache.flume.source.jms.JMSSource"],
    becomes: Becomes::Kind("amqp"),
    differs: "it uses AMQP 1.0, without Java and JNDI, so the broker needs an AMQP connector; it \
              rejects map messages, which Flume turns into events without a body",
    keys: &[&[
        by(
            "initialContextFactory",
            "*",
            "ignored for ActiveMQ, Artemis and Qpid; others need a decision",
        ),
        ignored("connectionFactory", "ConnectionFactory", "JNDI is not used"),
        by("providerURL", "*", "`broker.urls`; for OpenWire, the hosts with the AMQP port"),
        by("destinationName", "*", "`address`"),
        set("destinationType", "*", "destination_type", As::OneOf(TYPES)),
        decision("destinationLocator", "CDI", "write the broker's own name as `address`"),
        same("messageSelector", "", "message_selector", As::Text),
        set("batchSize", "100", "credit", As::Count),
        ignored("pollTimeout", "1000", "messages are stored as they arrive"),
        ignored("errorThreshold", "10", AGAIN),
        same("userName", "", "broker.user", As::Text),
        by("passwordFile", "", "`broker.password`, a reference to the file"),
        same("clientId", "", "broker.client_id", As::Text),
        by("createDurableSubscription", "false", "`durable_subscription_name`"),
        by("durableSubscriptionName", "", "`durable_subscription_name`"),
        decision("converter.type", "DEFAULT", "Java classes are not supported"),
        decision("converter.charset", "UTF-8", "AMQP text stays UTF-8; convert it downstream"),
        decision("converter.*", "", "Java classes are not supported"),
    ]],
}];

const TYPES: &[(&str, &str)] = &[("queue", "queue"), ("topic", "topic")];
