//! `http`: each POST or PUT is a batch; the response follows once it is in the channels.
//!
//! ```text
//!   request ─► sizes ─► budget ─► body ─► gunzip ─► decoder ─► reserve room ─► commit ─► 200
//!            413, 429    503       408      400       400          503
//! ```
//!
//! | status | meaning for the client |
//! |---|---|
//! | 200 | every event of the body is in every required channel |
//! | 400, 413, 415 | the body is invalid, too large, or in an unknown format: nothing is stored |
//! | 429 | the tenant has too many connections, or exceeds its rate: nothing is stored; retry after `Retry-After` |
//! | 408 | the body did not arrive in time: nothing is stored |
//! | 500 | a channel failed while it stored: the events may be stored or not |
//! | 503 | no room within `wait_max`: nothing is stored, now or later; retry after `Retry-After` |
//!
//! A request over the `message_max` of the downstream agents becomes several batches.
//!
//! A client without a response resends the request, so an event may be stored more than once. The
//! source reserves room before it stores anything, so a 503 never means "stored later".

mod exchange;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::Metrics;
use peers::TenantBoard;
use pipeline::env::{Listener, Stream};
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Choice, Component, Decoder, Env, Guarantee, ResendMode, Resource,
    Source, SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ServerTls;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use exchange::Exchange;
use kit::listening::{self, DRAIN, Guard};
use kit::tenants::{Client, Peer, Sharing, Tenants};

/// Time limit for the head of a request; also the idle timeout of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum size of the head of a request. The library keeps an incomplete head and parses it again
/// from the start with each piece, so this bounds the cost of a client that sends byte by byte.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Settings of the `http` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Port 0 selects a free port.
    listen: String,
    /// Decoder of request bodies: `json`, as Flume's JSON handler, `lines`, or `blob` for a body
    /// that is one event; a table with `type` if it has settings.
    #[serde(default = "defaults::decoder")]
    decoder: Choice<dyn Decoder>,
    /// Whether query parameters become headers of each event.
    #[serde(default)]
    query_headers: bool,
    /// Size limit of a body, before and after decompression.
    #[serde(default = "defaults::body_max")]
    body_max: ByteSize,
    /// Memory limit of the bodies of all requests.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// Time that a request waits for room before it is answered 503.
    #[serde(default = "defaults::wait_max")]
    wait_max: Period,
    /// Timeout for receiving a body.
    #[serde(default = "defaults::body_timeout")]
    body_timeout: Period,
    /// TLS of the connections; clients must use it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// Limits for each client: shares, connections, rates, sizes. A request above a limit is
    /// answered 429, a body above its size 413.
    #[serde(default)]
    tenants: Tenants,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};
    use pipeline::{Choice, Decoder};

    pub(super) fn decoder() -> Choice<dyn Decoder> {
        Choice::from_kind("json")
    }

    pub(super) fn body_max() -> ByteSize {
        ByteSize::mib(8)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }

    pub(super) fn wait_max() -> Period {
        Period(Duration::from_secs(1))
    }

    pub(super) fn body_timeout() -> Period {
        Period(Duration::from_secs(30))
    }
}

impl Component for Config {
    const KIND: &'static str = "http";
    const ANOMALIES: &[&str] =
        &["tenant_connections", "tenant_message", "tenant_rate", "tls_failed"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        listening::check_address("listen", &self.listen)?;
        let largest = ("body_max", self.body_max);
        listening::check_limits(self.connections_max, largest, self.in_flight_max)?;
        self.tenants.check(largest)?;
        Ok(Box::new(Http {
            guard: Guard::new(self.tls, &[("listen", &self.listen)], cx, &["http/1.1"])?,
            name: cx.name.clone(),
            env: cx.env.clone(),
            listen: self.listen,
            connections_max: self.connections_max as usize,
            limits: Limits {
                body_max: self.body_max.0 as usize,
                wait_max: self.wait_max.0,
                body_timeout: self.body_timeout.0,
                query_headers: self.query_headers,
            },
            metrics: cx.metrics.clone(),
            in_flight_max: self.in_flight_max.0,
            tenants: self.tenants,
            board: cx.get(),
            decoder: self.decoder.build("decoder", cx)?.into(),
            listener: None,
        }))
    }
}

/// Limits of a request.
#[derive(Debug, Clone, Copy)]
struct Limits {
    body_max: usize,
    wait_max: Duration,
    body_timeout: Duration,
    query_headers: bool,
}

struct Http {
    name: Arc<str>,
    env: Env,
    listen: String,
    connections_max: usize,
    guard: Option<Guard>,
    limits: Limits,
    metrics: Metrics,
    in_flight_max: u64,
    tenants: Tenants,
    board: TenantBoard,
    decoder: Arc<dyn Decoder>,
    /// Present between opening and running.
    listener: Option<Box<dyn Listener>>,
}

#[async_trait]
impl Source for Http {
    fn guarantee(&self) -> Guarantee {
        // A client without a response resends the request.
        Guarantee::AtLeastOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Listen { setting: "listen", address: self.listen.clone() }]
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        let listener = listening::listen(&*self.env.net, &self.listen, self.guard.as_ref()).await?;
        info!(source = %self.name, address = %listener.local_address(), "listening");
        self.listener = Some(listener);
        Ok(())
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let listener = self.listener.take().expect("a source is opened before it runs");
        let work = TaskTracker::new();
        let of = (&self.name, &self.metrics);
        let sharing = Sharing::new(of, &self.tenants, self.in_flight_max, &self.board);
        let exchange = Arc::new(Exchange {
            source: self.name.clone(),
            env: self.env.clone(),
            intake: cx.intake,
            stop: cx.stop.clone(),
            limits: self.limits,
            sharing,
            decoder: self.decoder.clone(),
            work: work.clone(),
        });
        let (allowed, stop) = ((self.connections_max, self.guard.as_ref()), cx.stop);
        listening::serve(listener, &self.name, allowed, &stop, |stream, peer| {
            connection(stream, peer, exchange.clone(), stop.clone())
        })
        .await;
        // Batches with reserved room are stored, even if their client has disconnected.
        work.close();
        let _ = tokio::time::timeout(DRAIN, work.wait()).await;
        Ok(())
    }
}

async fn connection(
    stream: Box<dyn Stream>,
    peer: Peer,
    exchange: Arc<Exchange>,
    stop: CancellationToken,
) {
    let source = exchange.source.clone();
    let address = peer.address.clone();
    let client = Arc::new(Client::new(exchange.sharing.clone(), peer));
    let service = service_fn(move |request| {
        let (exchange, client) = (exchange.clone(), client.clone());
        async move { Ok::<_, Infallible>(exchange.answer(request, client.member()).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        ended = &mut served => ended,
    };
    if let Err(error) = ended {
        debug!(%source, peer = %address, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
