//! The settings, and the target derived from them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oauth::OAuth;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, EventRef, Origin, Secret};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client;
use crate::token::Tokens;

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
    /// Batches in flight at most: 4 unless set. With `exactly_once` 16: of those that wait behind
    /// one of their origin up to half become one transaction.
    #[serde(default)]
    in_flight_max: Option<usize>,
    /// Whether batches of one origin arrive in their order: one request of it is in flight at a
    /// time.
    #[serde(default)]
    in_order: bool,
    /// Whether batches go in transactions, so that readers of what is committed
    /// (`isolation.level=read_committed`) see each event once.
    #[serde(default)]
    exactly_once: bool,
    /// What says which batches are delivered, for `exactly_once`.
    #[serde(default)]
    ledger: LedgerConfig,
    /// How long brokers have to acknowledge a message, broken connections included. After that the
    /// batch is offered again, and messages of it may be in the topic twice unless `exactly_once`
    /// is set. A transaction that nothing is heard of is given up by the brokers after this time.
    #[serde(default = "defaults::timeout")]
    timeout: Period,
    /// How long events wait for a topic that `topic_header` names, and that does not exist or does
    /// not allow this client to write. After that they are dead letters. `topic` is waited for
    /// without a limit.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
    /// File with the token that proves this client to the brokers (SASL/OAUTHBEARER), readable
    /// for the user of this process. It is read again before the token expires, and once a minute.
    #[serde(default)]
    token_file: Option<PathBuf>,
    /// Where the token is fetched by the client credentials of OAuth 2 (KIP-768), in the place of
    /// `token_file`: again when half of its life is over.
    #[serde(default)]
    oauth: Option<OAuth>,
    /// Further properties of the client, librdkafka, such as `client.id`.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    /// The same, for values that are never shown, such as `sasl.password`.
    #[serde(default)]
    secret_properties: BTreeMap<String, Secret>,
}

/// The offsets of groups that say which batches are delivered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LedgerConfig {
    /// Under what this sink is found. Sinks that may get the same batches for the same topics have
    /// the same name, those of one name on all collectors among them. Transactional ids and groups
    /// are `aqueduct-NAME-ORIGIN`. The sink's own name unless set.
    name: Option<String>,
    /// Origins that have a client of their own at a time. One more takes the place of the one that
    /// was not used for longest, which takes the time of several answers.
    origins_max: usize,
    /// The most that is kept of an origin: `offset.metadata.max.bytes` of the brokers.
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

    pub(super) fn timeout() -> Period {
        Period(Duration::from_secs(120))
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
    /// Returns the target of a sink with this name.
    pub(super) fn target(self, cx: &BuildContext) -> Result<Target, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.topic.is_empty() {
            return invalid("topic", "name a topic");
        }
        if self.in_flight_max == Some(0) {
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
        if self.exactly_once && self.timeout.0 > TRANSACTION_MAX {
            return invalid("timeout", "brokers take no transaction of over 15 minutes");
        }
        let ledger = self.ledger.name.unwrap_or_else(|| cx.name.to_string());
        if ledger.is_empty() || ledger.len() > 128 || ledger.contains(char::is_control) {
            return invalid("ledger.name", "from 1 to 128 bytes, without control characters");
        }
        if self.ledger.origins_max == 0 {
            return invalid("ledger.origins_max", "at least 1");
        }
        if !(256..=1_000_000).contains(&self.ledger.bytes_max.0) {
            return invalid("ledger.bytes_max", "from 256B to 1MB");
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
        let (properties, secrets) = (&self.properties, &self.secret_properties);
        let tokens = Tokens::of(self.token_file, self.oauth, cx)?;
        let token = tokens.as_ref();
        let client = client::configure(&self.brokers, properties, secrets, token, &own, FIXED)?;
        let own = [("isolation.level", "read_committed"), ("enable.auto.commit", "false")];
        let own = own.map(|(name, value)| (name, value.to_owned()));
        let reader = client::configure(&self.brokers, properties, secrets, token, &own, FIXED)?;
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
