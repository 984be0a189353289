//! `thrift`: receives events of Flume's Thrift sinks and clients; each call is a batch, and gets
//! its reply once it is in the channels.
//!
//! ```text
//!   frame ─► head ─► budget ─► rest of it ─► events ─► repeats ─► reserve room ─► commit ─► OK
//!   closed   closed  FAILED      closed     exception              FAILED        UNKNOWN
//! ```
//!
//! | reply | meaning for the client |
//! |---|---|
//! | `OK` | every event of the call is in every required channel |
//! | `FAILED` | no room within `wait_max`: nothing is stored, now or later |
//! | `ERROR` | the events can never be stored: they exceed the limit of a channel |
//! | `UNKNOWN` | a channel failed while it stored: the events may be stored or not |
//! | `TApplicationException` | an unknown method or malformed arguments: nothing is stored |
//!
//! A frame that is too large, takes too long or is not a message gets no reply: the connection is
//! closed. Calls of a connection are handled one after the other. A `oneway` call is stored without
//! a reply.
//!
//! A client without a reply resends, so an event may be stored more than once. Some repetitions are
//! recognised: see `repeat_window`.

mod connection;
mod frame;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use metrics::Metrics;
use peers::TenantBoard;
use pipeline::env::Listener;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Env, Guarantee, ResendMode, Resource, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use support::log_rate::LogRate;
use tls::ServerTls;
use tokio_util::task::TaskTracker;
use tracing::info;

use connection::{Connection, Shared};
use formats::thrift::Protocol;
use kit::listening::{self, DRAIN, Guard};
use kit::put::Storing;
use kit::repeats::Calls;
use kit::tenants::{Sharing, Tenants};

/// Maximum number of log lines per minute about connections that were closed because of their
/// input.
const LOG_LINES: u32 = 5;

/// Settings of the `thrift` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Port 0 selects a free port.
    listen: String,
    /// Encoding of the messages.
    #[serde(default)]
    protocol: Protocol,
    /// Size limit of a frame, which is one call with all its events.
    #[serde(default = "defaults::frame_max")]
    frame_max: ByteSize,
    /// Memory limit of the frames of all connections.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// Time that a call waits for room before it is answered `FAILED`.
    #[serde(default = "defaults::wait_max")]
    wait_max: Period,
    /// Timeout for receiving a frame, and for sending a response.
    #[serde(default = "defaults::frame_timeout")]
    frame_timeout: Period,
    /// Idle timeout of a connection without a call.
    #[serde(default = "defaults::idle_timeout")]
    idle_timeout: Period,
    /// Time for which an unanswered call of a closed connection is remembered. Events that its host
    /// resends within that time are not stored twice. `0s`: disabled.
    #[serde(default = "defaults::repeat_window")]
    repeat_window: Period,
    /// TLS of the connections; clients must use it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// Limits for each client: shares, connections, rates, sizes. A call above its rate is answered
    /// `FAILED` if that lasts longer than `wait_max`. A connection above the limit, or with a frame
    /// above its size, is closed.
    #[serde(default)]
    tenants: Tenants,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn frame_max() -> ByteSize {
        ByteSize::mib(16)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }

    pub(super) fn wait_max() -> Period {
        Period(Duration::from_secs(3))
    }

    pub(super) fn frame_timeout() -> Period {
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
    const KIND: &'static str = "thrift";
    const ANOMALIES: &[&str] =
        &["repeated_events", "tenant_connections", "tenant_message", "tenant_rate", "tls_failed"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        listening::check_address("listen", &self.listen)?;
        let largest = ("frame_max", self.frame_max);
        listening::check_limits(self.connections_max, largest, self.in_flight_max)?;
        self.tenants.check(largest)?;
        Ok(Box::new(Thrift {
            guard: Guard::new(self.tls, &[("listen", &self.listen)], cx, &[])?,
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            listen: self.listen,
            connections_max: self.connections_max as usize,
            limits: Limits {
                protocol: self.protocol,
                frame_max: self.frame_max.0 as usize,
                wait_max: self.wait_max.0,
                frame_timeout: self.frame_timeout.0,
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
    protocol: Protocol,
    frame_max: usize,
    wait_max: Duration,
    frame_timeout: Duration,
    idle_timeout: Duration,
}

struct Thrift {
    name: Arc<str>,
    env: Env,
    metrics: Metrics,
    listen: String,
    connections_max: usize,
    guard: Option<Guard>,
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

#[async_trait]
impl Source for Thrift {
    fn guarantee(&self) -> Guarantee {
        // A client without a reply resends the call, and not every repetition is recognised.
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
        let stop = cx.stop;
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
                stop: stop.clone(),
                wait_max: self.limits.wait_max,
                work: work.clone(),
            }),
            log: LogRate::new(LOG_LINES),
        });
        let allowed = (self.connections_max, self.guard.as_ref());
        listening::serve(listener, &self.name, allowed, &stop, |stream, peer| {
            let (shared, address) = (shared.clone(), peer.address.clone());
            async move { Connection::new(stream, peer, &shared).serve(&address).await }
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
