//! Requests of agents: OpAMP in requests, or over a WebSocket.
//!
//! ```text
//!   POST ─► report ─► answer                                            agents that poll
//!   GET, upgrade ─► report ─► answer ┐
//!                     ▲              │ version of the fleet changes ─► offer, if there is one
//!                     └──────────────┘                                  agents that are connected
//! ```
//!
//! A browser sends `Origin` with every WebSocket and with every POST to another site. Agents do
//! not: a request with it is refused, so that no page can act as an agent of this host.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ORIGIN};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::{debug, warn};
use web::web_socket;
use wire::opamp::{MEDIA_TYPE, ServerToAgent, framed, unframed};

use super::{READ_TIMEOUT, Server, Socket, Upgrade};
use crate::answers::{Answer, plain, switching, typed};
use crate::exchange::{Exchanged, MESSAGE_MAX, exchange, pending};

/// Time without a message after which a connected agent gets a ping. Without an answer within the
/// same time it is disconnected.
const PING_AFTER: Duration = Duration::from_secs(60);

/// Time limit for sending a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// Messages that a connected agent may send at once, and further ones in a second.
const BURST: f64 = 30.0;
const RATE: f64 = 2.0;

/// Size of the read buffer of a connection, in bytes: there are thousands.
const READ_BUFFER: usize = 4 << 10;

/// Offers that are sent at the same time: bounds the memory for their texts.
static OFFERS: Semaphore = Semaphore::const_new(64);

/// Why a connection ends, as a close code with a reason for people.
type Closed = (CloseCode, String);

/// Messages that a client may still send.
struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    /// Returns `true` if another message is allowed.
    fn take(&mut self, now: Instant) -> bool {
        let grown = self.left + RATE * now.duration_since(self.at).as_secs_f64();
        (self.left, self.at) = (grown.min(BURST), now);
        let is_allowed = self.left >= 1.0;
        self.left -= f64::from(u8::from(is_allowed));
        is_allowed
    }
}

