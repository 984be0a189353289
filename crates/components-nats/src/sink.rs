//! `nats`: publishes each event to a JetStream stream; all of a batch must be acknowledged.
//!
//! ```text
//!   acknowledged                delivered, even if the stream had the id already
//!   no stream for the subject   waits for a stream; if the event chooses the subject, the event
//!                               goes to the dead letters after `destination_wait`
//!   too large, no subject       the event goes to the dead letters
//!   refused                     the whole batch is resent
//! ```
//!
//! # Invariants
//!
//! 1. The id of a message consists of `ids`, the identity of its batch and its position in it. It
//!    stays the same when the batch is resent, so a stream that remembers it does not store it
//!    twice.

mod publishing;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kit::places::Places;
use kit::refused::{Refusal, except};
use metrics::{Counter, MetricSpec};
use pipeline::deliver::{
    Deliver, Delivered, Destinations, InFlight, Requests, UNKNOWN_DESTINATION,
};
use pipeline::env::Env;
use pipeline::units::Period;
use pipeline::{Batch, BuildContext, BuildError, Component, DedupeScope, Guarantee, Sink};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::headers::Written;
use crate::refusal::NatsError;
use crate::server::{Server, Target};
use publishing::{Outgoing, Publishing};
use subject::Subject;

/// Header with the message id, with which a stream recognises a repetition.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Prefix of headers that control the server.
const OF_SERVER: &str = "nats-";

/// Maximum length of `ids`.
const IDS_BYTES_MAX: usize = 128;

/// Settings of the `nats` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server and its connection settings.
    server: Server,
    /// Subject of the messages, which a stream must accept. `%{NAME}` is the header NAME of the
    /// event.
    subject: String,
    /// Prefix of message ids. Give the same prefix to sinks that replace each other, so that a
    /// stream detects messages of both. Default: the name of the sink.
    #[serde(default)]
    ids: Option<String>,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<2, 30>,
    /// Time that events wait for a subject that their headers select, if no stream accepts it or
    /// the user may not publish to it. Then they become dead letters. Events wait without a limit
    /// for a subject that does not depend on them.
    #[serde(default = "pipeline::deliver::destination_wait")]
    destination_wait: Period,
}

impl Component for Config {
    const KIND: &'static str = "nats";
    const LETTERS: &[&str] =
        &["invalid_address", "too_large", "unwritable_event", "unknown_destination"];
    const EXAMPLE: &str = "subject = \"a\"\n\
        server = { urls = [\"nats://127.0.0.1:4222\"] }";
    const METRICS: &'static [MetricSpec] = &[MetricSpec::counter(
        "known_messages",
        "Resent messages that the stream already contained; it stores them once.",
    )];
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let options = self.in_flight.options()?;
        Ok(Box::new(Requests::new(self.nats(cx)?, options)))
    }
}

impl Config {
    fn nats(self, cx: &BuildContext) -> Result<Nats, BuildError> {
        let invalid = |setting: &str, problem: String| Err(BuildError::invalid(setting, problem));
        let subject = match Subject::new(&self.subject) {
            Ok(subject) => subject,
            Err(problem) => return invalid("subject", problem),
        };
        let ids = self.ids.unwrap_or_else(|| cx.name.to_string());
        if !(1..=IDS_BYTES_MAX).contains(&ids.len()) || !ids.chars().all(|it| it.is_ascii_graphic())
        {
            let problem = format!("must have 1 to {IDS_BYTES_MAX} visible ASCII characters");
            return invalid("ids", problem);
        }
        Ok(Nats {
            name: cx.name.clone(),
            target: self.server.target(cx)?,
            env: cx.env.clone(),
            scope: format!("{ids} in NATS {}", self.subject),
            subject,
            ids,
            timeout: self.in_flight.timeout.0,
            places: Places::new(self.in_flight.in_flight_max),
            destinations: Destinations::new(self.destination_wait),
            streams: Mutex::default(),
            known: cx.scope::<Self>().counter("known_messages")?,
        })
    }
}

struct Nats {
    name: Arc<str>,
    target: Target,
    env: Env,
    scope: String,
    subject: Subject,
    ids: String,
    timeout: Duration,
    places: Places<Publishing>,
    destinations: Destinations,
    /// Streams whose deduplication window was checked.
    streams: Mutex<BTreeSet<String>>,
    known: Counter,
}

