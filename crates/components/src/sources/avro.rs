//! `avro`: receives Avro RPC of Flume: its Avro sinks, `RpcClient`, `avro-client`, and log4j
//! appenders.
//!
//! ```text
//!   bytes ─► inflate ─► frame ─► handshake ─► events ─► repeats ─► reserve room ─► commit ─► OK
//!                     closed                  error                   FAILED      UNKNOWN
//! ```
//!
//! | reply | meaning for the client |
//! |---|---|
//! | OK | every event of the call is in every required channel |
//! | FAILED | no room within `wait_max`, the tenant exceeds its rate, or the agent is stopping: nothing is stored, now or later |
//! | UNKNOWN | a channel failed while it stored: the events may be stored or not |
//! | an error | the call is malformed, or can never be stored: nothing is stored |
//!
//! Flume treats everything except OK as a failure: it closes the connection and resends the events.
//! Calls of a connection get their replies in order.
//!
//! A client without a reply resends, so an event may be stored more than once. Some repetitions are
//! recognised: see `repeat_window`.

mod connection;
mod filter;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use metrics::Metrics;
use peers::TenantBoard;
use pipeline::env::{Listener, Stream};
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Env, Guarantee, ResendMode, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::ServerTls;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use connection::Connection;
use filter::Rules;
use formats::avro::around;
use kit::listening::{self, DRAIN, Guard};
use kit::put::Storing;
use kit::repeats::Calls;
use kit::tenants::{Client, Sharing, Tenants};

/// Settings of the `avro` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Port 0 selects a free port.
    listen: String,
    /// Compression of clients, their `compression-type`: `none`, `deflate`, or `auto`, which
    /// detects it from the first byte of a connection.
    #[serde(default)]
    compression: Compression,
    /// Size limit of a call, after decompression.
    #[serde(default = "defaults::request_max")]
    request_max: ByteSize,
    /// Memory limit of the calls of all connections until they are stored. A call needs its size
    /// twice while it is decoded.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// Rules for hosts, such as `allow:ip:10.1.*`, `deny:ip:10.0.0.0/8` or `allow:name:localhost`.
    /// The first matching rule applies; a host without a matching rule is allowed.
    #[serde(default)]
    ip_filter: Vec<String>,
    /// Time that a call waits for room before it is answered FAILED. Less than `request-timeout` of
    /// the clients, 20 s by default.
    #[serde(default = "defaults::wait_max")]
    wait_max: Period,
    /// Timeout for receiving a call, and for sending a response.
    #[serde(default = "defaults::request_timeout")]
    request_timeout: Period,
    /// Idle timeout of a connection without a call.
    #[serde(default = "defaults::idle_timeout")]
    idle_timeout: Period,
    /// Time for which an unanswered call of a closed connection is remembered. Events that its host
    /// resends within that time are not stored twice. `0s`: disabled.
    #[serde(default = "defaults::repeat_window")]
    repeat_window: Period,
    /// TLS of the connections; clients need `ssl = true`. With a `compression` other than `none`
    /// both orders are accepted: zlib inside TLS, and outside as in Flume 1.10 and 1.11.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// Limits for each client: shares, connections, rates, sizes. A call above a rate is answered
    /// FAILED when it may be repeated, at the latest after `wait_max`. A connection above the
    /// limit, or with a call above the size, is closed.
    #[serde(default)]
    tenants: Tenants,
}

/// How the bytes of a connection are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compression {
    #[default]
    Auto,
    None,
    Deflate,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn request_max() -> ByteSize {
        ByteSize::mib(16)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }

    pub(super) fn wait_max() -> Period {
        Period(Duration::from_secs(10))
    }

    pub(super) fn request_timeout() -> Period {
        Period(Duration::from_secs(30))
    }

    pub(super) fn idle_timeout() -> Period {
        Period(Duration::from_secs(600))
    }

    pub(super) fn repeat_window() -> Period {
        Period(Duration::from_secs(120))
    }
}

