//! A WebSocket after its handshake: its messages become events.
//!
//! | received | result |
//! |---|---|
//! | text or binary message | an event, truncated at `event_max`; empty ones are ignored |
//! | ping | answered with the next read |
//! | close | the connection ends; the code determines the pause ([`HttpError::Closed`]) |
//! | invalid frame, or message above 16 MiB | the connection ends; the server gets the reason |
//!
//! After half of `idle_timeout` without data, the server gets one ping, and its response proves
//! that it is alive. After `idle_timeout`, the connection is considered lost.

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

/// Maximum message size: the largest `event_max`.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Timeout of the last frame to a server.
const FAREWELL: Duration = Duration::from_secs(1);

/// An open WebSocket.
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    url: Arc<str>,
    event_max: usize,
    /// A received message that is not yet returned.
    message: Option<Bytes>,
    /// When the last ping was sent.
    pinged: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Wraps the client side of an upgraded connection.
    pub(super) async fn new(io: S, url: Arc<str>, event_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(io, Role::Client, Some(config)).await;
        Self { stream, url, event_max, message: None, pinged: None }
    }

    /// Sends texts, each as a message, with a timeout.
    ///
    /// # Errors
    /// The connection breaks, or the server does not accept them.
    pub(super) async fn send_texts(
        &mut self,
        texts: &[Secret],
        limit: Duration,
    ) -> Result<(), HttpError> {
        let saying = async {
            for text in texts {
                self.stream.feed(Message::text(text.expose())).await?;
            }
            self.stream.flush().await
        };
        match timeout(limit, saying).await {
            Ok(said) => said.map_err(|error| self.problem(error)),
            Err(_) => {
                Err(self.lost(format!("the server did not accept messages within {limit:?}")))
            }
        }
    }

    /// Returns the received event.
    pub(super) fn next(&mut self) -> Option<Record<Bytes>> {
        let mut body = self.message.take()?;
        let is_cut = body.len() > self.event_max;
        body.truncate(self.event_max);
        Some(Record { body, kind: None, is_cut, cursor: None })
    }

    /// Reads the next relevant frame, with a timeout of `limit` since the last data. Cancel-safe.
    ///
    /// # Errors
    /// The connection has ended, or was silent.
    pub(super) async fn read(&mut self, heard: Instant, limit: Duration) -> Result<(), HttpError> {
        let silent_at = heard + limit;
        if self.pinged.is_none_or(|at| at <= heard) {
            if let Ok(came) = timeout_at(heard + limit / 2, self.stream.next()).await {
                return self.take(came).await;
            }
            // If it cannot be sent, it is not repeated: the send buffer is full.
            self.pinged = Some(Instant::now());
            let ping = self.stream.send(Message::Ping(Bytes::new()));
            if let Ok(Err(error)) = timeout_at(silent_at, ping).await {
                return Err(self.problem(error));
            }
        }
        match timeout_at(silent_at, self.stream.next()).await {
            Ok(came) => self.take(came).await,
            Err(_) => Err(self.lost(format!("no data for {limit:?} (`idle_timeout`)"))),
        }
    }

    async fn take(&mut self, came: Option<Result<Message, Error>>) -> Result<(), HttpError> {
        match came {
            Some(Ok(Message::Text(text))) => self.keep(text.into()),
            Some(Ok(Message::Binary(bytes))) => self.keep(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(frame))) => {
                // Flush the prepared response.
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
            None => return Err(self.lost("the server ended the stream".into())),
        }
        Ok(())
    }

    fn keep(&mut self, message: Bytes) {
        self.message = Some(message).filter(|it| !it.is_empty());
    }

    /// Closes the connection with a close frame, if possible.
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
            let problem = format!(
                "a message of {size} bytes exceeds the limit of {max_size}; raise `event_max`"
            );
            return Failure::Unexpected { url, problem }.into();
        }
        match fault(&error) {
            Some((_, problem)) => Failure::Unexpected {
                url,
                problem: format!(
                    "{problem}: {error}; reconnecting; if this repeats, check `url` and proxies in \
                     between"
                ),
            },
            None => {
                let (problem, source) = ("the connection was lost".into(), Some(error.into()));
                Failure::Network { url, problem, source }
            }
        }
        .into()
    }
}

/// Returns the protocol violation of the server, if any.
fn fault(error: &Error) -> Option<(CloseCode, &'static str)> {
    match error {
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => None,
        Error::Capacity(_) => Some((CloseCode::Size, "the message is too large")),
        Error::Utf8(_) => Some((CloseCode::Invalid, "the text is not UTF-8")),
        Error::Protocol(_) => {
            Some((CloseCode::Protocol, "the server sent invalid WebSocket frames"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
