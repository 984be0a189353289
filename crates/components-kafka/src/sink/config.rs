//! The settings, and what the sink makes of them.

use std::collections::BTreeMap;

use pipeline::units::{ByteSize, Period};
use pipeline::{BuildError, EventRef, Secret};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client;

/// Settings of the `kafka` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brokers to ask first, `host:port` each; they name the others.
    pub(super) brokers: Vec<String>,
    /// Topic of each event, unless `topic_header` names another one.
    topic: String,
    /// Header whose value is the topic of its event. Events of a `kafka` source have the header
    /// `topic`: with it they would go back to where they come from.
    #[serde(default)]
    topic_header: Option<String>,
    /// Header whose value is the key of the message; empty: none. Without a partition of its own a
    /// message goes to the partition of its key, and without a key to any.
    #[serde(default = "defaults::key_header")]
    key_header: String,
    /// Header whose value is the number of the partition.
    #[serde(default)]
    partition_header: Option<String>,
    /// Partition of events without that header. By the key unless set.
    #[serde(default)]
    partition: Option<i32>,
    /// Header with the time of the message, in milliseconds since 1970. The time of sending unless
    /// set.
    #[serde(default)]
    timestamp_header: Option<String>,
    /// Headers of the message: its name, and that of the event's header.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Whether a message holds all headers of its event, as Flume's source and channel read it:
    /// Avro.
    #[serde(default)]
    write_as_flume_event: bool,
    /// How messages are compressed: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    compression: Compression,
    /// The largest message, with its key and headers; a larger one goes to the dead letters. Not
    /// more than the topic's own limit, `max.message.bytes`, which is one of whole requests.
    #[serde(default = "defaults::message_bytes_max")]
    message_bytes_max: ByteSize,
    /// How long the client gathers messages of a partition for one request.
    #[serde(default = "defaults::linger")]
    linger: Period,
    /// Batches in flight at most.
    #[serde(default = "defaults::in_flight_max")]
    pub(super) in_flight_max: usize,
    /// Whether batches of one origin arrive in their order: one is in flight at a time.
    #[serde(default)]
    pub(super) in_order: bool,
    /// How long brokers have to acknowledge a message, broken connections included. After that the
    /// batch is offered again, and messages of it may be in the topic twice.
    #[serde(default = "defaults::timeout")]
    timeout: Period,
    /// Further properties of the client, librdkafka, such as `client.id`.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    /// The same, for values that are never shown, such as `sasl.password`.
    #[serde(default)]
    secret_properties: BTreeMap<String, Secret>,
}

/// How messages are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// As the client has it.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn key_header() -> String {
        "key".into()
    }

    pub(super) fn message_bytes_max() -> ByteSize {
        ByteSize(1_000_000)
    }

    pub(super) fn linger() -> Period {
        Period(Duration::from_millis(5))
    }

    pub(super) fn in_flight_max() -> usize {
        4
    }

    pub(super) fn timeout() -> Period {
        Period(Duration::from_secs(120))
    }
}

/// Where events go, and as what.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) client: ClientConfig,
    topic: String,
    topic_header: Option<String>,
    key_header: Option<String>,
    partition_header: Option<String>,
    partition: Option<i32>,
    timestamp_header: Option<String>,
    /// Name of the message's header, and of the event's.
    pub(super) headers: Vec<(String, String)>,
    pub(super) is_flume_event: bool,
}

/// Properties that have settings of their own, or that the promises of the sink rest on.
const FIXED: &[&str] = &[
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "transactional.id",
    "compression.type",
    "compression.codec",
    "message.max.bytes",
    "batch.size",
    "linger.ms",
    "queue.buffering.max.ms",
    "queue.buffering.max.messages",
    "message.timeout.ms",
    "delivery.timeout.ms",
];

impl Config {
    pub(super) fn target(self) -> Result<Target, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.topic.is_empty() {
            return invalid("topic", "name a topic");
        }
        if self.in_flight_max == 0 {
            return invalid("in_flight_max", "at least 1");
        }
        if self.partition.is_some_and(|partition| partition < 0) {
            return invalid("partition", "partitions are counted from 0");
        }
        if !(1_000..=1_000_000_000).contains(&self.message_bytes_max.0) {
            return invalid("message_bytes_max", "from 1kB to 1GB");
        }
        if self.timeout.0.as_millis() < 1_000 || self.linger.0 * 2 > self.timeout.0 {
            return invalid("timeout", "at least 1s, and twice `linger`");
        }
        let own = [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("compression.type", self.compression.name().to_owned()),
            ("message.max.bytes", self.message_bytes_max.0.to_string()),
            // No request is larger than the largest message may be.
            ("batch.size", self.message_bytes_max.0.min(1_000_000).to_string()),
            ("linger.ms", self.linger.0.as_millis().to_string()),
            ("message.timeout.ms", self.timeout.0.as_millis().to_string()),
            // What the client holds is in the batches in flight; messages are copied into it.
            ("queue.buffering.max.messages", "100000".to_owned()),
        ];
        let (properties, secrets) = (&self.properties, &self.secret_properties);
        let client = client::configure(&self.brokers, properties, secrets, &own, FIXED)?;
        Ok(Target {
            client,
            topic: self.topic,
            topic_header: self.topic_header,
            key_header: Some(self.key_header).filter(|name| !name.is_empty()),
            partition_header: self.partition_header,
            partition: self.partition,
            timestamp_header: self.timestamp_header,
            headers: self.headers.into_iter().collect(),
            is_flume_event: self.write_as_flume_event,
        })
    }
}

/// The value of a header that is named.
fn of<'a>(event: EventRef<'a>, name: Option<&String>) -> Option<&'a str> {
    name.and_then(|name| event.header(name))
}

impl Target {
    pub(super) fn topic<'a>(&'a self, event: EventRef<'a>) -> &'a str {
        of(event, self.topic_header.as_ref()).unwrap_or(&self.topic)
    }

    pub(super) fn key<'a>(&self, event: EventRef<'a>) -> Option<&'a str> {
        of(event, self.key_header.as_ref())
    }

    /// The partition that the event asks for; an error if that is no number of one.
    pub(super) fn partition(&self, event: EventRef<'_>) -> Result<Option<i32>, ()> {
        let Some(text) = of(event, self.partition_header.as_ref()) else {
            return Ok(self.partition);
        };
        text.trim().parse().ok().filter(|number| *number >= 0).map(Some).ok_or(())
    }

    pub(super) fn timestamp(&self, event: EventRef<'_>) -> Option<i64> {
        of(event, self.timestamp_header.as_ref()).and_then(|text| text.trim().parse().ok())
    }
}