impl Component for Config {
    const KIND: &'static str = "avro";
    const ANOMALIES: &[&str] = &[
        "address_refused",
        "call_failed",
        "call_malformed",
        "call_too_large",
        "call_too_slow",
        "call_unknown",
        "memory_full",
        "repeated_events",
        "tenant_connections",
        "tenant_message",
        "tenant_rate",
        "tls_failed",
    ];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        listening::check_address("listen", &self.listen)?;
        let largest = ("request_max", self.request_max);
        listening::check_limits(self.connections_max, largest, self.in_flight_max)?;
        self.tenants.check(largest)?;
        let rules = Rules::parse(&self.ip_filter).map_err(|(place, problem)| {
            BuildError::invalid(format!("ip_filter.{place}"), problem)
        })?;
        let mut compression = self.compression;
        let mut guard = Guard::new(self.tls, &[("listen", &self.listen)], cx, &[])?;
        if compression != Compression::None
            && let Some(tls) = guard.take()
        {
            let prelude = |stream: Box<dyn Stream>| around::inflate(stream).boxed();
            guard = Some(tls.with_prelude(Arc::new(prelude)));
            // With zlib outside of TLS there is none inside.
            compression = Compression::Auto;
        }
        Ok(Box::new(Avro {
            guard,
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            listen: self.listen,
            connections_max: self.connections_max as usize,
            rules,
            limits: Limits {
                compression,
                request_max: self.request_max.0 as usize,
                wait_max: self.wait_max.0,
                request_timeout: self.request_timeout.0,
                idle_timeout: self.idle_timeout.0,
            },
            in_flight_max: self.in_flight_max.0,
            tenants: self.tenants,
            board: cx.get(),
            calls: Calls::new(self.repeat_window.0),
            listener: None,
        }))
    }
}

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
struct Limits {
    compression: Compression,
    request_max: usize,
    wait_max: Duration,
    request_timeout: Duration,
    idle_timeout: Duration,
}

struct Avro {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    listen: String,
    connections_max: usize,
    guard: Option<Guard>,
    rules: Rules,
    limits: Limits,
    in_flight_max: u64,
    tenants: Tenants,
    board: TenantBoard,
    /// Kept between runs: a client may resend in the next run what the last run stored but could
    /// not acknowledge.
    calls: Calls,
    /// Present between opening and running.
    listener: Option<Box<dyn Listener>>,
}

/// State that the connections of one run share.
struct Shared {
    env: Env,
    metrics: Metrics,
    limits: Limits,
    /// Memory, and turns for memory and channels.
    sharing: Arc<Sharing>,
    calls: Calls,
    storing: Arc<Storing>,
}

impl Shared {
    /// Counts an anomaly.
    fn count(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.storing.source, reason, times);
    }
}

#[async_trait]
impl Source for Avro {
    fn guarantee(&self) -> Guarantee {
        // A client without a reply resends, and not every repetition is recognised.
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
        let shared = Arc::new(Shared {
            env: self.env.clone(),
            metrics: self.metrics.clone(),
            limits: self.limits,
            sharing,
            calls: self.calls.clone(),
            storing: Arc::new(Storing {
                source: self.name.clone(),
                intake: cx.intake,
                stop: cx.stop.clone(),
                wait_max: self.limits.wait_max,
                work: work.clone(),
            }),
        });
        let (allowed, rules) = ((self.connections_max, self.guard.as_ref()), &self.rules);
        listening::serve(listener, &self.name, allowed, &cx.stop, |stream, peer| {
            let (shared, host) = (shared.clone(), Arc::<str>::from(listening::host(&peer.address)));
            let is_allowed = rules.allow(&host);
            async move {
                let source = &shared.storing.source;
                if !is_allowed {
                    shared.count("address_refused", 1);
                    debug!(%source, %peer, "a connection is refused by `ip_filter`");
                    return;
                }
                let address = peer.address.clone();
                let client = Client::new(shared.sharing.clone(), peer);
                if let Err(error) = Connection::new(stream, (host, client), &shared).serve().await {
                    debug!(%source, peer = %address, %error, "a connection is closed");
                }
            }
        })
        .await;
        // Batches with reserved room are stored, even if their client has disconnected.
        work.close();
        let _ = tokio::time::timeout(DRAIN, work.wait()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
