//! The settings, and the target derived from them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::channel::remote::Limits;
use oauth::OAuth;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Secret};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::Deserialize;

use super::consumer::Context;
use crate::client::{self, BrokerFailure};
use crate::sink::Compression;
use crate::token::Tokens;

/// The `kafka` channel keeps events in a topic until every sink has committed them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bootstrap brokers, `host:port` each. They name the other brokers.
    brokers: Vec<String>,
    /// Topic that contains the events. It has one partition. Nothing else may write to it.
    topic: String,
    /// Topic that contains the delivered ranges, the positions of sources and the identities.
    /// Default: the name of `topic` with `-state` appended.
    #[serde(default)]
    state_topic: Option<String>,
    /// Number of replicas with which missing topics are created. Use 3 if a broker may lose its
    /// disk. Without this setting the topics must exist.
    #[serde(default)]
    create_with_replicas: Option<i32>,
    /// Size limit of the events in the topic. When it is full, puts wait.
    #[serde(default = "defaults::capacity")]
    capacity: ByteSize,
    /// Limit of the number of events. Default: no limit.
    #[serde(default)]
    capacity_events: Option<u64>,
    /// Size of the newest events that stay in memory, for sinks that keep up.
    #[serde(default = "defaults::tail_memory")]
    tail_memory: ByteSize,
    /// Compression of records: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    compression: Compression,
    /// Size limit of a record. A larger batch is stored as several records. At most
    /// `max.message.bytes` of the topics.
    #[serde(default = "defaults::record_bytes_max")]
    record_bytes_max: ByteSize,
    /// Transaction timeout, including reconnects. The brokers abort a transaction that is idle for
    /// this time. Puts wait without a limit.
    #[serde(default = "defaults::timeout")]
    timeout: Period,
    /// File with the token that authenticates this client at the brokers (SASL/OAUTHBEARER),
    /// readable for the user of this process. It is read again before the token expires, and once a
    /// minute.
    #[serde(default)]
    token_file: Option<PathBuf>,
    /// OAuth 2 client credentials that fetch the token (KIP-768), instead of `token_file`. The
    /// token is renewed after half of its lifetime.
    #[serde(default)]
    oauth: Option<OAuth>,
    /// Further properties of the client, librdkafka, such as `security.protocol`.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    /// Further properties whose values are never shown, such as `sasl.password`.
    #[serde(default)]
    secret_properties: BTreeMap<String, Secret>,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn capacity() -> ByteSize {
        ByteSize(8 << 30)
    }

    pub(super) fn tail_memory() -> ByteSize {
        ByteSize::mib(8)
    }

    pub(super) fn record_bytes_max() -> ByteSize {
        ByteSize(1_000_000)
    }

    pub(super) fn timeout() -> Period {
        Period(Duration::from_secs(60))
    }
}

/// The log's topics and client settings.
pub(super) struct Target {
    pub(super) name: Arc<str>,
    pub(super) producer: ClientConfig,
    pub(super) consumer: ClientConfig,
    pub(super) admin: ClientConfig,
    /// Tokens for all clients.
    pub(super) token: Option<Tokens>,
    pub(super) topic: String,
    pub(super) state_topic: String,
    pub(super) replicas: Option<i32>,
    pub(super) record_bytes_max: usize,
    pub(super) timeout: Duration,
}

/// Properties that have their own settings, or that the channel's guarantees depend on.
const FIXED: &[&[&str]] = &[
    client::OF_PRODUCERS,
    &["enable.partition.eof", "auto.offset.reset", "allow.auto.create.topics"],
];

/// Overhead of a record besides its value.
const AROUND: u64 = 1_024;
const CAPACITY_MIN: u64 = 1 << 20;
/// Default `transaction.max.timeout.ms` of the brokers.
const TRANSACTION_MAX: Duration = Duration::from_secs(15 * 60);

/// Returns the id that determines the owner of the topic: the last `init_transactions` call wins.
fn transactional_id(topic: &str) -> String {
    format!("aqueduct-channel-{topic}")
}

