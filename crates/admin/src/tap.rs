//! `/tap`: live events of a source, a channel or a sink, as server-sent events.
//!
//! ```text
//!   Point ─► Line ─► conditions ─► rate ─► a message, 4 a second at most ─► the reader
//!     └ missed: no room in the line   └ matched, and not shown
//! ```
//!
//! Conditions have the syntax of the interceptor `filter`, which is built for this reader. They are
//! evaluated in the reader's task, so that the flow only shares its batch. A slow reader misses
//! events; a reader that does not read is disconnected, like every client of the listener.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent::running::Parts;
use agent::status::{SeenEvent, TapMessage};
use agent::tap::{Line, Passed, Point};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::StatusCode;
use hyper::body::Frame;
use pipeline::env::unix_millis;
use pipeline::settings::unknown;
use pipeline::{BuildContext, Interceptor, Rejects, Settings};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep_until};

use super::answer::{Answer, fresh, page, respond};
use super::pages::Pages;
use super::query::parameters;

/// Maximum number of concurrent readers: fewer than connections, and each of them may hold some
/// batches.
pub(super) const READERS_MAX: usize = 4;

/// Default and maximum rate in events per second.
const RATE: u32 = 10;
const RATE_MAX: u32 = 400;

/// Time between two messages with events.
const PACE: Duration = Duration::from_millis(250);

/// Time after which a message is sent without events.
const SILENCE: Duration = Duration::from_secs(1);

/// Events of a message.
const EVENTS_MAX: usize = 100;

/// The component whose events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TapTarget {
    Source,
    Channel,
    Sink,
}

impl TapTarget {
    const ALL: [(&'static str, Self); 3] =
        [("source", Self::Source), ("channel", Self::Channel), ("sink", Self::Sink)];
}

/// The request of a reader.
struct TapRequest {
    place: TapTarget,
    name: String,
    filter: Option<Box<dyn Interceptor>>,
    rate: u32,
}

/// One reader.
struct Reader {
    pages: Arc<Pages>,
    wanted: TapRequest,
    line: Line,
    /// The time of the last message.
    said: Option<Instant>,
    /// Events that may be shown now, and when that was so.
    allowance: (f64, Instant),
    /// Totals since the beginning.
    sums: TapMessage,
    _seat: ReaderSlot,
}

/// One of the places for readers.
struct ReaderSlot(Arc<Pages>);

impl ReaderSlot {
    fn take(pages: &Arc<Pages>) -> Option<Self> {
        let taken: &AtomicUsize = &pages.live.taps;
        let one_more = |taken| (taken < READERS_MAX).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(pages.clone()))
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        self.0.live.taps.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The point of this place, and which of its parts is meant.
fn point(parts: &Parts, place: TapTarget, name: &str) -> Option<(Point, usize)> {
    match place {
        TapTarget::Source => parts.sources.get(name).map(|handle| (handle.tap().clone(), 0)),
        TapTarget::Channel => parts.channels.get(name).map(|handle| (handle.boards.tap.clone(), 0)),
        TapTarget::Sink => parts.groups.values().find_map(|group| {
            let part = group.members.iter().position(|member| **member == *name)?;
            Some((group.tap.clone(), part))
        }),
    }
}

/// The names of all places of this kind.
fn names(parts: &Parts, place: TapTarget) -> Vec<&str> {
    match place {
        TapTarget::Source => parts.sources.keys().map(|name| &**name).collect(),
        TapTarget::Channel => parts.channels.keys().map(|name| &**name).collect(),
        TapTarget::Sink => {
            let members = parts.groups.values().flat_map(|group| &group.members);
            members.map(|name| &**name).collect()
        }
    }
}

impl TapRequest {
    /// Parses the query.
    fn read(query: &str, pages: &Pages) -> Result<Self, String> {
        let (mut at, mut filter, mut rate) = (None, None, RATE);
        for parameter in parameters(query) {
            let (key, value) = parameter?;
            let place = TapTarget::ALL.iter().find(|(name, _)| *name == key);
            match (place, key) {
                (Some(_), _) if at.is_some() => {
                    return Err("name only one of `source`, `channel` and `sink`".to_owned());
                }
                (Some((_, place)), _) => at = Some((*place, value)),
                (None, "where") => filter = conditions(&value, pages)?,
                (None, "rate") => {
                    let known = value.parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate));
                    rate = known
                        .ok_or(format!("`rate` must be from 1 to {RATE_MAX} events per second"))?;
                }
                (None, _) => {
                    let keys = ["source", "channel", "sink", "where", "rate"];
                    return Err(unknown("parameter", key, &keys));
                }
            }
        }
        let (place, name) = at.ok_or("name a place: ?source=, ?channel= or ?sink=")?;
        Ok(Self { place, name, filter, rate })
    }
}

/// Builds an interceptor that keeps matching events; `None`: all events.
fn conditions(text: &str, pages: &Pages) -> Result<Option<Box<dyn Interceptor>>, String> {
    let wrong = |problem: &dyn std::fmt::Display| format!("`where`: {problem}");
    let written: Value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    let list = if written.is_array() { written } else { json!([written]) };
    if list == json!([]) {
        return Ok(None);
    }
    let catalogue = pages.monitor.configuration.catalogue;
    let entry = catalogue.find::<dyn Interceptor>("filter").map_err(|error| wrong(&error))?;
    // It has separate metrics: an event that a reader does not want is not dropped.
    let alone = BuildContext::alone("tap", Path::new(""), pages.monitor.env.clone());
    let cx = BuildContext { catalogue, ..alone };
    let built = (entry.build)(&Settings::from_json(&json!({ "keep": list })), &cx);
    built.map(Some).map_err(|error| wrong(&error))
}

impl Reader {
    /// Returns the next message; `None`: the component is gone, and the last message has reported
    /// it.
    async fn next(&mut self) -> Option<Bytes> {
        if self.sums.gone.is_some() {
            return None;
        }
        let mut events = Vec::new();
        if let Some(said) = self.said {
            loop {
                let until = said + if events.is_empty() { SILENCE } else { PACE };
                tokio::select! {
                    biased;
                    () = sleep_until(until) => break,
                    passed = self.line.next() => self.look(passed, &mut events),
                }
            }
        }
        self.said = Some(Instant::now());
        self.sums.missed += self.line.take_missed();
        self.stay();
        self.sums.events = events;
        let message = serde_json::to_string(&self.sums).expect("names and numbers are JSON");
        // The JSON contains no line ends.
        Some(format!("data: {message}\n\n").into())
    }

