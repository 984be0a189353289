//! The settings, and the target derived from them.

use std::sync::Arc;
use std::time::Duration;

use ::channel::remote::Limits;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::Deserialize;

use super::consumer::Context;
use crate::client;
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
    #[serde(default = "pipeline::units::mib::<8192>")]
    capacity: ByteSize,
    /// Limit of the number of events. Default: no limit.
    #[serde(default)]
    capacity_events: Option<u64>,
    /// Size of the newest events that stay in memory, for sinks that keep up.
    #[serde(default = "pipeline::units::mib::<8>")]
    tail_memory: ByteSize,
    /// Compression of records: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    compression: Compression,
    /// Size limit of a record. A larger batch is stored as several records. At most
    /// `max.message.bytes` of the topics.
    #[serde(default = "pipeline::units::bytes::<1000000>")]
    record_bytes_max: ByteSize,
    /// Transaction timeout, including reconnects. The brokers abort a transaction that is idle for
    /// this time. Puts wait without a limit.
    #[serde(default = "pipeline::units::seconds::<60>")]
    timeout: Period,
    /// Access to the brokers.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    access: client::Settings,
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
        Context::new(self.name.clone(), token)
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
        let tokens = self.access.tokens(cx)?;
        let token = tokens.as_ref();
        let configure = |own: &[(&str, String)]| {
            client::configure(&self.brokers, &self.access, token, own, FIXED)
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
