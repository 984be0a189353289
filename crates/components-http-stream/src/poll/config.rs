//! Settings of the source `http_poll`.

use std::time::Duration;

use kit::follow::Followed;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use super::HttpPoll;
use crate::backoff::{Backoff, Pauses};
use crate::client::{Access, HTTP, url_of};
use crate::round::{self, Counts, Shape, pointer};

/// Settings of the `http_poll` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the list: `http://host:port/path?query`, or `https://` for TLS. The response is JSON.
    url: String,
    /// Interval between the starts of two polls.
    #[serde(default = "pipeline::units::seconds::<60>")]
    interval: Period,
    /// Access to the server.
    #[serde(default)]
    access: Access,
    /// Backoff after failures.
    #[serde(default)]
    backoff: Pauses,
    /// JSON pointer of the array of events, such as `/data`. Default: the response is the array. A
    /// value that is not an array is one event.
    #[serde(default)]
    items: Option<String>,
    /// JSON pointer of a value in an event, for `resume`. The largest value is the cursor.
    #[serde(default)]
    cursor: Option<String>,
    /// URL parameter for the cursor, such as `since_id`.
    #[serde(default)]
    resume: Option<String>,
    /// JSON pointer of the id of an event. An event with a known id is dropped. Default: none.
    #[serde(default)]
    id: Option<String>,
    /// Minimum number of remembered ids, at most 10000.
    #[serde(default = "round::default_ids_max")]
    ids_max: usize,
    /// JSON pointer of the link to the next page, such as `/meta/next_token`. Default: the header
    /// `Link` with `rel=next`.
    #[serde(default)]
    next: Option<String>,
    /// URL parameter for the value of `next`. Default: the value is a URL.
    #[serde(default)]
    next_parameter: Option<String>,
    /// Limit of pages in a poll.
    #[serde(default = "pipeline::units::number::<1000>")]
    pages_max: usize,
    /// Size limit of a page. It is in memory while it is read.
    #[serde(default = "pipeline::units::mib::<8>")]
    page_max: ByteSize,
    /// Limit of events in a batch.
    #[serde(default = "round::default_batch_events")]
    batch_events: usize,
}

/// Options of the source.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) interval: Duration,
    pub(super) items: Option<String>,
    pub(super) shape: Shape,
    pub(super) resume: Option<String>,
    pub(super) ids_max: usize,
    pub(super) next: Option<String>,
    pub(super) next_parameter: Option<String>,
    pub(super) pages_max: usize,
    pub(super) page_max: usize,
    pub(super) batch_events: usize,
}

impl Config {
    fn options(&mut self) -> Result<Options, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let id = pointer("id", self.id.take())?;
        let cursor = pointer("cursor", self.cursor.take())?;
        let resume = self.resume.take().filter(|name| !name.is_empty());
        if self.interval.0 < Duration::from_millis(100) {
            return invalid("interval", "must be at least 100ms");
        }
        if !(1..=100_000).contains(&self.pages_max) {
            return invalid("pages_max", "must be from 1 to 100000");
        }
        if !(1 << 10..=64 << 20).contains(&self.page_max.0) {
            return invalid("page_max", "must be from 1KiB to 64MiB");
        }
        round::check(self.ids_max, self.batch_events)?;
        if resume.is_some() && cursor.is_none() {
            return invalid(
                "resume",
                "has an effect only with `cursor`, whose value it sends; set `cursor`, or remove \
                 this",
            );
        }
        if cursor.is_some() && resume.is_none() {
            return invalid(
                "cursor",
                "has an effect only with `resume`, the parameter that sends it; set `resume`, or \
                 remove this",
            );
        }
        let next = pointer("next", self.next.take())?;
        if self.next_parameter.is_some() && next.is_none() {
            return invalid(
                "next_parameter",
                "has an effect only with `next`, whose value it sends; set `next`, or remove this",
            );
        }
        self.backoff.check()?;
        Ok(Options {
            interval: self.interval.0,
            items: pointer("items", self.items.take())?,
            // Elements are JSON; they are parsed only to find a value.
            shape: Shape {
                is_json: id.is_some() || cursor.is_some(),
                id,
                cursor,
                kind_header: None,
            },
            resume,
            ids_max: self.ids_max,
            next,
            next_parameter: self.next_parameter.take(),
            pages_max: self.pages_max,
            page_max: usize::try_from(self.page_max.0).expect("checked to be at most 64 MiB"),
            batch_events: self.batch_events,
        })
    }
}

impl Component for Config {
    const KIND: &'static str = "http_poll";
    const ANOMALIES: &[&str] = &["cursor_too_long", "event_repeated"];
    const EXAMPLE: &str = r#"url = "http://127.0.0.1:8080/""#;
    type Role = dyn Source;

    fn build(mut self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let options = self.options()?;
        let uri = url_of(&self.url, HTTP.0)?;
        let source = HttpPoll {
            name: cx.name.clone(),
            env: cx.env.clone(),
            options,
            client: self.access.client(uri, "application/json", cx)?,
            counts: Counts { source: cx.name.clone(), metrics: cx.metrics.clone() },
            backoff: Backoff::new(self.backoff),
            pause: None,
            progress: None,
            has_warned: false,
        };
        Ok(Box::new(Followed::new(cx, source)))
    }
}
