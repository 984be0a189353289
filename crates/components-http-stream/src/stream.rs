//! `http_stream`: reads events from an endless response or a WebSocket.
//!
//! ```text
//!   server ──bytes──► parser ───┐
//!          ──messages───────────┴─► round ──► put ──► channels, with the position
//! ```
//!
//! While a put waits, the next round fills up; then the connection is not read. The source thus
//! holds at most two batches and the connection's read-ahead.
//!
//! # Where the server continues
//!
//! After the id of the last event (`Last-Event-ID`), or after a value in it, which is sent as a URL
//! parameter. It is stored in the write of the events. If a server supports neither, a gap remains,
//! which is counted.

mod config;
mod connection;
mod preset;
mod rules;
mod web_socket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use kit::follow::{CatchUp, Follow, Puts, Start};
use kit::waits::until;
use metrics::Counter;
use pipeline::{Env, Guarantee, Secret, SourceContext, SourceError};
use support::failure_log::seconds;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::client::{Client, Failure, HttpError, is_web_socket, shown_url, with_parameter};
use crate::progress::Progress;
use crate::round::{Counts, DRAIN, ROUND_BYTES, Record, Round, advance};
pub use config::Config;
use config::{Format, Options, Resume};
use connection::Connection;
use rules::Rules;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A connection that delivers something after this time is considered working, so that the next
/// failure counts as the first.
const WORKS_AFTER: Duration = Duration::from_secs(1);

struct HttpStream {
    name: Arc<str>,
    env: Env,
    options: Options,
    client: Client,
    /// Required rules on the server, until they are set.
    rules: Option<Rules>,
    /// Messages to send on an opened WebSocket.
    subscribe: Vec<Secret>,
    counts: Counts,
    connections: Counter,
    gap_seconds: Counter,
    backoff: Backoff,
    /// Pause after the last failure.
    pause: Option<Duration>,
    /// The position of the source while it is open.
    progress: Option<Progress>,
    /// When the last connection ended; `None` while connected.
    lost_at: Option<Instant>,
}

/// A connection, and the events that were read from it.
pub(crate) struct Reading {
    /// `None` while it is lost.
    connection: Option<Connection>,
    round: Round,
    /// An event for the next round.
    waiting: Option<Record<Bytes>>,
}

impl HttpStream {
    /// Requests the events after the known ones.
    async fn connect(&mut self) -> Result<Connection, HttpError> {
        if let Some(rules) = &self.rules {
            rules.set(&mut self.client, &self.name).await?;
            self.rules = None;
        }
        let cursor = self.progress.as_ref().and_then(|it| it.standing.cursor.as_deref());
        let (mut uri, mut headers) = (self.client.uri.clone(), HeaderMap::new());
        match (&self.options.resume, cursor) {
            (Resume::Parameter(name), Some(cursor)) => uri = with_parameter(&uri, name, cursor),
            (Resume::Header, Some(cursor)) => {
                if let Ok(value) = HeaderValue::from_bytes(cursor.as_bytes()) {
                    headers.insert(LAST_EVENT_ID, value);
                }
            }
            (Resume::Never, _) | (_, None) => {}
        }
        let resumes = cursor.is_some() && self.options.resume != Resume::Never;
        let connection = if is_web_socket(&uri) {
            let opened = self.client.upgrade(&uri, self.env.entropy.bytes16()).await?;
            let (url, limit) = (shown_url(&uri), self.client.timeout);
            Connection::socket(opened, url, &self.options, &self.subscribe, limit).await?
        } else {
            let response = self.client.get(&uri, &headers, false).await?;
            self.check_type(response.headers())?;
            Connection::answer(response.into_body(), shown_url(&uri), &self.options)
        };
        let now = connection.since;
        self.connections.inc();
        let gap = self.lost_at.take().map(|at| now.duration_since(at));
        if let Some(gap) = gap.filter(|_| !resumes) {
            self.gap_seconds.inc_by(gap.as_secs_f64().round() as u64);
            warn!(
                source = %self.name, url = %shown_url(&uri), gap_seconds = seconds(gap),
                "reconnected; events that the server sent in the gap are lost; if it can resend \
                 them, set `cursor` and `resume`"
            );
        } else {
            info!(source = %self.name, url = %shown_url(&uri), resumes, "connected");
        }
        Ok(connection)
    }

    /// An HTML page is not a stream, whatever its status.
    fn check_type(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let kind = kind.unwrap_or_default().to_ascii_lowercase();
        let is_events = kind.starts_with("text/event-stream");
        let problem = match self.options.format {
            Format::Sse if !is_events => {
                format!("the response is `{kind}`, not `text/event-stream`: check `format`")
            }
            Format::Ndjson | Format::Lines if is_events => {
                "the response is a stream of server-sent events: set `format = \"sse\"`".to_owned()
            }
            _ if kind.starts_with("text/html") => {
                "the response is a web page (`text/html`): check `url`".to_owned()
            }
            _ => return Ok(()),
        };
        Err(Failure::Unexpected { url: shown_url(&self.client.uri), problem }.into())
    }

