//! `otlp`: receives log records, spans and metrics of OpenTelemetry, over gRPC and HTTP.
//!
//! ```text
//!   connection ─► HTTP/1 or 2 ─► sizes ─► budget ─► body ─► gunzip ─► events ─► reserve ─► commit
//!     both on each listener       400    429       400     400       400       429
//! ```
//!
//! # Invariants
//!
//! 1. The source reports success when every record is in every required channel, or is counted as
//!    rejected.
//! 2. After a status that OTLP retries (429, 503; `RESOURCE_EXHAUSTED` with `RetryInfo`,
//!    `UNAVAILABLE`), the request is not stored, or may be stored again.
//! 3. If a retry cannot help, the status is not one that OTLP retries.

mod answer;
mod config;
mod exchange;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kit::listening::{self, DRAIN, Guard};
use kit::tenants::{Client, Peer, Sharing, Tenants};
use peers::TenantBoard;
use pipeline::env::{Listener, Stream};
use pipeline::{Env, Guarantee, ResendMode, Resource, Source, SourceContext, SourceError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

pub use config::Config;
use exchange::{Exchange, Rules};

/// Timeout for the head of a request; also the idle timeout of HTTP/1 connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval of pings on silent HTTP/2 connections, and the timeout of their response.
const PROBE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Flow control windows of HTTP/2: per request, and per connection.
const WINDOWS: (u32, u32) = (128 << 10, 256 << 10);

/// Concurrent calls on an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// Maximum size of an HTTP/2 request's headers.
const HEADERS_MAX: u32 = 16 << 10;

/// Maximum size of an HTTP/1 request head, which is buffered until it is complete.
const HEAD_BYTES_MAX: usize = 64 << 10;

struct Otlp {
    name: Arc<str>,
    env: Env,
    metrics: metrics::Metrics,
    listen: Vec<String>,
    connections_max: usize,
    guard: Option<Guard>,
    rules: Rules,
    tenants: Tenants,
    board: TenantBoard,
    /// Set between opening and running.
    listeners: Vec<Box<dyn Listener>>,
}

#[async_trait]
impl Source for Otlp {
    fn guarantee(&self) -> Guarantee {
        // A client that misses the response resends the request.
        Guarantee::AtLeastOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        let listen =
            |address: &String| Resource::Listen { setting: "listen", address: address.clone() };
        self.listen.iter().map(listen).collect()
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        // Release listeners of a failed opening.
        self.listeners.clear();
        let mut listeners = Vec::new();
        for address in &self.listen {
            let listener = listening::listen(&*self.env.net, address, self.guard.as_ref()).await?;
            info!(source = %self.name, address = %listener.local_address(), "listening");
            listeners.push(listener);
        }
        self.listeners = listeners;
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let work = TaskTracker::new();
        let of = (&self.name, &self.metrics);
        let in_flight_max = self.rules.limits.in_flight_max;
        let sharing = Sharing::new(of, &self.tenants, in_flight_max, &self.board);
        let exchange = Arc::new(Exchange {
            source: self.name.clone(),
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            intake: cx.intake,
            stop: cx.stop.clone(),
            rules: self.rules.clone(),
            sharing,
            work: work.clone(),
        });
        let listeners = std::mem::take(&mut self.listeners);
        // Each listener has its own connection limit, so a flood on one does not block the other.
        let (name, guard, stop) = (&*self.name, self.guard.as_ref(), &cx.stop);
        let allowed = (self.connections_max, guard);
        let serving = listeners.into_iter().map(|listener| {
            let exchange = exchange.clone();
            listening::serve(listener, name, allowed, stop, move |stream, peer| {
                connection(stream, peer, exchange.clone(), stop.clone())
            })
        });
        futures::future::join_all(serving).await;
        // Finish storing reserved batches, even if their clients are gone.
        work.close();
        let _ = tokio::time::timeout(DRAIN, work.wait()).await;
        Ok(())
    }
}

/// Serves a connection to its end.
async fn connection(
    stream: Box<dyn Stream>,
    peer: Peer,
    exchange: Arc<Exchange>,
    stop: CancellationToken,
) {
    let source = exchange.source.clone();
    let used = Arc::new(AtomicBool::new(false));
    let begun = used.clone();
    let address = peer.address.clone();
    let client = Arc::new(Client::new(exchange.sharing.clone(), peer));
    let service = service_fn(move |request| {
        begun.store(true, Ordering::Relaxed);
        let (exchange, client) = (exchange.clone(), client.clone());
        async move { Ok::<_, Infallible>(exchange.answer(request, client.member()).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_MAX)
        .keep_alive_interval(PROBE.0)
        .keep_alive_timeout(PROBE.1);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut silent = std::pin::pin!(sleep(HEAD_TIMEOUT));
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                served.as_mut().graceful_shutdown();
            }
            ended = &mut served => break ended,
            () = &mut silent, if !stopping && !silent.is_elapsed() => {
                if !used.load(Ordering::Relaxed) {
                    debug!(%source, peer = %address, "a connection without a request");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        debug!(%source, peer = %address, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
