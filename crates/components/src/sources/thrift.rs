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

use formats::thrift::Protocol;
use kit::repeats::Calls;
use kit::serve::{Connected, Listening, Preset, Put, Report, Serve, Served};
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::Deserialize;

use connection::Connection;
use frame::End;

/// Settings of the `thrift` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    listening: Listening<Shared>,
    /// Encoding of the messages.
    #[serde(default)]
    protocol: Protocol,
    /// Size limit of a frame, which is one call with all its events.
    #[serde(default = "mib::<16>")]
    frame_max: ByteSize,
    /// Time that a call waits for room before it is answered `FAILED`.
    #[serde(default = "seconds::<3>")]
    wait_max: Period,
    /// Timeout for receiving a frame, and for sending a response.
    #[serde(default = "seconds::<30>")]
    frame_timeout: Period,
    /// Idle timeout of a connection without a call.
    #[serde(default = "seconds::<600>")]
    idle_timeout: Period,
    /// Time for which an unanswered call of a closed connection is remembered. Events that its host
    /// resends within that time are not stored twice. `0s`: disabled.
    #[serde(default = "seconds::<120>")]
    repeat_window: Period,
}

/// Descriptions of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const TEXTS: &[(&str, &str)] = &[
        ("in_flight_max", "Memory limit of the frames of all connections."),
        (
            "tenants",
            "Limits for each client: shares, connections, rates, sizes. A call above its rate is \
             answered `FAILED` if that lasts longer than `wait_max`. A connection above the limit, \
             or with a frame above its size, is closed.",
        ),
    ];
}

impl Component for Config {
    const KIND: &'static str = "thrift";
    const ANOMALIES: &[&str] =
        &["repeated_events", "tenant_connections", "tenant_message", "tenant_rate", "tls_failed"];
    const EXAMPLE: &str = r#"listen = "127.0.0.1:4141""#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        let message_max = ("frame_max", self.frame_max);
        let port = self.listening.port(message_max, self.wait_max.0, &[], cx)?;
        let thrift = Thrift {
            protocol: self.protocol,
            frame_max: self.frame_max.0 as usize,
            frame_timeout: self.frame_timeout.0,
            idle_timeout: self.idle_timeout.0,
            calls: Calls::new(self.repeat_window.0),
        };
        Ok(Box::new(Served::new(port, thrift)))
    }
}

struct Thrift {
    protocol: Protocol,
    frame_max: usize,
    frame_timeout: Duration,
    idle_timeout: Duration,
    /// A client may resend in the next run what the last run stored but could not acknowledge.
    calls: Calls,
}

impl Serve for Thrift {
    type End = End;

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), End> {
        let mut connection = Connection::new(connected, self, put);
        while connection.call().await? {}
        Ok(())
    }

    fn report(&self, end: &End) -> Report {
        let is_warning = match end {
            End::Broken(_) | End::Idle { .. } | End::Tenant(_) => false,
            End::Slow { .. } | End::Large { .. } | End::Malformed(_) => true,
        };
        Report { is_warning, anomaly: None }
    }
}

#[cfg(test)]
mod tests;
