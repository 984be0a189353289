//! `fluent_forward`: receives events of Fluent Bit, Fluentd and Docker's log driver in Fluentd's
//! forward protocol.
//!
//! ```text
//!   connection ─► login? ─► message ─► events ─► known chunk? ─► reserve room ─► commit ─► ack
//!                 closed    closed     closed    acknowledged      waits
//! ```
//!
//! # Invariants
//!
//! 1. A chunk is acknowledged when each of its events is in every required channel.
//! 2. A chunk that its host resends within `repeat_window` is stored once.
//! 3. The protocol has no refusal: without room the source stops reading from the connection. A
//!    message that can never be stored closes its connection, with a log line.
//!
//! A message that requests no reply is stored too, but its client does not notice a failure: see
//! `require_ack`.

mod chunks;
mod connection;
mod json;
mod login;
mod message;
mod pack;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use kit::tenants::Tenants;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    BuildContext, BuildError, Component, Guarantee, ResendMode, Resource, Secret, Source,
    SourceContext, SourceError,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ServerTls;

use crate::record::Mapping;
use crate::server::{Server, Service, Settings};
use chunks::Chunks;
use connection::Shared;
use login::Login;

/// Settings of the `fluent_forward` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address to listen on: `host:port`. Clients expect port 24224.
    listen: String,
    /// Record field that becomes the body of the event, for example `log` of containers; the other
    /// fields are in the header `fluent.fields`. Without it the body is the whole record as JSON.
    #[serde(default)]
    body_field: Option<String>,
    /// Headers from fields: the name of the header, and the name of the field, with dots for nested
    /// fields.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Whether clients must request acknowledgements. A message without a request closes its
    /// connection.
    #[serde(default)]
    require_ack: bool,
    /// Key that both sides must know. Without it there is no login.
    #[serde(default)]
    shared_key: Option<Secret>,
    /// Passwords by user, one of which a client must use. Only with `shared_key`.
    #[serde(default)]
    users: BTreeMap<String, Secret>,
    /// Time for which a chunk is remembered. A chunk that its host resends within that time,
    /// because the acknowledgement was lost, is not stored twice. `0s`: disabled.
    #[serde(default = "defaults::repeat_window")]
    repeat_window: Period,
    /// Size limit of a message, before and after decompression.
    #[serde(default = "defaults::message_max")]
    message_max: ByteSize,
    /// Memory limit of the messages over 64 KiB of all connections.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connection limit. Further connections wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// Timeout for receiving a message, and for sending a response.
    #[serde(default = "defaults::message_timeout")]
    message_timeout: Period,
    /// Idle timeout of a connection without a message. A client without acknowledgements does not
    /// notice that its connection was closed, and loses the next messages.
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
        Period(Duration::from_secs(24 * 3600))
    }
}

impl Component for Config {
    const KIND: &'static str = "fluent_forward";
    const ANOMALIES: &[&str] =
        &["event_divided", "message_refused", "repeated_events", "tls_failed"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let login = match self.shared_key {
            Some(key) if key.expose().is_empty() => {
                return Err(BuildError::invalid("shared_key", "an empty key keeps nothing out"));
            }
            Some(shared_key) => {
                let name = cx.name.to_string();
                Some(Arc::new(Login { name, shared_key, users: self.users }))
            }
            None if self.users.is_empty() => None,
            None => {
                let problem = "they count with `shared_key` alone; set that too";
                return Err(BuildError::invalid("users", problem));
            }
        };
        let mapping = Mapping::new("fluent", self.body_field, &self.headers)?;
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
        Ok(Box::new(Fluent {
            server: Server::new(settings, mapping, cx)?,
            require_ack: self.require_ack,
            login,
            chunks: Chunks::new(self.repeat_window.0),
        }))
    }
}

struct Fluent {
    server: Server,
    require_ack: bool,
    login: Option<Arc<Login>>,
    /// Kept between runs: a client may resend in the next run what the last run stored but could
    /// not acknowledge.
    chunks: Chunks,
}

#[async_trait]
impl Source for Fluent {
    fn guarantee(&self) -> Guarantee {
        // A client that requests replies resends a message without one.
        if self.require_ack { Guarantee::AtLeastOnce } else { Guarantee::BestEffort }
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
        let (require_ack, login) = (self.require_ack, self.login.clone());
        let chunks = self.chunks.clone();
        let serve = |client, peer: Arc<str>, service: Arc<Service>| {
            let (login, chunks) = (login.clone(), chunks.clone());
            let shared = Shared { service, require_ack, login, chunks };
            async move { connection::serve(client, &peer, &shared).await }
        };
        self.server.run(cx, serve).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
