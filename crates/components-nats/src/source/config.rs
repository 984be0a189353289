//! Settings of the source `nats`.

use std::time::Duration;

use kit::consume::Consumed;
use metrics::MetricSpec;
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Nats;
use crate::message::Property;
use crate::server::{Server, is_of_token};

/// Settings of the `nats` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server and its connection settings.
    server: Server,
    /// Name of an existing stream.
    stream: String,
    /// Name of the durable consumer that all collectors with this name share: each message goes to
    /// one of them, at least once. A missing consumer is created. Without it the source reads the
    /// whole stream, exactly once.
    #[serde(default)]
    consumer: Option<String>,
    /// Subjects of the stream to read, with the wildcards `*` and `>`. Default: all. More than one
    /// needs a server of version 2.10.
    #[serde(default)]
    filter: Vec<String>,
    /// First position: `all` messages, `new` messages, or a time, such as `2026-11-01T00:00:00Z`.
    #[serde(default = "default_start")]
    start: String,
    /// Acknowledgement timeout after which the server resends a message, for a `consumer` that the
    /// source creates.
    #[serde(default = "pipeline::units::seconds::<60>")]
    ack_wait: Period,
    /// Limit of messages that are requested at a time.
    #[serde(default = "pipeline::units::number_u32::<1000>")]
    prefetch: u32,
    /// Handling of a message that cannot become an event, or that is larger than a channel.
    #[serde(default)]
    unusable: Unusable,
    /// Properties of a message that become headers `nats.NAME`: `subject`, `stream`, `sequence`,
    /// `timestamp`. Headers of the message always become headers.
    #[serde(default = "default_properties")]
    properties: Vec<Property>,
}

/// Handling of a message that cannot become an event, or that is larger than a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unusable {
    /// The source stops before the message until it is deleted.
    #[default]
    Hold,
    /// The message is skipped and counted.
    Reject,
}

fn default_start() -> String {
    "all".into()
}

fn default_properties() -> Vec<Property> {
    vec![Property::Subject, Property::Sequence, Property::Timestamp]
}

/// Where reading begins when nothing was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    All,
    New,
    /// As the server reads it.
    At(String),
}

/// What is read.
pub(super) struct Options {
    pub(super) stream: String,
    pub(super) consumer: Option<String>,
    pub(super) filter: Vec<String>,
    pub(super) start: Start,
    pub(super) ack_wait: Duration,
    pub(super) prefetch: u32,
    pub(super) unusable: Unusable,
    pub(super) properties: Vec<Property>,
}

impl Options {
    /// What every consumer of these options is made with.
    pub(super) fn consumer(&self) -> Value {
        let mut config = json!({ "replay_policy": "instant", "max_deliver": -1 });
        match &*self.filter {
            [] => {}
            [one] => config["filter_subject"] = json!(one),
            several => config["filter_subjects"] = json!(several),
        }
        config
    }
}

impl Start {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "new" => Ok(Self::New),
            text => match text.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Self::At(time.to_string())),
                Err(_) => Err(format!(
                    "`{text}` is neither `all` nor `new`, nor a time such as \
                     \"2026-11-01T00:00:00Z\""
                )),
            },
        }
    }

    /// Adds it to what a consumer is made with.
    pub(super) fn put(&self, config: &mut Value) {
        let policy = match self {
            Self::All => "all",
            Self::New => "new",
            Self::At(time) => {
                config["opt_start_time"] = json!(time);
                "by_start_time"
            }
        };
        config["deliver_policy"] = json!(policy);
    }
}

/// What is wrong with a name of a stream or a consumer, if anything.
fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |it: char| is_of_token(it) && !"/\\".contains(it);
    match name.chars().all(is_allowed) {
        true if !name.is_empty() => Ok(()),
        _ => Err("must not be empty or contain dots, spaces, slashes or wildcards".into()),
    }
}

/// What is wrong with a subject, if anything.
fn check_filter(subject: &str) -> Result<(), String> {
    let words: Vec<&str> = subject.split('.').collect();
    let is_word = |at: usize| match words[at] {
        "*" => true,
        ">" => at + 1 == words.len(),
        word => !word.is_empty() && word.chars().all(is_of_token),
    };
    match (0..words.len()).all(is_word) {
        true => Ok(()),
        false => Err(format!(
            "`{subject}` is not a valid subject: use words separated by dots; `*` matches one \
             word, and `>` at the end matches all remaining words"
        )),
    }
}

