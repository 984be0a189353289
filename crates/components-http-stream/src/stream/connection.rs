//! A connection: an endless response, or a WebSocket. Its data becomes events.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use pipeline::{Framer, Secret};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::config::{Format, Options};
use super::web_socket::WebSocket;
use crate::client::{Failure, HttpError};
use crate::round::Record;
use crate::sse::Sse;

/// A connection that delivers events.
pub(super) struct Connection {
    way: Way,
    /// When it was opened.
    pub(super) since: Instant,
    /// When the server last sent something.
    pub(super) heard: Instant,
}

/// The kind of connection.
enum Way {
    Answer(Box<Answer>),
    Socket(Box<WebSocket<TokioIo<Upgraded>>>),
}

/// An endless response.
struct Answer {
    body: Incoming,
    url: Arc<str>,
    buffer: BytesMut,
    parser: Parser,
}

/// The parser of events.
enum Parser {
    Sse(Box<Sse>),
    Lines(Box<dyn Framer>),
}

impl Connection {
    /// Reads the body of a response.
    pub(super) fn answer(body: Incoming, url: Arc<str>, options: &Options) -> Self {
        let parser = match options.format {
            Format::Sse => Parser::Sse(Box::new(Sse::new(options.event_max))),
            Format::Ndjson | Format::Lines => {
                Parser::Lines(formats::framings::lines::begin(options.event_max))
            }
        };
        Self::new(Way::Answer(Box::new(Answer { body, url, buffer: BytesMut::new(), parser })))
    }

    /// Reads a WebSocket, after sending these messages with a timeout of `limit`.
    ///
    /// # Errors
    /// The server does not accept them.
    pub(super) async fn socket(
        opened: Upgraded,
        url: Arc<str>,
        options: &Options,
        messages: &[Secret],
        limit: Duration,
    ) -> Result<Self, HttpError> {
        let mut socket = WebSocket::new(TokioIo::new(opened), url, options.event_max).await;
        socket.send_texts(messages, limit).await?;
        Ok(Self::new(Way::Socket(Box::new(socket))))
    }

    fn new(way: Way) -> Self {
        let now = Instant::now();
        Self { way, since: now, heard: now }
    }

    /// Returns the next complete event.
    pub(super) fn next(&mut self) -> Option<Record<Bytes>> {
        match &mut self.way {
            Way::Answer(answer) => answer.next(),
            Way::Socket(socket) => socket.next(),
        }
    }

    /// Returns whether it is known that an event is incomplete.
    pub(super) fn is_within_event(&self) -> bool {
        match &self.way {
            Way::Answer(answer) => answer.is_within_event(),
            Way::Socket(_) => false,
        }
    }

    /// Returns the reconnection delay requested by the server, once.
    pub(super) fn take_retry(&mut self) -> Option<Duration> {
        match &mut self.way {
            Way::Answer(answer) => match &mut answer.parser {
                Parser::Sse(sse) => sse.take_retry(),
                Parser::Lines(_) => None,
            },
            Way::Socket(_) => None,
        }
    }

    /// Reads more data, with a timeout of `limit` since the last data. Cancel-safe.
    ///
    /// # Errors
    /// The connection has ended, or was silent.
    pub(super) async fn read(&mut self, limit: Duration) -> Result<(), HttpError> {
        match &mut self.way {
            Way::Answer(answer) => answer.read(self.heard, limit).await?,
            Way::Socket(socket) => socket.read(self.heard, limit).await?,
        }
        self.heard = Instant::now();
        Ok(())
    }

    /// Closes the connection, with a close frame on a WebSocket.
    pub(super) async fn close(&mut self) {
        if let Way::Socket(socket) = &mut self.way {
            socket.close(CloseCode::Away, "").await;
        }
    }
}

impl Answer {
    fn next(&mut self) -> Option<Record<Bytes>> {
        match &mut self.parser {
            Parser::Sse(sse) => sse.next(&mut self.buffer).map(|event| Record {
                body: event.data,
                kind: event.kind,
                is_cut: event.is_cut,
                cursor: sse.last_id().map(str::to_owned),
            }),
            // An empty line is a heartbeat. A truncated line was counted when it was cut.
            Parser::Lines(lines) => std::iter::from_fn(|| lines.next(&mut self.buffer).ok()?)
                .find(|frame| !frame.message.is_empty())
                .map(|frame| Record {
                    body: frame.message,
                    kind: None,
                    is_cut: frame.is_cut,
                    cursor: None,
                }),
        }
    }

    fn is_within_event(&self) -> bool {
        match &self.parser {
            Parser::Sse(sse) => sse.is_within_event(&self.buffer),
            Parser::Lines(_) => !self.buffer.is_empty(),
        }
    }

    async fn read(&mut self, heard: Instant, limit: Duration) -> Result<(), HttpError> {
        let lost = |problem: String, source| {
            HttpError::from(Failure::Network { url: self.url.clone(), problem, source })
        };
        match timeout_at(heard + limit, self.body.frame()).await {
            Err(_) => Err(lost(format!("no data for {limit:?} (`idle_timeout`)"), None)),
            Ok(None) => Err(lost("the server ended the stream".into(), None)),
            Ok(Some(Err(error))) => Err(lost("the connection was lost".into(), Some(error.into()))),
            Ok(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.buffer.extend_from_slice(bytes);
                }
                Ok(())
            }
        }
    }
}
