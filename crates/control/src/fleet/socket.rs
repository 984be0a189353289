//! A WebSocket to the fleet server. Programs without the feature `web-socket` poll: it costs five
//! crates, which the static edge does without.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::StatusCode;
use hyper::upgrade::{self, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use web::once;
use web::web_socket::Opening;
use wire::opamp::{AgentToServer, ServerToAgent, framed, unframed};

use super::cut;
use super::transport::{ANSWER_MAX, Client, ReportError, parsed};

/// A WebSocket to the server.
pub(super) struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Client {
    /// Opens a WebSocket.
    pub(super) async fn open(&self) -> Result<Socket, ReportError> {
        let opening = Opening::new(self.env.entropy.bytes16());
        let mut request = self.request(Bytes::new()).await?;
        request.headers_mut().extend(opening.headers());
        let asked = request.headers().clone();
        let answer = once(&self.dialer, &self.address, request).await;
        // From here on it is the server, or a proxy, that does not want it.
        let refused = |error: &dyn std::fmt::Display| ReportError::Refused(error.to_string());
        let answer = answer.map_err(|lost| match lost {
            web::Lost::Connect(_) => lost.into(),
            _ => refused(&lost),
        })?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(&format!("the server returned {}", answer.status())));
        }
        opening.check(answer.headers(), &asked).map_err(|it| refused(&it))?;
        let stream = upgrade::on(answer).await.map_err(|it| refused(&it))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(ANSWER_MAX))
            .max_frame_size(Some(ANSWER_MAX));
        let stream = TokioIo::new(stream);
        Ok(Socket(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await))
    }
}

impl Socket {
    /// Sends a report.
    pub(super) async fn send(&mut self, report: &AgentToServer) -> Result<(), ReportError> {
        let message = Message::Binary(framed(report).into());
        self.0.send(message).await.map_err(|error| ReportError::Lost(error.to_string()))
    }

    /// Returns the next message of the server; answers its pings.
    pub(super) async fn next(&mut self) -> Result<ServerToAgent, ReportError> {
        loop {
            let lost = |problem: &dyn std::fmt::Display| ReportError::Lost(problem.to_string());
            let came = self.0.next().await.ok_or_else(|| lost(&"the server closed it"))?;
            match came.map_err(|error| lost(&error))? {
                Message::Binary(bytes) => return parsed(unframed(&bytes)),
                Message::Close(Some(frame)) => {
                    let reason = cut(&frame.reason, 200);
                    return Err(lost(&format!("the server closed it: {reason}")));
                }
                Message::Text(_) => return Err(ReportError::Answer),
                Message::Close(None) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
