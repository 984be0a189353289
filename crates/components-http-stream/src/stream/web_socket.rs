//! A WebSocket after its handshake: its messages become events.
//!
//! | what comes | what becomes of it |
//! |---|---|
//! | text or binary message, in one frame or many | an event, cut at `event_max`; an empty one is none |
//! | ping | answered when the connection is read next |
//! | close | the connection ends; its code says how long to stay away ([`HttpError::Closed`]) |
//! | no frame, or a message of more than 16 MiB | the connection ends, and its server hears why |
//!
//! When nothing has come for half of `idle_timeout` the server is sent a ping, once: its answer
//! shows that it is alive. With the end of `idle_timeout` the connection counts as lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use pipeline::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Failure, HttpError};
use crate::round::Record;

/// Bytes of the largest message that is read: those of the largest `event_max`.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long the last frame to a server may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// An open WebSocket.
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    url: Arc<str>,
    event_max: usize,
    /// What has come and was not taken yet.
    message: Option<Bytes>,
    /// When the server was sent a ping last.
    pinged: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The client's end of a connection on which nothing but frames comes any more.
    pub(super) async fn new(io: S, url: Arc<str>, event_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await;
        Self { stream, url, event_max, message: None, pinged: None }
    }

    /// Sends texts, each as a message, within a time.
    ///
    /// # Errors
    /// The connection breaks, or the server does not take them.
    pub(super) async fn say(&mut self, texts: &[Secret], limit: Duration) -> Result<(), HttpError> {
        let saying = async {
            for text in texts {
                self.stream.feed(Message::text(text.expose())).await?;
            }
            self.stream.flush().await
        };
        match timeout(limit, saying).await {
            Ok(said) => said.map_err(|error| self.problem(error)),
            Err(_) => Err(self.lost(format!("messages are not taken within {limit:?}"))),
        }
    }

    /// The event that has come.
    pub(super) fn next(&mut self) -> Option<Record<Bytes>> {
        let mut body = self.message.take()?;
        let is_cut = body.len() > self.event_max;
        body.truncate(self.event_max);
        Some(Record { body, kind: None, is_cut, cursor: None })
    }

    /// Reads the next frame that means something, within `limit` of what came last. Cancel safe.
    ///
    /// # Errors
    /// The connection has ended, or nothing has come.
    pub(super) async fn read(&mut self, heard: Instant, limit: Duration) -> Result<(), HttpError> {
        let silent_at = heard + limit;
        if self.pinged.is_none_or(|at| at <= heard) {
            if let Ok(came) = timeout_at(heard + limit / 2, self.stream.next()).await {
                return self.take(came).await;
            }
            // One that does not leave is not sent again: there is no room for it.
            self.pinged = Some(Instant::now());
            let ping = self.stream.send(Message::Ping(Bytes::new()));
            if let Ok(Err(error)) = timeout_at(silent_at, ping).await {
                return Err(self.problem(error));
            }
        }
        match timeout_at(silent_at, self.stream.next()).await {
            Ok(came) => self.take(came).await,
            Err(_) => Err(self.lost(format!("nothing has come for {limit:?}"))),
        }
    }

    async fn take(&mut self, came: Option<Result<Message, Error>>) -> Result<(), HttpError> {
        match came {
            Some(Ok(Message::Text(text))) => self.keep(text.into()),
            Some(Ok(Message::Binary(bytes))) => self.keep(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                // The answer to it is ready, and has to leave.
                let _gone = timeout(FAREWELL, self.stream.flush()).await;
                let (code, reason) = match frame {
                    Some(frame) => (u16::from(frame.code), frame.reason.to_string()),
                    None => (u16::from(CloseCode::Status), String::new()),
                };
                return Err(HttpError::Closed { url: self.url.clone(), code, reason });
            }
            Some(Err(error)) => {
                if let Some((code, reason)) = fault(&error) {
                    self.close(code, reason).await;
                }
                return Err(self.problem(error));
            }
            None => return Err(self.lost("the server has ended the stream".into())),
        }
        Ok(())
    }

    fn keep(&mut self, message: Bytes) {
        self.message = Some(message).filter(|it| !it.is_empty());
    }

    /// Tells the server that the connection ends, as far as it listens.
    pub(super) async fn close(&mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _gone = timeout(FAREWELL, self.stream.close(Some(frame))).await;
    }

    fn lost(&self, problem: String) -> HttpError {
        Failure::Network { url: self.url.clone(), problem, source: None }.into()
    }

    fn problem(&self, error: Error) -> HttpError {
        let url = self.url.clone();
        if let Error::Capacity(CapacityError::MessageTooLong { size, max_size }) = error {
            let problem = format!("a message of {size} bytes, and at most {max_size} are read");
            return Failure::Unexpected { url, problem }.into();
        }
        match fault(&error) {
            Some((_, problem)) => {
                Failure::Unexpected { url, problem: format!("{problem}: {error}") }
            }
            None => {
                let (problem, source) = ("the connection broke".into(), Some(error.into()));
                Failure::Network { url, problem, source }
            }
        }
        .into()
    }
}

/// What the server did wrong, if it is that.
fn fault(error: &Error) -> Option<(CloseCode, &'static str)> {
    match error {
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => None,
        Error::Capacity(_) => Some((CloseCode::Size, "the message is too large")),
        Error::Utf8(_) => Some((CloseCode::Invalid, "the text is not UTF-8")),
        Error::Protocol(_) => Some((CloseCode::Protocol, "these are no frames of a WebSocket")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
