//! The settings, and the target derived from them.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, EventRef, Origin};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client;
use crate::token::Tokens;

/// Settings of the `kafka` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bootstrap brokers, `host:port` each. They name the other brokers.
    pub(super) brokers: Vec<String>,
    /// Topic of events for which `topic_header` names no other topic.
    topic: String,
    /// Header with the topic of its event. Events of a `kafka` source have the header `topic`: with
    /// this name they would return to the topic they come from.
    #[serde(default)]
    topic_header: Option<String>,
    /// Header with the key of the message; empty: none. A message without a partition is sent to
    /// the partition of its key, or to any partition if it has no key.
    #[serde(default = "defaults::key_header")]
    key_header: String,
    /// Header with the partition number.
    #[serde(default)]
    partition_header: Option<String>,
    /// Partition of events without that header. Default: selected by the key.
    #[serde(default)]
    partition: Option<i32>,
    /// Header with the time of the message, in milliseconds since 1970. Default: the time of
    /// sending.
    #[serde(default)]
    timestamp_header: Option<String>,
    /// Headers of the message: their names, and the names of the event's headers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Whether a message contains all headers of its event, in the Avro format of Flume's source
    /// and channel.
    #[serde(default)]
    write_as_flume_event: bool,
    /// Compression of messages: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    compression: Compression,
    /// Size limit of a message with its key and headers; a larger one becomes a dead letter. At
    /// most `max.message.bytes` of the topic, which limits whole requests.
    #[serde(default = "pipeline::units::bytes::<1000000>")]
    message_bytes_max: ByteSize,
    /// Time for which the client collects messages of a partition for one request.
    #[serde(default = "pipeline::units::millis::<5>")]
    linger: Period,
    /// Limit of batches in flight. Default: 4, or 16 with `exactly_once`; up to half of them, if
    /// they wait for a transaction of their origin, form the next transaction.
    #[serde(default)]
    in_flight_max: Option<usize>,
    /// Whether batches of one origin are delivered in order: one request of the origin is in flight
    /// at a time.
    #[serde(default)]
    in_order: bool,
    /// Whether batches are sent in transactions, so that readers of committed messages
    /// (`isolation.level=read_committed`) see each event once.
    #[serde(default)]
    exactly_once: bool,
    /// Record of the delivered batches, for `exactly_once`.
    #[serde(default)]
    ledger: LedgerConfig,
    /// Timeout for the acknowledgement of a message, including reconnects. Then the batch is
    /// resent, and without `exactly_once` its messages may be in the topic twice. The brokers abort
    /// a transaction that is idle for this time.
    #[serde(default = "pipeline::units::seconds::<120>")]
    timeout: Period,
    /// Time that events wait for a topic of `topic_header` that does not exist or that this client
    /// may not write to. Then they become dead letters. Events wait for `topic` without a limit.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
    /// Access to the brokers.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    access: client::Settings,
}

/// The offsets of groups that say which batches are delivered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LedgerConfig {
    /// Name of this sink in the record. Give the same name to sinks that may receive the same
    /// batches for the same topics, such as the same sink on all collectors. Transactional ids and
    /// groups are `aqueduct-NAME-ORIGIN`. Default: the name of the sink.
    name: Option<String>,
    /// Limit of origins with their own client. A further origin replaces the least recently used
    /// one, which takes several round trips.
    origins_max: usize,
    /// Size limit of the record of an origin: `offset.metadata.max.bytes` of the brokers.
    bytes_max: ByteSize,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { name: None, origins_max: 16, bytes_max: ByteSize(4096) }
    }
}

/// How messages are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// Returns the name in the client's settings.
    pub(crate) fn name(self) -> &'static str {
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
    pub(super) fn key_header() -> String {
        "key".into()
    }
}

/// Topic and format of the events.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) client: ClientConfig,
    /// For the client that reads the ledger.
    pub(super) reader: ClientConfig,
    /// Tokens for both clients.
    pub(super) token: Option<Tokens>,
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) in_flight_max: usize,
    pub(super) in_order: bool,
    pub(super) is_exactly_once: bool,
    pub(super) ledger: String,
    pub(super) origins_max: usize,
    pub(super) ledger_bytes_max: usize,
    pub(super) timeout: Duration,
    pub(super) destination_wait: Period,
    topic_header: Option<String>,
    key_header: Option<String>,
    partition_header: Option<String>,
    partition: Option<i32>,
    timestamp_header: Option<String>,
    /// Names of the message header and the event header.
    pub(super) headers: Vec<(String, String)>,
    pub(super) is_flume_event: bool,
}

