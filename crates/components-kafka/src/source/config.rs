//! The settings, and the options derived from them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use metrics::{FloatGauge, Metrics};
use oauth::OAuth;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Secret};
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
    #[serde(default = "defaults::batch_events")]
    batch_events: usize,
    /// Approximate size limit of the bodies, keys and headers of a batch; a larger message is a
    /// batch of its own.
    #[serde(default = "defaults::batch_bytes")]
    batch_bytes: ByteSize,
    /// Time that the first event of a batch waits for others.
    #[serde(default = "defaults::batch_wait")]
    batch_wait: Period,
    /// Time that a rebalance waits until the messages read from revoked partitions are stored.
    #[serde(default = "defaults::revoke_wait")]
    revoke_wait: Period,
    /// File with the token that authenticates this client at the brokers (SASL/OAUTHBEARER),
    /// readable for the user of this process. It is read again before the token expires, and once a
    /// minute.
    #[serde(default)]
    token_file: Option<PathBuf>,
    /// OAuth 2 client credentials that fetch the token (KIP-768), instead of `token_file`. The
    /// token is renewed after half of its lifetime.
    #[serde(default)]
    oauth: Option<OAuth>,
    /// Further properties of the client, librdkafka, such as `session.timeout.ms`.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    /// Further properties whose values are never shown, such as `sasl.password`.
    #[serde(default)]
    secret_properties: BTreeMap<String, Secret>,
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
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn topic_header() -> String {
        "topic".into()
    }

    pub(super) fn batch_events() -> usize {
        10_000
    }

    pub(super) fn batch_bytes() -> ByteSize {
        ByteSize::mib(1)
    }

    pub(super) fn batch_wait() -> Period {
        Period(Duration::from_millis(200))
    }

    pub(super) fn revoke_wait() -> Period {
        Period(Duration::from_secs(30))
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
        let (properties, secrets) = (&self.properties, &self.secret_properties);
        let token = Tokens::from_settings(self.token_file, self.oauth, cx)?;
        let client =
            client::configure(&self.brokers, properties, secrets, token.as_ref(), &own, &[FIXED])?;
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