impl Component for Config {
    const KIND: &'static str = "nats";
    const ANOMALIES: &[&str] = &[
        "message_rejected",
        "message_repeated",
        "messages_deleted",
        "stream_replaced",
        "stream_rewound",
    ];
    const EXAMPLE: &str = "stream = \"a\"\n\
        server = { urls = [\"nats://127.0.0.1:4222\"] }";
    const METRICS: &'static [MetricSpec] = &[MetricSpec::gauge(
        "lag_messages",
        "Messages of the stream after the last stored one, as the server reported with that one.",
    )];
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let invalid = |setting: &str| {
            let setting = setting.to_owned();
            move |problem: String| BuildError::invalid(setting, problem)
        };
        check_name(&self.stream).map_err(invalid("stream"))?;
        self.consumer.as_deref().map_or(Ok(()), check_name).map_err(invalid("consumer"))?;
        self.filter.iter().try_for_each(|it| check_filter(it)).map_err(invalid("filter"))?;
        if !(1..=100_000).contains(&self.prefetch) {
            return Err(invalid("prefetch")("must be from 1 to 100000".into()));
        }
        if !(1000..=86_400_000).contains(&self.ack_wait.0.as_millis()) {
            return Err(invalid("ack_wait")("must be from 1s to 24h".into()));
        }
        let options = Options {
            stream: self.stream,
            consumer: self.consumer,
            filter: self.filter,
            start: Start::read(&self.start).map_err(invalid("start"))?,
            ack_wait: self.ack_wait.0,
            prefetch: self.prefetch,
            unusable: self.unusable,
            properties: self.properties,
        };
        let lag = cx.scope::<Self>().gauge("lag_messages")?;
        let nats = Nats {
            name: cx.name.clone(),
            metrics: cx.metrics.clone(),
            lag,
            options,
            target: self.server.target(cx)?,
            created: String::new(),
            unstored: None,
        };
        Ok(Box::new(Consumed::new(cx, nats)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(more: &Value) -> Result<(), String> {
        let settings = json!({ "server": { "urls": ["nats://n:4222"] }, "stream": "S" });
        kit::testkit::built::<Config>(settings, more).map(drop)
    }

    #[test]
    fn rejects_invalid_settings_and_names_setting_and_remedy() {
        assert_eq!(built(&json!({ "filter": ["a.*.>"], "consumer": "c", "start": "new" })), Ok(()));
        assert_eq!(built(&json!({ "start": "2026-11-01T00:00:00+01:00" })), Ok(()));
        let server = |more: Value| {
            let mut server = json!({ "urls": ["nats://n:4222"] });
            server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "server": server })
        };
        for (settings, expected) in [
            (json!({ "stream": "" }), "`stream`: must not be empty"),
            (json!({ "stream": "a.b" }), "contain dots"),
            (json!({ "consumer": "a b" }), "`consumer`"),
            (json!({ "filter": ["a.>.b"] }), "`>` at the end"),
            (json!({ "filter": [""] }), "is not a valid subject"),
            (json!({ "start": "yesterday" }), "neither `all` nor `new`"),
            (json!({ "prefetch": 0 }), "from 1 to 100000"),
            (json!({ "ack_wait": "10ms" }), "from 1s to 24h"),
            (json!({ "unusable": "drop" }), "known: `hold`, `reject`"),
            (json!({ "properties": ["size"] }), "subject"),
            (server(json!({ "urls": [] })), "at least one"),
            (server(json!({ "urls": ["nats://a:1", "tls://b:1"] })), "or all with `tls://`"),
            (server(json!({ "tls": {} })), "only with `tls://`"),
            (server(json!({ "password": "p" })), "only with `user`"),
            (server(json!({ "domain": "a.b" })), "`server.domain`"),
            (server(json!({ "heartbeat": "1ms" })), "from 100ms"),
        ] {
            let error = built(&settings).unwrap_err();
            assert!(error.contains(expected), "{settings}: {error}");
        }
    }
}
