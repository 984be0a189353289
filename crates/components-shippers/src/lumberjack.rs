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
use components::sources::repeats::Calls;
use components::sources::tenants::Tenants;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, GivesAgain, Guarantee, Resource, Source, SourceContext,
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
    /// Field of a client's event that is the body, `message` for example; the others are in the
    /// header `lumberjack.fields`. Without it the body is the whole event as JSON.
    #[serde(default)]
    body_field: Option<String>,
    /// Headers that show a field: the name of the header, and the name of the field, with dots
    /// through fields of fields.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// How long events are remembered whose connection ended before they were answered: those that
    /// their host sends again within that time are not stored twice. `0s`: not at all.
    #[serde(default = "defaults::repeat_window")]
    repeat_window: Period,
    /// Largest frame that is taken, before and after decompression: an event, or the events of a
    /// compressed frame.
    #[serde(default = "defaults::message_max")]
    message_max: ByteSize,
    /// Bytes of events over 64 KiB that all connections together may hold in memory.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connections at a time. More wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// How long a window may take to come, and an answer to be taken.
    #[serde(default = "defaults::message_timeout")]
    message_timeout: Period,
    /// How long a connection may be open without an event.
    #[serde(default = "defaults::idle_timeout")]
    idle_timeout: Period,
    /// TLS: with this table clients have to speak it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// What each client may take: shares, connections, rates, sizes. What comes over a rate waits
    /// unread; one connection too many, or a message over its size, ends the connection.
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

    fn gives_again(&self) -> GivesAgain {
        GivesAgain::Nothing
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
