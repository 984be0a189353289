//! Settings of the source `mqtt`.

use std::time::Duration;

use bytes::Bytes;
use formats::decoders::check_names;
use kit::consume::Consumed;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mqtt;
use super::session::{IDS_MAX, Session};
use crate::broker::Broker;
use crate::packets::{LastWill, LastWillProperties, QoS, RetainForwardRule, qos_of};
use crate::topic::{Pattern, check_filter, check_topic, overlap};

/// Settings of the `mqtt` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker and its connection settings.
    broker: Broker,
    /// Topic filters, such as `site/+/sensor/#`. No topic may match two of them. Collectors that
    /// share the messages use the same `$share/GROUP/FILTER`.
    filters: Vec<String>,
    /// Quality of service of the subscription: 0, 1 or 2. A message that was sent with a lower one
    /// keeps it.
    #[serde(default = "default_qos")]
    qos: u8,
    /// Limit of unacknowledged messages from the broker: up to 680 with a `qos` of 2. Brokers with
    /// version 3.1.1 have their own setting for it, which must not be greater.
    #[serde(default = "pipeline::units::number_u16::<500>")]
    in_flight_max: u16,
    /// Session expiry: time for which the broker keeps the messages of a disconnected agent.
    /// Brokers with version 3.1.1 have their own setting for it. `0s`: not kept.
    #[serde(default = "pipeline::units::seconds::<604800>")]
    session_expiry: Period,
    /// Retained messages to receive: `new` for new subscriptions, `every` for each connection,
    /// `never` for none.
    #[serde(default)]
    retained: Retained,
    /// Size limit of a packet. Brokers with version 5 skip larger packets; with 3.1.1 they close
    /// the connection.
    #[serde(default = "pipeline::units::mib::<1>")]
    packet_max: ByteSize,
    /// Limit of events in a batch.
    #[serde(default = "pipeline::units::number::<1000>")]
    batch_events: usize,
    /// Keep-alive: time without a packet after which the broker is pinged.
    #[serde(default = "pipeline::units::seconds::<30>")]
    keep_alive: Period,
    /// Header for the topic.
    #[serde(default = "default_topic_header")]
    topic_header: String,
    /// Topic patterns that set headers: `site/+site/sensor/+sensor` sets `site` and `sensor`.
    /// `#rest` at the end names all further levels. The first matching pattern applies.
    #[serde(default)]
    topic_patterns: Vec<String>,
    /// User properties (version 5) that become headers of the same name.
    #[serde(default)]
    properties: Vec<String>,
    /// Header for the content type (version 5). Default: none.
    #[serde(default)]
    content_type_header: Option<String>,
    /// Header that is `true` in an event that the broker may have delivered before. Default: none.
    #[serde(default)]
    repeat_header: Option<String>,
    /// Will message, which the broker sends if the agent disconnects unexpectedly. Default: none.
    #[serde(default)]
    will: Option<Will>,
}

/// Which retained messages are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Retained {
    /// With a subscription that is new for the broker.
    #[default]
    New,
    /// With each connection.
    Every,
    /// None.
    Never,
}

/// What the broker sends when the agent ends without a goodbye.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Will {
    /// Topic of the message.
    topic: String,
    /// Text of the message.
    payload: String,
    /// Quality of service of the message: 0, 1 or 2.
    #[serde(default)]
    qos: u8,
    /// Whether the broker retains the message for new subscribers.
    #[serde(default)]
    retain: bool,
    /// Delay in which the agent may reconnect (version 5).
    #[serde(default)]
    delay: Option<Period>,
}

fn default_qos() -> u8 {
    1
}

fn default_topic_header() -> String {
    "topic".into()
}

/// What a connection asks for.
pub(super) struct Options {
    pub(super) filters: Vec<String>,
    pub(super) qos: QoS,
    pub(super) in_flight_max: u16,
    pub(super) session_expiry_seconds: u32,
    pub(super) retained: Retained,
    pub(super) packet_max: u32,
    pub(super) batch_events: usize,
    pub(super) keep_alive: Duration,
    pub(super) headers: Headers,
    pub(super) will: Option<LastWill>,
}

/// Which headers an event gets.
pub(super) struct Headers {
    pub(super) topic: String,
    pub(super) patterns: Vec<Pattern>,
    pub(super) properties: Vec<String>,
    pub(super) content_type: Option<String>,
    pub(super) repeat: Option<String>,
}

impl Retained {
    pub(super) fn rule(self) -> RetainForwardRule {
        match self {
            Self::New => RetainForwardRule::OnNewSubscribe,
            Self::Every => RetainForwardRule::OnEverySubscribe,
            Self::Never => RetainForwardRule::Never,
        }
    }
}

impl Will {
    fn packet(self) -> Result<LastWill, BuildError> {
        if self.qos > 2 {
            return Err(BuildError::invalid("will.qos", "must be 0, 1 or 2"));
        }
        if self.payload.len() > usize::from(u16::MAX) {
            return Err(BuildError::invalid("will.payload", "must have at most 65535 bytes"));
        }
        check_topic(&self.topic).map_err(|error| BuildError::invalid("will.topic", error))?;
        let properties = self.delay.map(|delay| LastWillProperties {
            delay_interval: Some(seconds(delay)),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        });
        let (topic, qos) = (Bytes::from(self.topic), qos_of(self.qos));
        Ok(LastWill { topic, message: self.payload.into(), qos, retain: self.retain, properties })
    }
}

