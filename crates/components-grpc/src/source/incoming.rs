//! HTTP/2 on each accepted connection.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, Either};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http2;
use hyper::service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kit::listening::{self, Accepted, Allowed};
use kit::tenants::Peer;
use pipeline::env::{Listener, Stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tracing::debug;
use wire::v1::FromReceiver;

use super::Service;
use super::conversation::{Conversation, HELLO_TIMEOUT};
use super::ending::PENANCE;

/// Maximum number of streams per connection. A correct peer uses one.
const STREAMS_MAX: u32 = 4;

/// Maximum size of request headers.
const HEADERS_MAX: u32 = 16 << 10;

/// Frame size: large enough that frames cost nothing, small enough for a cache.
const FRAME_BYTES: u32 = 256 << 10;

/// Bounds for the unread bytes of one connection: its share of the bytes in work, at least HTTP/2's
/// initial window, at most a round trip of a fast link.
const WINDOW_MIN: u64 = 64 << 10;
const WINDOW_MAX: u64 = 2 << 20;

/// Interval of probes on a silent connection, and the time limit for a reply.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Replies that wait for the transport.
const OUTBOX: usize = 16;

/// Queue of a conversation's replies. They are boxed: a queue allocates 32 entries from the start,
/// whatever its bound, and each connection has one.
pub(super) type Outbox = mpsc::Sender<Box<Answer>>;
type Answer = Result<FromReceiver, Status>;

/// Serves connections, as `allowed`, until `stop`; then until each has received its pending
/// replies, for a bounded time.
pub(super) async fn serve(
    listener: Box<dyn Listener>,
    service: Arc<Service>,
    allowed: Allowed<'_>,
    stop: &CancellationToken,
) {
    let name = service.name.clone();
    listening::accept(listener, &name, allowed, stop, |accepted| {
        let Accepted { stream, peer, open, cut, place } = accepted;
        let one = Connection {
            peer: Arc::new(peer),
            service: service.clone(),
            window: window(service.limits.in_flight_max, open as u64),
            stop: stop.clone(),
            cut,
            _place: place,
        };
        // Not wrapped in another future: each layer would reserve memory for it twice, before its
        // first step and after, for ten thousand connections.
        one.serve(stream)
    })
    .await;
}

/// Returns the window of one of `connections` connections. A thousand peers that send without being
/// read must not fill the memory.
fn window(in_flight_max: u64, connections: u64) -> u32 {
    (in_flight_max / connections.max(1)).clamp(WINDOW_MIN, WINDOW_MAX) as u32
}

/// A connection to be served.
struct Connection {
    peer: Arc<Peer>,
    service: Arc<Service>,
    window: u32,
    /// The agent stops: end the connection in order.
    stop: CancellationToken,
    /// The time for an orderly end is over.
    cut: CancellationToken,
    /// Its permit among the open connections.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Serves the connection to its end.
    async fn serve(self, stream: Box<dyn Stream>) {
        let used = Arc::new(AtomicBool::new(false));
        let mut served = pin!(self.http(stream, used.clone()));
        let mut idle = pin!(sleep(HELLO_TIMEOUT));
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                biased;
                () = self.cut.cancelled() => return,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    served.as_mut().graceful_shutdown();
                }
                ended = &mut served => break ended,
                () = &mut idle, if !stopping && !idle.is_elapsed() => {
                    if !used.load(Ordering::Relaxed) {
                        debug!(source = %self.service.name, peer = %self.peer, "no stream");
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            debug!(source = %self.service.name, peer = %self.peer, %error, "connection broke");
        }
    }

    /// Creates the HTTP/2 connection with its only service.
    fn http(&self, stream: Box<dyn Stream>, used: Arc<AtomicBool>) -> Served {
        let exchange = Exchange { service: self.service.clone(), peer: self.peer.clone(), used };
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // Senders do not read a date, and it would come from the system's clock.
            .auto_date_header(false)
            .initial_stream_window_size(self.window)
            .initial_connection_window_size(self.window)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADERS_MAX)
            .keep_alive_interval(PROBE.0)
            .keep_alive_timeout(PROBE.1)
            .serve_connection(TokioIo::new(stream), exchange)
    }
}

type Served = http2::Connection<TokioIo<Box<dyn Stream>>, Exchange, TokioExecutor>;

type Answered = Result<Response<Body>, Infallible>;

/// The service of the schema, for one connection.
struct Exchange {
    service: Arc<Service>,
    peer: Arc<Peer>,
    /// True if a stream was admitted.
    used: Arc<AtomicBool>,
}

impl service::Service<Request<Incoming>> for Exchange {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, BoxFuture<'static, Answered>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Self { service, peer, used } = self;
        let (service, peer, used) = (service.clone(), peer.clone(), used.clone());
        if !service.admission.asks() {
            used.store(true, Ordering::Relaxed);
            return Either::Left(ready(Ok(converse(&service, peer, request))));
        }
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        Either::Right(Box::pin(async move {
            match service.admission.admit(peer, authorization).await {
                Ok(peer) => {
                    used.store(true, Ordering::Relaxed);
                    Ok(converse(&service, peer, request))
                }
                Err(status) => {
                    // Delay the refusal: the peer would reconnect immediately.
                    let _ = service.cx.stop.run_until_cancelled(sleep(PENANCE)).await;
                    Ok(status.into_http())
                }
            }
        }))
    }
}

/// Starts a conversation with `peer`.
fn converse(service: &Arc<Service>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let body_max = usize::try_from(service.limits.body_max).unwrap_or(usize::MAX);
    let message_max = body_max.saturating_add(wire::ENVELOPE_BYTES);
    wire::answer(request, message_max, &service.gathering, |puts| {
        let (outbox, answers) = mpsc::channel(OUTBOX);
        let conversation = Conversation::new(service.clone(), peer, outbox);
        tokio::spawn(conversation.run(puts));
        ReceiverStream::new(answers).map(|answer: Box<Answer>| *answer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unread_bytes_of_all_connections_are_bounded() {
        let in_flight_max = 64 << 20;
        assert_eq!(window(in_flight_max, 1), 2 << 20);
        for connections in [32, 100, 1_000] {
            let all = u64::from(window(in_flight_max, connections)) * connections;
            assert!(all <= in_flight_max, "{connections} connections hold {all}");
        }
        assert_eq!(window(in_flight_max, 10_000), 64 << 10);
        assert_eq!(window(1, 0), 64 << 10);
    }

    /// Returns the size of the future that `make` creates.
    fn size<A, B, F: Future>(_make: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn waiting_connections_use_little_memory() {
        let (connection, stream) = (size(Connection::serve), size(Conversation::run));
        assert!(connection <= 2_560, "{connection} bytes, ten thousand times");
        assert!(stream <= 1_664, "{stream} bytes, ten thousand times");
    }
}