impl Target {
    pub(super) fn transactional_id(&self) -> String {
        transactional_id(&self.topic)
    }

    /// Creates the callbacks of another client.
    pub(super) fn context(&self) -> Context {
        let token = self.token.as_ref().map(Tokens::for_another_client);
        Context { name: self.name.clone(), token, broker_failure: BrokerFailure::default() }
    }
}

impl Config {
    fn state_topic(&self) -> String {
        self.state_topic.clone().unwrap_or_else(|| format!("{}-state", self.topic))
    }

    fn check(&self) -> Result<(), BuildError> {
        let state_topic = self.state_topic();
        let rules = [
            (!self.topic.is_empty(), "topic", "must name a topic that only this channel writes to"),
            (
                !state_topic.is_empty() && state_topic != self.topic,
                "state_topic",
                "must differ from `topic`; remove it for the default, the name in `topic` with \
                 `-state` appended",
            ),
            (
                self.create_with_replicas.is_none_or(|replicas| replicas >= 1),
                "create_with_replicas",
                "must be at least 1; use 3 if a broker may lose its disk",
            ),
            (self.capacity.0 >= CAPACITY_MIN, "capacity", "must be at least 1MiB"),
            (self.capacity_events != Some(0), "capacity_events", "must be at least 1"),
            (
                (10_000..=100_000_000).contains(&self.record_bytes_max.0),
                "record_bytes_max",
                "must be from 10kB to 100MB",
            ),
            (
                (Duration::from_secs(1)..=TRANSACTION_MAX).contains(&self.timeout.0),
                "timeout",
                "must be from 1s to 15min, the default transaction limit of brokers",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, setting, problem)) => Err(BuildError::invalid(setting, problem)),
            None => Ok(()),
        }
    }

    /// Returns the topics and the capacity of a channel.
    pub(super) fn target(self, cx: &BuildContext) -> Result<(Target, Limits), BuildError> {
        self.check()?;
        let state_topic = self.state_topic();
        let timeout = self.timeout.0.as_millis().to_string();
        let own = [
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("transactional.id", transactional_id(&self.topic)),
            ("transaction.timeout.ms", timeout.clone()),
            ("message.timeout.ms", timeout),
            ("compression.type", self.compression.name().to_owned()),
            ("message.max.bytes", self.record_bytes_max.0.to_string()),
            ("batch.size", self.record_bytes_max.0.min(1_000_000).to_string()),
            // A group is complete when it is handed over.
            ("linger.ms", "0".to_owned()),
        ];
        let tokens = Tokens::from_settings(self.token_file, self.oauth, cx)?;
        let token = tokens.as_ref();
        let configure = |own: &[(&str, String)]| {
            let (properties, secrets) = (&self.properties, &self.secret_properties);
            client::configure(&self.brokers, properties, secrets, token, own, FIXED)
        };
        let producer = configure(&own)?;
        let own = [
            // The consumer never joins a group, but the client requires a name.
            ("group.id", "aqueduct-channel".to_owned()),
            ("isolation.level", "read_committed".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.partition.eof", "true".to_owned()),
            ("auto.offset.reset", "error".to_owned()),
            ("allow.auto.create.topics", "false".to_owned()),
            ("queued.max.messages.kbytes", "4096".to_owned()),
        ];
        let (consumer, admin) = (configure(&own)?, configure(&[])?);
        let limits = Limits {
            capacity_bytes: self.capacity.0,
            capacity_events: self.capacity_events.unwrap_or(u64::MAX),
            tail_bytes: self.tail_memory.0,
        };
        let target = Target {
            name: cx.name.clone(),
            producer,
            consumer,
            admin,
            token: tokens,
            topic: self.topic,
            state_topic,
            replicas: self.create_with_replicas,
            record_bytes_max: (self.record_bytes_max.0 - AROUND) as usize,
            timeout: self.timeout.0,
        };
        Ok((target, limits))
    }
}