/// Whole seconds, as the protocol has them.
fn seconds(period: Period) -> u32 {
    u32::try_from(period.0.as_secs()).unwrap_or(u32::MAX)
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        let invalid = |setting: &str, problem: String| Err(BuildError::invalid(setting, problem));
        if self.filters.is_empty() {
            return invalid(
                "filters",
                "must have at least one filter; `#` matches every topic".into(),
            );
        }
        for filter in &self.filters {
            check_filter(filter).map_err(|error| BuildError::invalid("filters", error))?;
        }
        if let Some((one, other)) = overlap(&self.filters) {
            let problem = format!(
                "a topic can match both `{one}` and `{other}`, so the broker may send its \
                 messages twice: remove one, or use one wider filter"
            );
            return invalid("filters", problem);
        }
        if self.qos > 2 {
            return invalid("qos", "must be 0, 1 or 2".into());
        }
        let most = if self.qos == 2 { IDS_MAX } else { usize::from(u16::MAX) };
        if !(1..=most).contains(&usize::from(self.in_flight_max)) {
            return invalid("in_flight_max", format!("must be from 1 to {most}"));
        }
        if !(1 << 10..=16 << 20).contains(&self.packet_max.0) {
            return invalid("packet_max", "must be from 1KiB to 16MiB".into());
        }
        if self.batch_events == 0 {
            return invalid("batch_events", "must be at least 1".into());
        }
        if !(1..=u64::from(u16::MAX)).contains(&self.keep_alive.0.as_secs()) {
            return invalid("keep_alive", "must be from 1s to 65535s".into());
        }
        Ok(())
    }

    fn headers(&mut self) -> Result<Headers, BuildError> {
        let patterns = self.topic_patterns.iter().map(|text| Pattern::new(text));
        let patterns = patterns.collect::<Result<Vec<_>, _>>();
        let patterns = patterns.map_err(|error| BuildError::invalid("topic_patterns", error))?;
        let checked = [
            ("topic_header", vec![self.topic_header.as_str()]),
            ("topic_patterns", patterns.iter().flat_map(Pattern::names).collect()),
            ("properties", self.properties.iter().map(String::as_str).collect()),
            ("content_type_header", self.content_type_header.iter().map(String::as_str).collect()),
            ("repeat_header", self.repeat_header.iter().map(String::as_str).collect()),
        ];
        for (setting, names) in checked {
            check_names(names.into_iter()).map_err(|error| BuildError::invalid(setting, error))?;
        }
        Ok(Headers {
            topic: std::mem::take(&mut self.topic_header),
            patterns,
            properties: std::mem::take(&mut self.properties),
            content_type: self.content_type_header.take(),
            repeat: self.repeat_header.take(),
        })
    }
}

impl Component for Config {
    const KIND: &'static str = "mqtt";
    const ANOMALIES: &[&str] = &[
        "message_known",
        "message_put_off",
        "message_repeated",
        "qos_lowered",
        "retained_dropped",
        "session_lost",
    ];
    const EXAMPLE: &str = "filters = [\"a/#\"]\n\
        broker = { address = \"127.0.0.1:1883\" }";
    type Role = dyn Source;

    fn build(mut self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        self.check()?;
        let headers = self.headers()?;
        let options = Options {
            filters: self.filters,
            qos: qos_of(self.qos),
            in_flight_max: self.in_flight_max,
            session_expiry_seconds: seconds(self.session_expiry),
            retained: self.retained,
            packet_max: u32::try_from(self.packet_max.0).expect("checked to be at most 16 MiB"),
            batch_events: self.batch_events,
            keep_alive: self.keep_alive.0,
            headers,
            will: self.will.map(Will::packet).transpose()?,
        };
        let mqtt = Mqtt {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            target: self.broker.target(cx)?,
            session: Session::default(),
            is_known: false,
            is_loaded: false,
            put_off: None,
            is_storing: false,
            is_subscribed: false,
            keep_alive: options.keep_alive,
            forgets: false,
            options,
        };
        Ok(Box::new(Consumed::new(cx, mqtt)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn built(more: &Value) -> Result<(), String> {
        let settings = json!({ "broker": { "address": "127.0.0.1:1883" }, "filters": ["a/#"] });
        kit::testkit::built::<Config>(settings, more).map(drop)
    }

    #[test]
    fn rejects_invalid_settings_and_names_setting_and_remedy() {
        assert_eq!(built(&json!({ "filters": ["a/#", "b/+", "$share/g/c"] })), Ok(()));
        for (settings, expected) in [
            (json!({ "filters": [] }), "`filters`: must have at least one filter"),
            (json!({ "filters": ["a/#/b"] }), "`filters`"),
            (json!({ "filters": ["a/#", "a/b"] }), "both `a/#` and `a/b`"),
            (json!({ "filters": ["$share/g/a", "a"] }), "use one wider filter"),
            (json!({ "qos": 3 }), "`qos`: must be 0, 1 or 2"),
            (json!({ "in_flight_max": 0 }), "from 1 to 65535"),
            (json!({ "qos": 2, "in_flight_max": 681 }), "from 1 to 680"),
            (json!({ "packet_max": "1B" }), "from 1KiB to 16MiB"),
            (json!({ "batch_events": 0 }), "`batch_events`"),
            (json!({ "keep_alive": "100ms" }), "from 1s to 65535s"),
            (json!({ "topic_patterns": ["a/#b/c"] }), "`topic_patterns`"),
            (json!({ "properties": [""] }), "`properties`"),
            (json!({ "will": { "topic": "a/+", "payload": "" } }), "`will.topic`"),
            (json!({ "will": { "topic": "a", "payload": "", "qos": 3 } }), "`will.qos`"),
        ] {
            let Err(error) = built(&settings) else { panic!("{settings} is accepted") };
            assert!(error.contains(expected), "{settings}: {error}");
        }
    }
}
