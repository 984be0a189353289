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

use kit::serve::{Connected, Preset, Put, Report, Serve, Served};
use pipeline::units::{Period, seconds};
use pipeline::{BuildContext, BuildError, Component, Guarantee, Secret, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::client::{Client, End, Limits};
use crate::record::Mapping;
use crate::settings::{ANOMALIES, Shipping, TENANTS};
use chunks::Chunks;
use connection::Connection;
use login::Login;

/// Settings of the `fluent_forward` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shipping: Shipping<Shared>,
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
    #[serde(default = "seconds::<600>")]
    repeat_window: Period,
    /// Idle timeout of a connection without a message. A client without acknowledgements does not
    /// notice that its connection was closed, and loses the next messages.
    #[serde(default = "seconds::<86_400>")]
    idle_timeout: Period,
}

/// Descriptions of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const TEXTS: &[(&str, &str)] = &[
        ("listen", "Address to listen on: `host:port`. Clients expect port 24224."),
        (
            "body_field",
            "Record field that becomes the body of the event, for example `log` of containers; the \
             other fields are in the header `fluent.fields`. Without it the body is the whole \
             record as JSON.",
        ),
        ("in_flight_max", "Memory limit of the messages over 64 KiB of all connections."),
        TENANTS,
    ];
}

impl Component for Config {
    const KIND: &'static str = "fluent_forward";
    const ANOMALIES: &[&str] = ANOMALIES;
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let login = match self.shared_key {
            Some(key) if key.expose().is_empty() => {
                return Err(BuildError::invalid(
                    "shared_key",
                    "must not be empty, because an empty key protects nothing",
                ));
            }
            Some(shared_key) => {
                let name = cx.name.to_string();
                Some(Login { name, shared_key, users: self.users })
            }
            None if self.users.is_empty() => None,
            None => {
                let problem = "has an effect only with `shared_key`; set `shared_key`, or remove \
                               this";
                return Err(BuildError::invalid("users", problem));
            }
        };
        let (port, limits, mapping) = self.shipping.build(("fluent", self.idle_timeout), cx)?;
        let fluent = Fluent {
            limits,
            mapping: Arc::new(mapping),
            require_ack: self.require_ack,
            login,
            chunks: Chunks::new(self.repeat_window.0),
        };
        Ok(Box::new(Served::new(port, fluent)))
    }
}

struct Fluent {
    limits: Limits,
    mapping: Arc<Mapping>,
    require_ack: bool,
    login: Option<Login>,
    /// A client may resend in the next run what the last run stored but could not acknowledge.
    chunks: Chunks,
}

impl Serve for Fluent {
    type End = End;

    fn guarantee(&self) -> Guarantee {
        // A client that requests replies resends a message without one.
        if self.require_ack { Guarantee::AtLeastOnce } else { Guarantee::BestEffort }
    }

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), End> {
        let client = Client::new(connected, self.limits, put);
        Connection { fluent: self, client }.messages().await
    }

    fn report(&self, end: &End) -> Report {
        end.report()
    }
}

#[cfg(test)]
mod tests;