    /// Counts the events, and shows as many as the rate allows.
    fn look(&mut self, mut passed: Passed, events: &mut Vec<SeenEvent>) {
        let (rate, now) = (f64::from(self.wanted.rate), Instant::now());
        let (mut allowed, before) = self.allowance;
        allowed = rate.min(allowed + rate * now.duration_since(before).as_secs_f64());
        self.sums.passed += passed.events.len() as u64;
        if let Some(filter) = &self.wanted.filter {
            filter.intercept(&mut passed.events, &mut Rejects::default());
        }
        self.sums.matched += passed.events.len() as u64;
        let at_ms = unix_millis(self.pages.monitor.env.clock.now());
        for event in passed.events.iter() {
            if allowed < 1.0 || events.len() >= EVENTS_MAX {
                break;
            }
            allowed -= 1.0;
            self.sums.shown += 1;
            let identity = passed.identity.map(|identity| identity.to_string());
            events.push(SeenEvent::new(at_ms, identity, event.body(), event.headers()));
        }
        self.allowance = (allowed, now);
    }

    /// Continues at the successor of the part: a reload restarts parts.
    fn stay(&mut self) {
        let TapRequest { place, name, .. } = &self.wanted;
        match point(&self.pages.monitor.running.parts(), *place, name) {
            Some((point, _)) if self.line.is_of(&point) => {}
            Some((point, part)) => self.line = point.open(part),
            None => {
                self.sums.gone = Some(format!("`{name}` no longer exists; a reload removed it"));
            }
        }
    }
}

/// The stream for one more reader.
pub(super) fn answer(pages: &Arc<Pages>, query: &str) -> Answer {
    let wanted = match TapRequest::read(query, pages) {
        Ok(wanted) => wanted,
        Err(problem) => return page(StatusCode::BAD_REQUEST, problem + "\n"),
    };
    let parts = pages.monitor.running.parts();
    let Some((point, part)) = point(&parts, wanted.place, &wanted.name) else {
        let kind = TapTarget::ALL.iter().find(|(_, place)| *place == wanted.place);
        let kind = kind.map_or("place", |(kind, _)| kind);
        let problem = unknown(kind, &wanted.name, &names(&parts, wanted.place));
        return page(StatusCode::NOT_FOUND, problem + "\n");
    };
    let Some(seat) = ReaderSlot::take(pages) else {
        let text =
            format!("{READERS_MAX} clients already watch events, the maximum; end one and retry\n");
        return page(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let reader = Reader {
        pages: pages.clone(),
        allowance: (f64::from(wanted.rate), Instant::now()),
        wanted,
        line: point.open(part),
        said: None,
        sums: TapMessage::default(),
        _seat: seat,
    };
    let messages = stream::unfold(reader, |mut reader| async {
        reader.next().await.map(|message| (Ok(Frame::data(message)), reader))
    });
    fresh(respond(StatusCode::OK, "text/event-stream", StreamBody::new(messages).boxed_unsync()))
}
