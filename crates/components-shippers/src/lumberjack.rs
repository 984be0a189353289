//! `lumberjack`: receives events of Filebeat and other Beats, and of Logstash's output of that
//! name.
//!
//! ```text
//!   connection ─► window ─► frames ─► events ─► repeats ─► reserve room ─► commit ─► ack
//!                           closed    closed                 waits, with keepalives
//! ```
//!
//! # Invariants
//!
//! 1. An event is acknowledged when it and all events before it are in every required channel.
//! 2. The protocol has no refusal: without room the source stops reading from the connection. An
//!    event that can never be stored closes its connection, with a log line.
//!
//! A client without a reply resends, so an event may be stored more than once. Some repetitions are
//! recognised: see `repeat_window`.

mod connection;
mod event;
mod frame;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use kit::repeats::Calls;
use kit::tenants::Tenants;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Guarantee, ResendMode, Resource, Source, SourceContext,
    SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ServerTls;

use crate::record::Mapping;
use crate::server::{Server, Service, Settings};

/// Settings of the `lumberjack` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Clients expect port 5044.
    listen: String,
    /// Field of a client's event that becomes the body, for example `message`; the other fields are
    /// in the header `lumberjack.fields`. Without it the body is the whole event as JSON.
    #[serde(default)]
    body_field: Option<String>,
    /// Headers from fields: the name of the header, and the name of the field, with dots for nested
    /// fields.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Time for which unanswered events of a closed connection are remembered. Events that their
    /// host resends within that time are not stored twice. `0s`: disabled.
    #[serde(default = "defaults::repeat_window")]
    repeat_window: Period,
    /// Size limit of a frame, before and after decompression: an event, or the events of a
    /// compressed frame.
    #[serde(default = "defaults::message_max")]
    message_max: ByteSize,
    /// Memory limit of the events over 64 KiB of all connections.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// Timeout for receiving a window, and for sending a response.
    #[serde(default = "defaults::message_timeout")]
    message_timeout: Period,
    /// Idle timeout of a connection without an event.
    #[serde(default = "defaults::idle_timeout")]
    idle_timeout: Period,
    /// TLS of the connections; clients must use it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// Limits for each client: shares, connections, rates, sizes. Messages above a rate wait
    /// unread. A connection above the limit, or with a message above the size, is closed.
    #[serde(default)]
    tenants: Tenants,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn repeat_window() -> Period {
        Period(Duration::from_secs(600))
    }

    pub(super) fn message_max() -> ByteSize {
        ByteSize::mib(16)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        1024
    }

    pub(super) fn message_timeout() -> Period {
        Period(Duration::from_secs(30))
    }

    pub(super) fn idle_timeout() -> Period {
        Period(Duration::from_secs(3600))
    }
}

impl Component for Config {
    const KIND: &'static str = "lumberjack";
    const ANOMALIES: &[&str] =
        &["event_divided", "message_refused", "repeated_events", "tls_failed"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let mapping = Mapping::new("lumberjack", self.body_field, &self.headers)?;
        let settings = Settings {
            listen: self.listen,
            connections_max: self.connections_max,
            message_max: self.message_max,
            in_flight_max: self.in_flight_max,
            message_timeout: self.message_timeout.0,
            idle_timeout: self.idle_timeout.0,
            tls: self.tls,
            tenants: self.tenants,
        };
        Ok(Box::new(Lumberjack {
            server: Server::new(settings, mapping, cx)?,
            calls: Calls::new(self.repeat_window.0),
        }))
    }
}

struct Lumberjack {
    server: Server,
    /// Kept between runs: a client may resend in the next run what the last run stored but could
    /// not acknowledge.
    calls: Calls,
}

#[async_trait]
impl Source for Lumberjack {
    fn guarantee(&self) -> Guarantee {
        // A client without a reply resends, and not every repetition is recognised.
        Guarantee::AtLeastOnce
    }

    fn resend_mode(&self) -> ResendMode {
        ResendMode::Nothing
    }

    fn resources(&self) -> Vec<Resource> {
        self.server.resources()
    }

    async fn open(&mut self, _cx: &SourceContext) -> Result<(), SourceError> {
        self.server.open().await
    }

    async fn run(&mut self, cx: SourceContext) -> Result<(), SourceError> {
        let calls = self.calls.clone();
        let serve = |client, peer: Arc<str>, service: Arc<Service>| {
            let calls = calls.clone();
            async move { connection::serve(client, &peer, &service, &calls).await }
        };
        self.server.run(cx, serve).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
