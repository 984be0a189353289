//! Settings of the source `http_stream`.

use std::time::Duration;

use formats::decoders::check_names;
use kit::follow::Followed;
use metrics::MetricSpec;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Component, Secret, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HttpStream;
use super::preset::Preset;
use super::rules::{Rule, Rules};
use crate::backoff::{Backoff, Pauses};
use crate::client::{Access, is_web_socket, url_of};
use crate::round::{self, Counts, Shape, pointer};

/// Settings of the `http_stream` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Public stream: `x`, `wikimedia` or `mastodon`. It sets defaults, which the table on the page
    /// lists. Default: none.
    #[serde(default)]
    preset: Option<Preset>,
    /// URL of the stream: `http://host:port/path?query`, or `https://` for TLS; `ws://` and
    /// `wss://` for a WebSocket. Required unless the `preset` has a URL.
    #[serde(default)]
    url: Option<String>,
    /// Format of the stream: `ndjson`, a JSON value per line; `sse`, server-sent events; `lines`,
    /// any text. Each message of a WebSocket counts as a line. Default: `ndjson`.
    #[serde(default)]
    format: Option<Format>,
    /// Access to the server.
    #[serde(default)]
    access: Access,
    /// Idle timeout of the connection. Default: `60s`.
    #[serde(default)]
    idle_timeout: Option<Period>,
    /// Backoff after failures.
    #[serde(default)]
    backoff: Pauses,
    /// JSON pointer of the value in an event from which the server can resume, for `resume`.
    /// Default: the id of a server-sent event.
    #[serde(default)]
    cursor: Option<String>,
    /// URL parameter for the cursor when the stream resumes, such as `since_id`. Default: an `sse`
    /// server gets the id in `Last-Event-ID`, other servers get none.
    #[serde(default)]
    resume: Option<String>,
    /// JSON pointer of the id of an event. An event with a known id is dropped. Default: none.
    #[serde(default)]
    id: Option<String>,
    /// Minimum number of remembered ids, at most 10000.
    #[serde(default = "round::default_ids_max")]
    ids_max: usize,
    /// Messages that are sent, in order, after each connection of a WebSocket. Never shown.
    #[serde(default)]
    subscribe: Vec<Secret>,
    /// Header for the type of a server-sent event, if it has one; empty: none.
    #[serde(default = "default_event_header")]
    event_header: String,
    /// Size limit of an event. A larger one is cut.
    #[serde(default = "pipeline::units::mib::<1>")]
    event_max: ByteSize,
    /// Limit of events in a batch.
    #[serde(default = "round::default_batch_events")]
    batch_events: usize,
    /// Time that the first event of a batch waits for others.
    #[serde(default = "pipeline::units::seconds::<1>")]
    batch_wait: Period,
    /// Rules of the preset `x`. Rules of the server that are not in the list are deleted, missing
    /// ones are added. Default: the rules of the server are not changed.
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

/// Form of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// A JSON value per line.
    Ndjson,
    /// Server-sent events.
    Sse,
    /// Any text, one event per line.
    Lines,
}

fn default_event_header() -> String {
    "event".into()
}

/// How to ask the server to continue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// No compression.
    Never,
    /// With `Last-Event-ID`.
    Header,
    /// With this URL parameter.
    Parameter(String),
}

/// Options of the source.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) format: Format,
    pub(super) shape: Shape,
    pub(super) resume: Resume,
    pub(super) ids_max: usize,
    pub(super) event_max: usize,
    pub(super) idle_timeout: Duration,
    pub(super) batch_events: usize,
    pub(super) batch_wait: Duration,
}

