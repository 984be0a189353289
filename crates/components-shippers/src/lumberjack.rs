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

use std::sync::Arc;

use kit::repeats::Calls;
use kit::serve::{Connected, Preset, Put, Report, Serve, Served};
use pipeline::units::{Period, seconds};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::client::{Client, End, Limits};
use crate::record::Mapping;
use crate::settings::{ANOMALIES, Shipping, TENANTS};
use connection::Connection;

/// Settings of the `lumberjack` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    shipping: Shipping<Shared>,
    /// Time for which unanswered events of a closed connection are remembered. Events that their
    /// host resends within that time are not stored twice. `0s`: disabled.
    #[serde(default = "seconds::<600>")]
    repeat_window: Period,
    /// Idle timeout of a connection without an event.
    #[serde(default = "seconds::<3600>")]
    idle_timeout: Period,
}

/// Descriptions of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const TEXTS: &[(&str, &str)] = &[
        ("listen", "Address to listen on: `host:port`. Clients expect port 5044."),
        (
            "body_field",
            "Field of a client's event that becomes the body, for example `message`; the other \
             fields are in the header `lumberjack.fields`. Without it the body is the whole event \
             as JSON.",
        ),
        (
            "message_max",
            "Size limit of a frame, before and after decompression: an event, or the events of a \
             compressed frame.",
        ),
        ("in_flight_max", "Memory limit of the events over 64 KiB of all connections."),
        ("message_timeout", "Timeout for receiving a window, and for sending a response."),
        TENANTS,
    ];
}

impl Component for Config {
    const KIND: &'static str = "lumberjack";
    const ANOMALIES: &[&str] = ANOMALIES;
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let (port, limits, mapping) = self.shipping.build(("lumberjack", self.idle_timeout), cx)?;
        let calls = Calls::new(self.repeat_window.0);
        let lumberjack = Lumberjack { limits, mapping: Arc::new(mapping), calls };
        Ok(Box::new(Served::new(port, lumberjack)))
    }
}

struct Lumberjack {
    limits: Limits,
    mapping: Arc<Mapping>,
    /// A client may resend in the next run what the last run stored but could not acknowledge.
    calls: Calls,
}

impl Serve for Lumberjack {
    type End = End;

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), End> {
        let client = Client::new(connected, self.limits, put);
        Connection::new(self, client).windows().await
    }

    fn report(&self, end: &End) -> Report {
        end.report()
    }
}

#[cfg(test)]
mod tests;
