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

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kit::serve::{Connected, Put, Serve};
use thiserror::Error;
use tokio::time::sleep;

pub use config::Config;
use exchange::Exchange;

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

struct Otlp(Arc<Exchange>);

/// Why a connection ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("no request from the client within {HEAD_TIMEOUT:?}, so its connection is closed")]
    Silent,
    #[error(transparent)]
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl Serve for Otlp {
    type End = Ended;

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), Ended> {
        let Connected { stream, client, .. } = connected;
        let used = Arc::new(AtomicBool::new(false));
        let (begun, client) = (used.clone(), Arc::new(client));
        let (exchange, of_call) = (self.0.clone(), put.clone());
        let service = service_fn(move |request| {
            begun.store(true, Ordering::Relaxed);
            let (exchange, client, put) = (exchange.clone(), client.clone(), of_call.clone());
            async move {
                let response = exchange.answer(request, client.member(), &put).await;
                Ok::<_, Infallible>(response)
            }
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
        let silent = async {
            sleep(HEAD_TIMEOUT).await;
            if used.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            biased;
            () = put.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
            ended = &mut served => ended,
            () = silent => return Err(Ended::Silent),
        };
        ended.map_err(Ended::Broken)
    }
}

#[cfg(test)]
mod tests;
