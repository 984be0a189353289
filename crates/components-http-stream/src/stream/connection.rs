//! One answer that does not end: its bytes become events.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use pipeline::Framer;
use tokio::time::{Instant, timeout_at};

use super::config::{Format, Options};
use crate::client::HttpError;
use crate::round::Record;
use crate::sse::Sse;

/// An answer that does not end.
pub(super) struct Connection {
    body: Incoming,
    buffer: BytesMut,
    parser: Parser,
    /// When it was made.
    pub(super) since: Instant,
    /// When the last bytes came.
    pub(super) heard: Instant,
}

/// What finds the events.
enum Parser {
    Sse(Box<Sse>),
    Lines(Box<dyn Framer>),
}

impl Connection {
    /// Reads the body of an answer.
    pub(super) fn new(body: Incoming, options: &Options) -> Self {
        let parser = match options.format {
            Format::Sse => Parser::Sse(Box::new(Sse::new(options.event_max))),
            Format::Ndjson | Format::Lines => {
                Parser::Lines(components::framings::lines::begin(options.event_max))
            }
        };
        let (since, heard) = (Instant::now(), Instant::now());
        Self { body, buffer: BytesMut::new(), parser, since, heard }
    }

    /// The next event that is whole.
    pub(super) fn next(&mut self) -> Option<Record<Bytes>> {
        match &mut self.parser {
            Parser::Sse(sse) => sse.next(&mut self.buffer).map(|event| Record {
                body: event.data,
                kind: event.kind,
                is_cut: event.is_cut,
                cursor: sse.last_id().map(str::to_owned),
            }),
            // An empty line says that the server lives.
            Parser::Lines(lines) => std::iter::from_fn(|| lines.next(&mut self.buffer))
                .find(|frame| !frame.message.is_empty())
                .map(|frame| Record {
                    body: frame.message,
                    kind: None,
                    is_cut: frame.is_cut,
                    cursor: None,
                }),
        }
    }

    /// Whether it holds the beginning of an event.
    pub(super) fn is_within_event(&self) -> bool {
        match &self.parser {
            Parser::Sse(sse) => sse.is_within_event(&self.buffer),
            Parser::Lines(_) => !self.buffer.is_empty(),
        }
    }

    /// How long the server wants its clients to wait before they connect again, once.
    pub(super) fn take_retry(&mut self) -> Option<Duration> {
        match &mut self.parser {
            Parser::Sse(sse) => sse.take_retry(),
            Parser::Lines(_) => None,
        }
    }

    /// Reads what comes next, within `limit` of what came last. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended, or nothing has come.
    pub(super) async fn read(&mut self, limit: Duration, url: &Arc<str>) -> Result<(), HttpError> {
        let lost =
            |problem: String, source| HttpError::Network { url: url.clone(), problem, source };
        match timeout_at(self.heard + limit, self.body.frame()).await {
            Err(_) => Err(lost(format!("nothing has come for {limit:?}"), None)),
            Ok(None) => Err(lost("the server has ended the stream".into(), None)),
            Ok(Some(Err(error))) => Err(lost("the connection broke".into(), Some(error.into()))),
            Ok(Some(Ok(frame))) => {
                self.heard = Instant::now();
                if let Some(bytes) = frame.data_ref() {
                    self.buffer.extend_from_slice(bytes);
                }
                Ok(())
            }
        }
    }
}