impl Nats {
    /// Returns the messages of a batch, and the events that cannot be messages.
    fn messages<'a>(
        &self,
        batch: &'a Batch,
        payload_max: u64,
    ) -> (Vec<Outgoing<'a>>, Vec<Refusal>) {
        let (mut messages, mut refused) = (Vec::new(), Vec::new());
        let of_batch = batch.id_text(&*self.env.entropy);
        for event in batch.iter() {
            let place = event.index();
            let mut refuse = |reason, detail| refused.push(Refusal { place, reason, detail });
            let subject = match self.subject.fill(event) {
                Ok(subject) => subject,
                Err(detail) => {
                    refuse("invalid_address", detail);
                    continue;
                }
            };
            let mut headers = Written::new();
            let id = format!("{}-{of_batch}-{place}", self.ids);
            let of_event = event.headers().filter(|(name, _)| !is_of_server(name));
            let mut all = std::iter::once((MESSAGE_ID, &*id)).chain(of_event);
            if let Err(detail) = all.try_for_each(|(name, value)| headers.push(name, value)) {
                refuse("unwritable_event", detail);
                continue;
            }
            let (headers, body) = (headers.finish(), event.body());
            let bytes = (headers.len() + body.len()) as u64;
            if bytes > payload_max {
                let detail = format!(
                    "the headers and the body have {bytes} bytes, over the server's `max_payload` \
                     of {payload_max}; raise it there, and replay the message"
                );
                refuse("too_large", detail);
                continue;
            }
            messages.push(Outgoing { place, subject, headers, body });
        }
        (messages, refused)
    }

    /// Checks the deduplication window of new streams.
    async fn check_windows(&self, streams: Vec<String>, publishing: &mut Publishing) {
        for stream in streams {
            let known = &self.streams;
            if !known.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.clone()) {
                continue;
            }
            match publishing.window(&stream).await {
                Ok(window) if window < 2 * self.timeout => warn!(
                    sink = %self.name, %stream, ?window,
                    "`duplicate_window` of the stream is too short: a batch that is resent later \
                     is stored twice; set it to at least {:?}, better to the longest expected \
                     outage of the server",
                    2 * self.timeout
                ),
                Ok(window) => debug!(sink = %self.name, %stream, ?window, "the stream knows ids"),
                // Some users are not permitted to ask.
                Err(error) => debug!(sink = %self.name, %stream, %error, "cannot get its window"),
            }
        }
    }
}

impl Nats {
    /// Returns the messages without a stream whose wait is over.
    ///
    /// # Errors
    /// Fails if the batch must wait for a stream.
    async fn overdue(
        &self,
        messages: &[Outgoing<'_>],
        not_granted: Vec<(usize, NatsError)>,
        publishing: &mut Publishing,
    ) -> Result<Vec<Refusal>, NatsError> {
        let is_chosen = self.subject.is_chosen_by_event();
        let subject_of = |place: usize| {
            messages.iter().find(|it| it.place == place).map_or("", |it| &*it.subject)
        };
        if is_chosen {
            let missing: BTreeSet<usize> = not_granted.iter().map(|(place, _)| *place).collect();
            let accepted = messages.iter().filter(|it| !missing.contains(&it.place));
            let accepted: BTreeSet<&str> = accepted.map(|it| &*it.subject).collect();
            accepted.into_iter().for_each(|subject| self.destinations.accepted(subject));
        }
        let (mut overdue, mut waits) = (Vec::new(), None);
        let (mut judged, now) = (BTreeMap::new(), Instant::now());
        for (place, error) in not_granted {
            let subject = subject_of(place);
            let is_over = match judged.get(subject) {
                Some(is_over) => *is_over,
                None => {
                    let is_over = is_chosen
                        && self.destinations.refused(subject, now)
                        && publishing.is_without_stream(subject, &error).await?;
                    judged.insert(subject, is_over);
                    is_over
                }
            };
            match is_over {
                true => {
                    let detail = error.to_string();
                    overdue.push(Refusal { place, reason: UNKNOWN_DESTINATION, detail });
                }
                false => {
                    waits.get_or_insert(error);
                }
            }
        }
        waits.map_or(Ok(overdue), Err)
    }
}

/// Returns true for headers that control the server. Events of the `nats` source may have some.
fn is_of_server(name: &str) -> bool {
    name.get(..OF_SERVER.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(OF_SERVER))
}

#[async_trait]
impl Deliver for Nats {
    type Error = NatsError;