/// Properties that have their own settings, or that the sink's guarantees depend on.
const FIXED: &[&[&str]] = &[client::OF_PRODUCERS, &["queue.buffering.max.messages"]];

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        let timeout = self.timeout.0;
        let rules = [
            (!self.topic.is_empty(), "topic", "must not be empty: set the name of a topic"),
            (self.in_flight_max != Some(0), "in_flight_max", "must be at least 1"),
            (self.partition.is_none_or(|it| it >= 0), "partition", "must be at least 0"),
            (
                (1_000..=1_000_000_000).contains(&self.message_bytes_max.0),
                "message_bytes_max",
                "must be from 1kB to 1GB",
            ),
            (
                timeout.as_millis() >= 1_000 && self.linger.0 * 2 <= timeout,
                "timeout",
                "must be at least 1s and at least twice `linger`",
            ),
            (
                !self.exactly_once || timeout <= TRANSACTION_MAX,
                "timeout",
                "must be at most 15min with `exactly_once`, the default transaction limit of \
                 brokers",
            ),
            (self.ledger.origins_max > 0, "ledger.origins_max", "must be at least 1"),
            (
                (256..=1_000_000).contains(&self.ledger.bytes_max.0),
                "ledger.bytes_max",
                "must be from 256B to 1MB",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, setting, problem)) => Err(BuildError::invalid(setting, problem)),
            None => Ok(()),
        }
    }

    /// Returns the target of a sink with this name.
    pub(super) fn target(self, cx: &BuildContext) -> Result<Target, BuildError> {
        self.check()?;
        let ledger = self.ledger.name.unwrap_or_else(|| cx.name.to_string());
        if ledger.is_empty() || ledger.len() > 128 || ledger.contains(char::is_control) {
            let problem = "must have from 1 to 128 bytes, without control characters";
            return Err(BuildError::invalid("ledger.name", problem));
        }
        let own = [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("compression.type", self.compression.name().to_owned()),
            ("message.max.bytes", self.message_bytes_max.0.to_string()),
            // No request may exceed the maximum message size.
            ("batch.size", self.message_bytes_max.0.min(1_000_000).to_string()),
            ("linger.ms", self.linger.0.as_millis().to_string()),
            ("message.timeout.ms", self.timeout.0.as_millis().to_string()),
            ("transaction.timeout.ms", self.timeout.0.as_millis().to_string()),
            // The batches in flight limit the messages, which are copied into the client.
            ("queue.buffering.max.messages", "100000".to_owned()),
        ];
        let tokens = self.access.tokens(cx)?;
        let token = tokens.as_ref();
        let client = client::configure(&self.brokers, &self.access, token, &own, FIXED)?;
        let own = [("isolation.level", "read_committed"), ("enable.auto.commit", "false")];
        let own = own.map(|(name, value)| (name, value.to_owned()));
        let reader = client::configure(&self.brokers, &self.access, token, &own, FIXED)?;
        Ok(Target {
            client,
            reader,
            token: tokens,
            brokers: joined(self.brokers),
            topic: self.topic,
            in_flight_max: self.in_flight_max.unwrap_or(if self.exactly_once { 16 } else { 4 }),
            in_order: self.in_order,
            is_exactly_once: self.exactly_once,
            ledger,
            origins_max: self.ledger.origins_max,
            ledger_bytes_max: self.ledger.bytes_max.0 as usize,
            timeout: self.timeout.0,
            destination_wait: self.destination_wait,
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

/// Joins the brokers in an order that does not depend on the configuration.
fn joined(mut brokers: Vec<String>) -> String {
    brokers.sort_unstable();
    brokers.join(",")
}

/// Default `transaction.max.timeout.ms` of the brokers.
const TRANSACTION_MAX: Duration = Duration::from_secs(15 * 60);

/// Returns the value of a header, if its name is set.
fn of<'a>(event: EventRef<'a>, name: Option<&String>) -> Option<&'a str> {
    name.and_then(|name| event.header(name))
}

impl Target {
    /// Returns the id that admits one client at a time, and names its ledger.
    pub(super) fn transactional_id(&self, origin: Origin) -> String {
        format!("aqueduct-{}-{origin}", self.ledger)
    }

    pub(super) fn topic<'a>(&'a self, event: EventRef<'a>) -> &'a str {
        of(event, self.topic_header.as_ref()).unwrap_or(&self.topic)
    }

    pub(super) fn key<'a>(&self, event: EventRef<'a>) -> Option<&'a str> {
        of(event, self.key_header.as_ref())
    }

    /// Returns the partition that the event requests; an error if it is not a partition number.
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