    /// Returns the pause after this failure.
    fn failed(&mut self, error: &HttpError) -> Duration {
        let random = self.env.entropy.next_u64();
        self.backoff.failed(error.trouble(), error.wait(), random)
    }

    /// Ends the run; the next one starts after a pause.
    fn pause(&mut self, error: HttpError) -> SourceError {
        self.pause = Some(self.failed(&error));
        error.into_source_error()
    }

    /// Reads one connection to its end, and returns why it ended.
    async fn events(&mut self, reading: &mut Reading, puts: &mut Puts) -> HttpError {
        let progress = self.progress.as_mut().expect("a source is opened before it runs");
        let options = &self.options;
        let Reading { connection, round, waiting } = reading;
        let connection = connection.as_mut().expect("a connection is opened before it is read");
        let (mut due_at, mut lost) = (None, None);
        loop {
            let most = puts.limits(ROUND_BYTES, options.batch_events);
            while let Some(record) = waiting.take().or_else(|| connection.next()) {
                if round.is_full(record.body.len(), most) {
                    *waiting = Some(record);
                    break;
                }
                let cursor = round.push(record, &options.shape, progress, &self.counts);
                advance(cursor, progress, &self.counts);
                due_at = due_at.or_else(|| Some(Instant::now() + options.batch_wait));
            }
            if round.is_empty() {
                due_at = None;
                if let Some(error) = lost.take() {
                    return error;
                }
            }
            let is_full = waiting.is_some() || round.is_full(0, most);
            let reads = !is_full && lost.is_none();
            let is_due = is_full || lost.is_some() || due_at.is_some_and(|at| at <= Instant::now());
            if is_full {
                // The connection was not read, so silence is not the server's fault.
                connection.heard = Instant::now();
            }
            tokio::select! {
                biased;
                () = puts.stored(), if is_due && !round.is_empty() => {
                    puts.begin(progress.with_next_put(round.take()));
                    due_at = None;
                }
                () = until(due_at), if !is_due => {}
                read = connection.read(options.idle_timeout), if reads => lost = read.err(),
            }
        }
    }
}

impl Follow for HttpStream {
    const KIND: &'static str = "http_stream";
    type Link = Reading;

    fn guarantee(&self) -> Guarantee {
        match self.options.resume {
            Resume::Never => Guarantee::BestEffort,
            Resume::Header | Resume::Parameter(_) => Guarantee::AtLeastOnce,
        }
    }

    fn batch_bytes(&self) -> u64 {
        ROUND_BYTES.max(self.options.event_max) as u64
    }

    fn retry_after(&self) -> Option<Duration> {
        self.pause
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Repeat
    }

    fn number(&self, known: &[(Bytes, Bytes)]) -> Option<u64> {
        Progress::puts(known, &shown_url(&self.client.uri))
    }

    fn drain(&self) -> Duration {
        DRAIN
    }

    async fn open(&mut self, start: &Start, _: &SourceContext) -> Result<Reading, SourceError> {
        self.pause = None;
        let (name, key) = (self.name.clone(), shown_url(&self.client.uri));
        self.progress = Some(Progress::load(name, &key, self.options.ids_max, &start.known));
        let connection = Some(self.connect().await.map_err(|error| self.pause(error))?);
        Ok(Reading { connection, round: Round::default(), waiting: None })
    }

    /// Reads one connection after the other, until reconnecting fails.
    async fn read(&mut self, reading: &mut Reading, puts: &mut Puts) -> Result<(), SourceError> {
        loop {
            let error = self.events(reading, puts).await;
            let Some(mut connection) = reading.connection.take() else { return Ok(()) };
            self.lost_at = Some(connection.heard.max(connection.since));
            if connection.is_within_event() {
                self.counts.count("event_unfinished");
            }
            if let Some(pause) = connection.take_retry() {
                self.backoff.asks(pause);
            }
            let has_worked = connection.heard.duration_since(connection.since) >= WORKS_AFTER;
            drop(connection);
            if !has_worked {
                return Err(self.pause(error));
            }
            // Servers end streams from time to time, which is not a failure.
            self.backoff.works();
            let pause = self.failed(&error);
            info!(
                source = %self.name, %error, pause_seconds = seconds(pause),
                "the stream ended; reconnecting"
            );
            sleep(pause).await;
            let connected = self.connect().await.map_err(|error| self.pause(error))?;
            reading.connection = Some(connected);
        }
    }

    /// The server may not resend the events that were read.
    async fn flush(&mut self, reading: &mut Reading, puts: &mut Puts) {
        let Some(progress) = &mut self.progress else { return };
        let Reading { round, waiting, .. } = reading;
        loop {
            if !round.is_empty() {
                puts.put(progress.with_next_put(round.take())).await;
            }
            let Some(record) = waiting.take() else { return };
            let cursor = round.push(record, &self.options.shape, progress, &self.counts);
            advance(cursor, progress, &self.counts);
        }
    }

    async fn close(&mut self, reading: Reading) {
        if let Some(mut connection) = reading.connection {
            connection.close().await;
        }
    }
}

#[cfg(test)]
mod tests;