impl Server {
    /// Answers a request of an agent with this proved identity.
    pub(super) async fn opamp(
        self: &Arc<Self>,
        request: Request<Incoming>,
        identity: Option<String>,
        upgrade: &Upgrade,
    ) -> Answer {
        if request.headers().contains_key(ORIGIN) {
            return plain(StatusCode::FORBIDDEN, "this page is for agents, not for browsers");
        }
        if request.method() == Method::GET {
            return self.upgraded(request, identity, upgrade);
        }
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "this page accepts GET and POST");
        }
        let kind = request.headers().get(CONTENT_TYPE);
        if kind.is_none_or(|it| it.as_bytes() != MEDIA_TYPE.as_bytes()) {
            let text = format!("the body must be of the type {MEDIA_TYPE}");
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text);
        }
        let body = Limited::new(request.into_body(), MESSAGE_MAX).collect();
        let Ok(Ok(bytes)) = timeout(READ_TIMEOUT, body).await else {
            let text = format!("the body must arrive in time and have at most {MESSAGE_MAX} bytes");
            return plain(StatusCode::PAYLOAD_TOO_LARGE, &text);
        };
        match self.exchanged(identity, bytes.to_bytes()).await {
            Exchanged::Answer(_, message) => {
                typed(StatusCode::OK, MEDIA_TYPE, message.encode_to_vec())
            }
            Exchanged::Malformed(problem) => plain(StatusCode::BAD_REQUEST, problem),
            Exchanged::Forbidden(problem) => {
                warn!(problem, "refused a report");
                plain(StatusCode::FORBIDDEN, &problem)
            }
        }
    }

    async fn exchanged(self: &Arc<Self>, identity: Option<String>, bytes: Bytes) -> Exchanged {
        let this = self.clone();
        let work = move || {
            let (mut fleet, now) = (this.fleet(), this.env.clock.now());
            let exchanged = exchange(&mut fleet, now, (identity, &bytes), &mut &this.directory);
            this.log(&mut fleet);
            exchanged
        };
        self.env.offload(work).await
    }

    /// Agrees to a WebSocket, which begins when the answer was sent.
    fn upgraded(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        identity: Option<String>,
        upgrade: &Upgrade,
    ) -> Answer {
        let Some(headers) = web_socket::answer(request.headers()) else {
            let text = "this page accepts reports by POST, and WebSockets of version 13";
            return plain(StatusCode::UPGRADE_REQUIRED, text);
        };
        let Ok(place) = self.sockets.clone().try_acquire_owned() else {
            let text = "too many connected agents; report by POST";
            return plain(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        let upgraded = hyper::upgrade::on(&mut request);
        *upgrade.lock() = Some(Socket { upgraded, identity, _place: place });
        switching(headers)
    }

    /// Serves a connected agent until it disconnects or breaks a rule.
    pub(super) async fn socket(self: &Arc<Self>, peer: &str, socket: Socket) {
        let Socket { upgraded, identity, _place } = socket;
        let stream = match upgraded.await {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => return debug!(%error, peer, "a WebSocket did not open"),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let mut stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let Err((code, reason)) = self.conversation(&mut stream, identity).await else { return };
        debug!(peer, reason, "disconnects an agent");
        let frame = CloseFrame { code, reason: reason.into() };
        let _closed_or_not = timeout(SEND_TIMEOUT, stream.close(Some(frame))).await;
    }

    /// Exchanges messages; returns why the connection has to end, or `Ok` if it has ended.
    async fn conversation(
        self: &Arc<Self>,
        stream: &mut WebSocketStream<TokioIo<Upgraded>>,
        identity: Option<String>,
    ) -> Result<(), Closed> {
        let mut seen = 0;
        let mut budget = Budget::new(Instant::now());
        let (mut own, mut is_asked): (Option<Bytes>, bool) = (None, false);
        loop {
            let came = tokio::select! {
                biased;
                came = timeout(PING_AFTER, stream.next()) => came,
                () = self.changed_since(seen), if own.is_some() => {
                    seen = self.version.load(Ordering::Acquire);
                    if let Some(uid) = &own {
                        self.wake(stream, uid).await?;
                    }
                    continue;
                }
            };
            let message = match came {
                Ok(None | Some(Err(Error::ConnectionClosed | Error::Io(_)))) => return Ok(()),
                Ok(Some(Err(error))) => return Err(refused(&error)),
                Ok(Some(Ok(message))) => message,
                Err(_) if is_asked => return Err((CloseCode::Away, "no answer".to_owned())),
                Err(_) => {
                    is_asked = true;
                    send(stream, Message::Ping(Bytes::new())).await?;
                    continue;
                }
            };
            is_asked = false;
            if !budget.take(Instant::now()) {
                return Err((CloseCode::Policy, "too many messages".to_owned()));
            }
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return Ok(()),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                Message::Text(_) => {
                    let reason = "messages of OpAMP are binary".to_owned();
                    return Err((CloseCode::Unsupported, reason));
                }
            };
            let bytes = bytes.slice_ref(unframed(&bytes));
            match self.exchanged(identity.clone(), bytes).await {
                Exchanged::Answer(uid, _) if own.as_ref().is_some_and(|own| *own != uid) => {
                    let reason = "a connection belongs to one agent".to_owned();
                    return Err((CloseCode::Policy, reason));
                }
                Exchanged::Answer(uid, message) => {
                    own = Some(uid);
                    send(stream, Message::Binary(framed(&message).into())).await?;
                }
                Exchanged::Malformed(problem) => {
                    return Err((CloseCode::Invalid, problem.to_owned()));
                }
                Exchanged::Forbidden(problem) => {
                    warn!(problem, "refused a report");
                    return Err((CloseCode::Policy, problem));
                }
            }
        }
    }

    /// Waits until the fleet has another version.
    async fn changed_since(&self, seen: u64) {
        // Created before the version is read: it does not miss a change in between.
        let changed = self.changed.notified();
        if self.version.load(Ordering::Acquire) == seen {
            changed.await;
        }
    }

    /// Sends the offer that the agent should get now, if there is one.
    async fn wake(
        self: &Arc<Self>,
        stream: &mut WebSocketStream<TokioIo<Upgraded>>,
        uid: &Bytes,
    ) -> Result<(), Closed> {
        let _turn = OFFERS.acquire().await.expect("it is never closed");
        let (this, uid) = (self.clone(), uid.clone());
        let message: Option<ServerToAgent> =
            self.env.offload(move || pending(&this.fleet(), &uid)).await;
        match message {
            Some(message) => send(stream, Message::Binary(framed(&message).into())).await,
            None => Ok(()),
        }
    }
}

fn refused(error: &Error) -> Closed {
    let code = match error {
        Error::Capacity(_) => CloseCode::Size,
        _ => CloseCode::Protocol,
    };
    (code, error.to_string())
}

async fn send(
    stream: &mut WebSocketStream<TokioIo<Upgraded>>,
    message: Message,
) -> Result<(), Closed> {
    match timeout(SEND_TIMEOUT, stream.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err((CloseCode::Protocol, error.to_string())),
        Err(_) => Err((CloseCode::Away, "reads nothing".to_owned())),
    }
}