impl Config {
    pub(super) fn options(&mut self) -> Result<Options, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let filled = self.preset.map(Preset::filled).unwrap_or_default();
        let format = self.format.or(filled.format).unwrap_or(Format::Ndjson);
        let idle_timeout = self.idle_timeout.or(filled.idle_timeout);
        let idle_timeout = idle_timeout.map_or(Duration::from_secs(60), |period| period.0);
        let id = self.id.take().or_else(|| filled.id.map(str::to_owned));
        let (id, cursor) = (pointer("id", id)?, pointer("cursor", self.cursor.take())?);
        if idle_timeout.is_zero() {
            return invalid("idle_timeout", "must be greater than 0s");
        }
        if !(1 << 10..=16 << 20).contains(&self.event_max.0) {
            return invalid("event_max", "must be from 1KiB to 16MiB");
        }
        round::check(self.ids_max, self.batch_events)?;
        if format == Format::Lines && id.is_some() {
            return invalid(
                "id",
                "has an effect only with JSON; set `format = \"ndjson\"`, or remove this",
            );
        }
        if format == Format::Lines && cursor.is_some() {
            return invalid(
                "cursor",
                "has an effect only with JSON; set `format = \"ndjson\"`, or remove this",
            );
        }
        self.backoff.check()?;
        let resume = match self.resume.take().filter(|name| !name.is_empty()) {
            Some(name) if cursor.is_some() || format == Format::Sse => Resume::Parameter(name),
            Some(_) => {
                return invalid(
                    "resume",
                    "has an effect only with `cursor`, whose value it sends; set `cursor`, or \
                     remove this",
                );
            }
            None if cursor.is_some() => {
                return invalid(
                    "cursor",
                    "has an effect only with `resume`, the parameter that sends it; set `resume`, \
                     or remove this",
                );
            }
            None if format == Format::Sse => Resume::Header,
            None => Resume::Never,
        };
        let kind_header = Some(std::mem::take(&mut self.event_header)).filter(|it| !it.is_empty());
        check_names(kind_header.iter().map(String::as_str))
            .map_err(|error| BuildError::invalid("event_header", error))?;
        // Server-sent events may contain any text; they are treated as JSON if a value must be
        // extracted.
        let is_json = format == Format::Ndjson || id.is_some() || cursor.is_some();
        Ok(Options {
            format,
            shape: Shape { is_json, id, cursor, kind_header },
            resume,
            ids_max: self.ids_max,
            event_max: usize::try_from(self.event_max.0).expect("checked to be at most 16 MiB"),
            idle_timeout,
            batch_events: self.batch_events,
            batch_wait: self.batch_wait.0,
        })
    }
}

impl Config {
    /// Rejects settings that do not apply to a WebSocket.
    fn check_web_socket(&self, format: Format) -> Result<(), BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.preset.is_some() {
            return invalid(
                "preset",
                "cannot be combined with a WebSocket in `url`: remove one of the two",
            );
        }
        if format == Format::Sse {
            let problem = "must be `ndjson` (JSON messages) or `lines` for a WebSocket";
            return invalid("format", problem);
        }
        Ok(())
    }
}

impl Component for Config {
    const KIND: &'static str = "http_stream";
    const ANOMALIES: &[&str] =
        &["cursor_too_long", "event_cut", "event_repeated", "event_unfinished", "not_json"];
    const EXAMPLE: &str = r#"url = "http://127.0.0.1:8080/""#;
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("connections", "Streams that a server has started."),
        MetricSpec::counter(
            "gap_seconds",
            "Time without a connection whose events the server cannot resend.",
        ),
    ];
    type Role = dyn Source;

    fn build(mut self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let options = self.options()?;
        let filled = self.preset.map(Preset::filled).unwrap_or_default();
        let url = self.url.take().or_else(|| filled.url.map(str::to_owned));
        let Some(url) = url else {
            let problem = "must be the URL of a stream; write for example \"https://host/stream\"";
            return Err(BuildError::invalid("url", problem));
        };
        let uri = url_of(&url, &["http", "https", "ws", "wss"])?;
        if is_web_socket(&uri) {
            self.check_web_socket(options.format)?;
        } else if !self.subscribe.is_empty() {
            let problem = "has an effect only with a WebSocket; write `wss://` in `url`, or remove \
                           this";
            return Err(BuildError::invalid("subscribe", problem));
        }
        let rules = match self.rules {
            Some(_) if self.preset != Some(Preset::X) => {
                let problem = "has an effect only with `preset = \"x\"`; set it, or remove this";
                return Err(BuildError::invalid("rules", problem));
            }
            Some(rules) => Some(Rules::new(rules, &uri)?),
            None => None,
        };
        let accept = match options.format {
            Format::Sse => "text/event-stream",
            Format::Ndjson | Format::Lines => "*/*",
        };
        let client = self.access.client(uri, accept, cx)?;
        let scope = cx.scope::<Self>();
        let source = HttpStream {
            name: cx.name.clone(),
            env: cx.env.clone(),
            options,
            client,
            rules,
            subscribe: self.subscribe,
            counts: Counts { source: cx.name.clone(), metrics: cx.metrics.clone() },
            connections: scope.counter("connections")?,
            gap_seconds: scope.counter("gap_seconds")?,
            backoff: Backoff::new(self.backoff),
            pause: None,
            progress: None,
            lost_at: None,
        };
        Ok(Box::new(Followed::new(cx, source)))
    }
}
