//! The JMS source: addresses replace Flume's JNDI lookups.

use super::{As, Becomes, Row, by, decision, ignored, same, set};

const AGAIN: &str = "a connection that fails is made again, with back-off";

pub(super) const ROWS: &[Row] = &[Row {
    role: "source",
    name: "jms",
    classes: &["org.apache.flume.source.jms.JMSSource"],
    becomes: Becomes::Kind("amqp"),
    differs: "the broker is spoken to by AMQP 1.0, without Java and its JNDI: it needs a connector \
              for it; a map message is rejected at the broker, where Flume makes an event without \
              a body",
    keys: &[&[
        by("initialContextFactory", "*", "nothing for ActiveMQ, Artemis and Qpid"),
        ignored("connectionFactory", "ConnectionFactory", "there is no JNDI"),
        by("providerURL", "*", "`broker.urls`; of OpenWire the hosts, with the port of AMQP"),
        by("destinationName", "*", "`address`"),
        set("destinationType", "*", "destination_type", As::OneOf(TYPES)),
        decision("destinationLocator", "CDI", "write the broker's own name as `address`"),
        same("messageSelector", "", "message_selector", As::Text),
        set("batchSize", "100", "credit", As::Count),
        ignored("pollTimeout", "1000", "a message is stored as it comes"),
        ignored("errorThreshold", "10", AGAIN),
        same("userName", "", "broker.user", As::Text),
        by("passwordFile", "", "`broker.password`, a reference to the file"),
        same("clientId", "", "broker.client_id", As::Text),
        by("createDurableSubscription", "false", "`durable_subscription_name`"),
        by("durableSubscriptionName", "", "`durable_subscription_name`"),
        decision("converter.type", "DEFAULT", "classes of Java are not run here"),
        decision("converter.charset", "UTF-8", "text of AMQP stays UTF-8; convert it downstream"),
        decision("converter.*", "", "classes of Java are not run here"),
    ]],
}];

const TYPES: &[(&str, &str)] = &[("queue", "queue"), ("topic", "topic")];
