//! The accept loop, and HTTP/2 on each connection.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::Map;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pipeline::env::{Listener, Stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};
use wire::v1::delivery_server::{Delivery, DeliveryServer};
use wire::v1::{FromReceiver, FromSender};

use super::conversation::{Conversation, HELLO_TIMEOUT};
use super::{DRAIN, Service};

/// Pause after a connection could not be accepted: most often there are no file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Streams of one connection. One is used; more are an error of the peer.
const STREAMS_MAX: u32 = 4;

/// Bytes of the headers of a request.
const HEADERS_MAX: u32 = 16 << 10;

/// Bytes of a frame: large enough that frames cost nothing, small enough for a cache.
const FRAME_BYTES: u32 = 256 << 10;

/// What the transport may hold of one connection that is not read: at least what a fast link
/// carries in a round trip, at most what a thousand connections can be granted.
const WINDOW_MIN: u64 = 1 << 20;
const WINDOW_MAX: u64 = 2 << 20;

/// How often a silent connection is probed, and how long the answer may take.
const PROBE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// Answers that wait for the transport.
const OUTBOX: usize = 16;

/// Where a conversation puts its answers. They are boxed: a queue has room for 32 from the start,
/// whatever its bound, and there is one for each connection.
pub(super) type Outbox = mpsc::Sender<Box<Answer>>;
type Answer = Result<FromReceiver, Status>;

/// Serves connections, at most `max` at a time, until `stop`; then until each has heard what it is
/// owed, for a bounded time.
pub(super) async fn serve(
    listener: Box<dyn Listener>,
    service: Arc<Service>,
    max: usize,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(max));
    let connections = TaskTracker::new();
    // Ends what is left when the time is over, or when this future is dropped.
    let cut = CancellationToken::new();
    let _cut_on_drop = cut.clone().drop_guard();
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("places are never closed");
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let one = connection(stream, peer.into(), service.clone(), stop.clone());
                    let cut = cut.clone();
                    connections.spawn(async move {
                        cut.run_until_cancelled(one).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(source = %service.name, %error, "cannot accept a connection");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = accept => {}
    }
    connections.close();
    // A peer that does not let go is cut off.
    let _ = timeout(DRAIN + service.limits.linger, connections.wait()).await;
}

/// Serves one connection to its end.
async fn connection(
    stream: Box<dyn Stream>,
    peer: Arc<str>,
    service: Arc<Service>,
    stop: CancellationToken,
) {
    let limits = service.limits;
    let body_max = usize::try_from(limits.body_max).unwrap_or(usize::MAX);
    let window = limits.window.bytes.clamp(WINDOW_MIN, WINDOW_MAX) as u32;
    let name = service.name.clone();
    let used = Arc::new(AtomicBool::new(false));
    let exchange = Exchange { service, peer: peer.clone(), used: used.clone() };
    let delivery = DeliveryServer::new(exchange)
        .max_decoding_message_size(body_max.saturating_add(wire::ENVELOPE_BYTES));
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        // Nobody reads a date, and it would be of the system's clock.
        .auto_date_header(false)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .keep_alive_interval(PROBE.0)
        .keep_alive_timeout(PROBE.1)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(delivery));
    let mut served = pin!(served);
    let mut idle = pin!(sleep(HELLO_TIMEOUT));
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                break served.await;
            }
            ended = &mut served => break ended,
            () = &mut idle, if !idle.is_elapsed() => {
                if !used.load(Ordering::Relaxed) {
                    debug!(source = %name, %peer, "connection without a stream");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        debug!(source = %name, %peer, %error, "connection broke");
    }
}

type Answers = Map<ReceiverStream<Box<Answer>>, fn(Box<Answer>) -> Answer>;

/// The service of the schema, for one connection.
struct Exchange {
    service: Arc<Service>,
    peer: Arc<str>,
    /// A stream was opened.
    used: Arc<AtomicBool>,
}

#[async_trait]
impl Delivery for Exchange {
    type ExchangeStream = Answers;

    async fn exchange(
        self: Arc<Self>,
        request: Request<Streaming<FromSender>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        self.used.store(true, Ordering::Relaxed);
        let (outbox, answers) = mpsc::channel(OUTBOX);
        let conversation = Conversation::new(self.service.clone(), self.peer.clone(), outbox);
        tokio::spawn(conversation.run(request.into_inner()));
        let unbox: fn(Box<Answer>) -> Answer = |answer| *answer;
        Ok(Response::new(ReceiverStream::new(answers).map(unbox)))
    }
}