    async fn probe(&self) -> Result<Option<String>, NatsError> {
        let mut publishing = Publishing::open(&self.target, 0).await?;
        let reached = self.target.reached(publishing.address());
        let Some(pattern) = self.subject.pattern() else { return Ok(Some(reached)) };
        match &*publishing.streams_of(&pattern).await? {
            [] => Err(NatsError::NotGranted {
                address: publishing.address().clone(),
                problem: format!("has no stream for `{pattern}`: create one, or correct `subject`"),
            }),
            streams => Ok(Some(format!("{reached}, with the stream `{}`", streams.join("`, `")))),
        }
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, NatsError> {
        let mut taken = self.places.take();
        let place = taken.place();
        let mut publishing = match place.open.take().filter(Publishing::is_open) {
            Some(open) => open,
            None => Publishing::open(&self.target, place.number).await?,
        };
        let (messages, mut refused) = self.messages(batch, publishing.payload_max());
        let outcome = publishing.publish(&messages).await?;
        self.known.inc_by(outcome.known);
        self.check_windows(outcome.streams, &mut publishing).await;
        let overdue = self.overdue(&messages, outcome.not_granted, &mut publishing).await?;
        place.open = Some(publishing);
        refused.extend(outcome.refused.into_iter().chain(overdue));
        Ok(except(refused))
    }

    /// A stream forgets ids after its window.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn dedupe_scope(&self) -> DedupeScope {
        DedupeScope::Dataset(self.scope.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pipeline::BatchBuilder;
    use pipeline::settings::Settings;
    use pipeline::testkit::build;
    use serde_json::{Value, json};

    use super::*;

    fn config(more: &Value) -> Value {
        let mut settings = json!({ "server": { "urls": ["nats://n:4222"] }, "subject": "a.%{b}" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    #[test]
    fn rejects_invalid_settings_and_names_setting_and_remedy() {
        let cx = BuildContext::alone("out", Path::new("unused"), env::real());
        for (more, expected) in [
            (json!({ "subject": "a..b" }), "`subject`: `a..b` is not a valid subject"),
            (json!({ "ids": "a b" }), "`ids`: must have 1 to 128"),
            (json!({ "in_flight_max": 0 }), "`in_flight_max`: must be at least 1"),
            (json!({ "server": { "urls": ["amqp://n:1"] } }), "must start with `nats://`"),
        ] {
            let error = build::<Config>(&config(&more), &cx).map(drop).unwrap_err().to_string();
            assert!(error.contains(expected), "{more}: {error}");
        }
    }

    #[test]
    fn resent_batches_keep_their_ids_and_headers_of_the_server_are_dropped() {
        let cx = BuildContext::alone("out", Path::new("unused"), env::real());
        let sink: Config = Settings::from_json(&config(&json!({}))).read().unwrap();
        let sink = sink.nats(&cx).unwrap();
        let mut builder = BatchBuilder::default();
        let named = |name, value| [("b", "c"), (name, value)];
        builder.push(b"one", &named("nats-msg-id", "forged"));
        builder.push(b"two", &named("site", "two\nlines"));
        builder.push(b"three", &[]);
        builder.push(&[b'x'; 2000], &named("site", "a"));
        builder.push(b"five", &named("site", "Zürich"));
        let mut batch = builder.finish();
        let identity = "0000000000000000000000000000000a/1/7".parse();
        batch.envelope.identity = identity.ok();
        let (messages, refused) = sink.messages(&batch, 1000);
        let (again, _) = sink.messages(&batch, 1000);
        let reasons: Vec<_> = refused.iter().map(|it| (it.place, it.reason)).collect();
        assert_eq!(
            reasons,
            [(1, "unwritable_event"), (2, "invalid_address"), (3, "too_large")],
            "{refused:?}"
        );
        let text = |it: &Outgoing<'_>| String::from_utf8(it.headers.clone()).unwrap();
        for (message, same) in messages.iter().zip(&again) {
            assert_eq!(text(message), text(same), "the id is that of the batch");
        }
        assert_eq!((messages[0].place, &*messages[0].subject), (0, "a.c"));
        assert!(!text(&messages[0]).contains("forged"), "{}", text(&messages[0]));
        assert!(text(&messages[1]).contains("site: Zürich\r\n"), "{}", text(&messages[1]));
        assert_ne!(text(&messages[0]).lines().nth(1), text(&messages[1]).lines().nth(1));
    }
}
