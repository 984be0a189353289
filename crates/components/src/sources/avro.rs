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

use formats::avro::around;
use futures::FutureExt;
use kit::repeats::Calls;
use kit::serve::{Connected, Listening, Preset, Put, Report, Serve, Served};
use pipeline::env::Stream;
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::debug;

use connection::{Connection, Ended};
use filter::Rules;

/// Settings of the `avro` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "..")]
    #[schemars(flatten)]
    listening: Listening<Shared>,
    /// Compression of clients, their `compression-type`: `none`, `deflate`, or `auto`, which
    /// detects it from the first byte of a connection.
    #[serde(default)]
    compression: Compression,
    /// Size limit of a call, after decompression.
    #[serde(default = "mib::<16>")]
    request_max: ByteSize,
    /// Rules for hosts, such as `allow:ip:10.1.*`, `deny:ip:10.0.0.0/8` or `allow:name:localhost`.
    /// The first matching rule applies; a host without a matching rule is allowed.
    #[serde(default)]
    ip_filter: Vec<String>,
    /// Time that a call waits for room before it is answered FAILED. Less than `request-timeout` of
    /// the clients, 20 s by default.
    #[serde(default = "seconds::<10>")]
    wait_max: Period,
    /// Timeout for receiving a call, and for sending a response.
    #[serde(default = "seconds::<30>")]
    request_timeout: Period,
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
        (
            "in_flight_max",
            "Memory limit of the calls of all connections, until their events are stored. A call \
             counts twice while it is decoded. At the limit, clients retry later.",
        ),
        (
            "tls",
            "TLS of the connections; clients need `ssl = true`. With a `compression` other than \
             `none` both orders are accepted: zlib inside TLS, and outside as in Flume 1.10 and \
             1.11.",
        ),
        (
            "tenants",
            "Limits for each client: shares, connections, rates, sizes. A call above a rate \
             waits until it may be repeated, or for `wait_max`, and is then answered FAILED. A \
             connection above the limit, or with a call above the size, is closed.",
        ),
    ];
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
        let rules = Rules::parse(&self.ip_filter).map_err(|(place, problem)| {
            BuildError::invalid(format!("ip_filter.{place}"), problem)
        })?;
        let message_max = ("request_max", self.request_max);
        let mut port = self.listening.port(message_max, self.wait_max.0, &[], cx)?;
        let mut compression = self.compression;
        if compression != Compression::None && port.has_tls() {
            let prelude = |stream: Box<dyn Stream>| around::inflate(stream).boxed();
            port = port.with_prelude(Arc::new(prelude));
            // With zlib outside of TLS there is none inside.
            compression = Compression::Auto;
        }
        let avro = Avro {
            rules,
            compression,
            request_max: self.request_max.0 as usize,
            request_timeout: self.request_timeout.0,
            idle_timeout: self.idle_timeout.0,
            calls: Calls::new(self.repeat_window.0),
        };
        Ok(Box::new(Served::new(port, avro)))
    }
}

struct Avro {
    rules: Rules,
    compression: Compression,
    request_max: usize,
    request_timeout: Duration,
    idle_timeout: Duration,
    /// A client may resend in the next run what the last run stored but could not acknowledge.
    calls: Calls,
}

impl Serve for Avro {
    type End = Ended;

    async fn serve(&self, connected: Connected, put: &Arc<Put>) -> Result<(), Ended> {
        if !self.rules.allow(&connected.host) {
            put.count("address_refused", 1);
            let (source, peer) = (&put.source, &connected.peer);
            debug!(%source, %peer, "a connection is refused by `ip_filter`");
            return Ok(());
        }
        Connection::new(connected, self, put).serve().await
    }

    fn report(&self, end: &Ended) -> Report {
        let anomaly = match end {
            Ended::TooLarge(_) => Some("call_too_large"),
            Ended::Malformed(_) | Ended::Tls => Some("call_malformed"),
            Ended::Slow(_) => Some("call_too_slow"),
            Ended::Memory => Some("memory_full"),
            Ended::Broken(_) | Ended::Idle(_) | Ended::Tenant(_) => None,
        };
        Report { anomaly, is_warning: false }
    }
}

#[cfg(test)]
mod tests;
