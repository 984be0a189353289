//! The settings, and the options derived from them.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{FloatGauge, Metrics};
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError};
use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client;
use crate::token::Tokens;

/// Settings of the `kafka` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bootstrap brokers, `host:port` each. They name the other brokers.
    pub(super) brokers: Vec<String>,
    /// Topics to read. A name that begins with `^` is a pattern, which also matches topics that are
    /// created later.
    topics: Vec<String>,
    /// Consumer group. Its members share the partitions.
    group: String,
    /// Static member id in the group, the same after each start. With it a restarted agent gets its
    /// partitions back immediately; without it after the session timeout.
    #[serde(default)]
    instance: Option<String>,
    /// Position in topics that the group has not read yet: `earliest` or `latest`. New partitions
    /// of topics that the group reads begin at their first message.
    #[serde(default)]
    start: Start,
    /// Header for the name of the topic; empty: none.
    #[serde(default = "defaults::topic_header")]
    topic_header: String,
    /// Headers of messages to keep: name of the event's header, and name of the message's header.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Whether a message is an event with headers in the Avro format of Flume's sink and channel.
    #[serde(default)]
    parse_as_flume_event: bool,
    /// Limit of events in a batch.
    #[serde(default = "pipeline::units::number::<10000>")]
    batch_events: usize,
    /// Approximate size limit of the bodies, keys and headers of a batch; a larger message is a
    /// batch of its own.
    #[serde(default = "pipeline::units::mib::<1>")]
    batch_bytes: ByteSize,
    /// Time that the first event of a batch waits for others.
    #[serde(default = "pipeline::units::millis::<200>")]
    batch_wait: Period,
    /// Time that a rebalance waits until the messages read from revoked partitions are stored.
    #[serde(default = "pipeline::units::seconds::<30>")]
    revoke_wait: Period,
    /// Access to the brokers.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    access: client::Settings,
}

/// Where a topic begins that the group has not read yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Start {
    /// The first message.
    #[default]
    Earliest,
    /// After the last message.
    Latest,
}

mod defaults {
    pub(super) fn topic_header() -> String {
        "topic".into()
    }
}

/// Options of the source.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) client: ClientConfig,
    pub(super) token: Option<Tokens>,
    pub(super) topics: Vec<String>,
    pub(super) start: Start,
    pub(super) topic_header: Option<String>,
    /// Names of the message header and the event header.
    pub(super) headers: Vec<(String, String)>,
    pub(super) is_flume_event: bool,
    pub(super) batch_events: usize,
    pub(super) batch_bytes: usize,
    pub(super) batch_wait: Duration,
    pub(super) revoke_wait: Duration,
    pub(super) metrics: Metrics,
    pub(super) lag: FloatGauge,
}

/// Properties that have their own settings, or that the source's guarantees depend on.
const FIXED: &[&str] = &[
    "group.id",
    "group.instance.id",
    "group.protocol",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "statistics.interval.ms",
];

impl Config {
    pub(super) fn options(
        self,
        metrics: Metrics,
        lag: FloatGauge,
        cx: &BuildContext,
    ) -> Result<Options, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.topics.is_empty() || self.topics.iter().any(String::is_empty) {
            return invalid(
                "topics",
                "must have at least one topic or pattern and no empty one; write for example \
                 [\"^logs-.*\"]",
            );
        }
        if self.group.is_empty() {
            return invalid("group", "must not be empty: set the name of the consumer group");
        }
        if self.batch_events == 0 {
            return invalid("batch_events", "must be at least 1");
        }
        if self.batch_bytes > ByteSize::mib(64) {
            return invalid("batch_bytes", "must be at most 64MiB");
        }
        if self.revoke_wait.0 > Duration::from_secs(120) {
            return invalid(
                "revoke_wait",
                "must be at most 2min, because the group waits for this member during a rebalance",
            );
        }
        let mut own = vec![
            ("group.id", self.group),
            ("isolation.level", "read_committed".to_owned()),
            ("enable.auto.commit", "true".to_owned()),
            ("auto.commit.interval.ms", "1000".to_owned()),
            ("enable.auto.offset.store", "false".to_owned()),
            ("auto.offset.reset", "earliest".to_owned()),
            ("topic.metadata.refresh.interval.ms", "30000".to_owned()),
            // Read-ahead of the client, for all partitions together.
            ("queued.max.messages.kbytes", "16384".to_owned()),
        ];
        own.extend(self.instance.map(|instance| ("group.instance.id", instance)));
        let token = self.access.tokens(cx)?;
        let client =
            client::configure(&self.brokers, &self.access, token.as_ref(), &own, &[FIXED])?;
        Ok(Options {
            client,
            token,
            topics: self.topics,
            start: self.start,
            topic_header: Some(self.topic_header).filter(|name| !name.is_empty()),
            headers: self.headers.into_iter().map(|(event, message)| (message, event)).collect(),
            is_flume_event: self.parse_as_flume_event,
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes.0 as usize,
            batch_wait: self.batch_wait.0,
            revoke_wait: self.revoke_wait.0,
            metrics,
            lag,
        })
    }
}
