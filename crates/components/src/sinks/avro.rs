//! `avro`: sends batches to an Avro source of Flume or of another agent.
//!
//! ```text
//!   OK                               delivered
//!   FAILED, an error                 retried
//!   UNKNOWN, no reply                retried, and may have been stored already
//! ```
//!
//! A batch is sent as `appendBatch` calls of at most `events_max` events; each waits for the reply
//! to the one before it. If a call fails, the whole batch is sent again.

mod connections;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::deliver::{Deliver, Delivered, Options, Requests};
use pipeline::units::Period;
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, ErrorClass, Guarantee, Sink, plain_text,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tls::{ClientTls, Dialer};

use connections::Connections;
use formats::avro::Malformed;
use formats::avro::call::Status;
use formats::avro::caller::Reply;
use formats::avro::datum::{put_event, put_long};

/// Settings of the `avro` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Avro source: `host:port`. The name is resolved for each connection.
    address: String,
    /// Limit of events in a call. A Flume source rejects calls with more events than the
    /// `transactionCapacity` of its channels, 100 by default.
    #[serde(default = "pipeline::units::number::<100>")]
    events_max: usize,
    /// Compression, as `compression-type` of the source: `none` or `deflate`.
    #[serde(default)]
    compression: Compression,
    /// Level of `deflate`, 0 to 9.
    #[serde(default = "pipeline::units::number_u32::<6>")]
    compression_level: u32,
    /// Limit of batches in flight, each on its own connection.
    #[serde(default = "pipeline::units::number::<4>")]
    in_flight_max: usize,
    /// Whether batches of one origin are delivered in order: only one of them is in flight at a
    /// time.
    #[serde(default)]
    in_order: bool,
    /// Timeout for connecting.
    #[serde(default = "pipeline::units::seconds::<20>")]
    connect_timeout: Period,
    /// Timeout for the response to a call.
    #[serde(default = "pipeline::units::seconds::<20>")]
    timeout: Period,
    /// Maximum age of a connection. An older one is closed after its batch, so that the next one
    /// may use another address of the name. Default: no limit.
    #[serde(default)]
    reconnect_after: Option<Period>,
    /// TLS of the connection. A Flume source needs `ssl = true`.
    #[serde(default)]
    tls: Option<ClientTls>,
    /// Order of compression and TLS: `inside` of TLS, as up to Flume 1.9, or `outside`, as in Flume
    /// 1.10 and 1.11. Aqueduct's own source accepts both.
    #[serde(default)]
    compression_layer: Layer,
}

/// Which of TLS and compression is inside of the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Layer {
    #[default]
    Inside,
    Outside,
}

/// How the bytes of a connection are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compression {
    #[default]
    None,
    Deflate,
}

impl Component for Config {
    const KIND: &'static str = "avro";
    const EXAMPLE: &str = r#"address = "127.0.0.1:4141""#;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let port = self.address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            let problem = "must have a host and a port; write for example \"collector-1:4545\"";
            return Err(BuildError::invalid("address", problem));
        }
        for (setting, value) in
            [("events_max", self.events_max), ("in_flight_max", self.in_flight_max)]
        {
            if value == 0 {
                return Err(BuildError::invalid(setting, "must be at least 1"));
            }
        }
        if self.compression_level > 9 {
            return Err(BuildError::invalid("compression_level", "must be from 0 to 9"));
        }
        if self.tls.is_none() {
            cx.plain_text.speaks("address", &self.address, plain_text::TABLE);
        }
        let options = Options {
            in_flight_max: self.in_flight_max,
            in_order: self.in_order,
            // Each call has its own limit, and a batch has any number of calls.
            timeout: Duration::MAX,
        };
        let deflate = self.compression == Compression::Deflate;
        let outside = self.compression_layer == Layer::Outside;
        if outside && !(deflate && self.tls.is_some()) {
            let problem = "`outside` has an effect only with `tls` and `compression = \
                           \"deflate\"`; set both, or remove this";
            return Err(BuildError::invalid("compression_layer", problem));
        }
        let level = deflate.then_some(self.compression_level);
        let connections = Connections {
            dialer: Dialer::new(&cx.env, self.tls, &[])?,
            address: self.address.into(),
            deflate: level.filter(|_| !outside),
            deflate_around: level.filter(|_| outside),
            connect_timeout: self.connect_timeout.0,
            timeout: self.timeout.0,
            reconnect_after: self.reconnect_after.map(|period| period.0),
            idle_max: self.in_flight_max,
            idle: std::sync::Mutex::default(),
        };
        Ok(Box::new(Requests::new(Avro { events_max: self.events_max, connections }, options)))
    }
}

/// Reason why events were not delivered.
#[derive(Debug, Error)]
enum AvroError {
    #[error(
        "cannot connect to {address}; check that the server is running and reachable from this host"
    )]
    Connect {
        address: Arc<str>,
        #[source]
        source: std::io::Error,
    },
    #[error("{address} did not store the batch and answered {}; the batch is resent; see the log \
             of that agent", status_name(*.status))]
    Status { address: Arc<str>, status: Status },
    #[error("{address} rejected the batch: {text}; see the log of that agent")]
    Refused { address: Arc<str>, text: String },
    #[error(
        "no response from {address} within {limit:?}; the events are resent, and may be stored \
         twice; check that agent and the network"
    )]
    TimedOut { address: Arc<str>, limit: Duration },
    #[error(
        "lost the connection to {address} before the response; the events are resent, and may be \
         stored twice; see the log of that agent"
    )]
    Broken {
        address: Arc<str>,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{address} does not respond like an Avro source; check that `compression` is the same there"
    )]
    Answer {
        address: Arc<str>,
        #[source]
        source: Malformed,
    },
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Ok => "OK",
        Status::Failed => "FAILED",
        Status::Unknown => "UNKNOWN",
    }
}

impl Classify for AvroError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            Self::Status { status: Status::Unknown, .. } => ErrorClass::Indeterminate,
            // A Flume source sends this reply when a channel is full, and for every other failure.
            Self::Status { .. } | Self::Refused { .. } => ErrorClass::Transient,
            // The events may have been stored.
            Self::TimedOut { .. } | Self::Broken { .. } => ErrorClass::Indeterminate,
            // Another service, or a server with other settings.
            Self::Answer { .. } => ErrorClass::Blocked,
        }
    }
}

struct Avro {
    events_max: usize,
    connections: Connections,
}

impl Avro {
    /// Sends one call on a connection.
    async fn call(
        &self,
        connection: &mut connections::Connection,
        events: &[u8],
    ) -> Result<(), AvroError> {
        let address = || self.connections.address.clone();
        match self.connections.call(connection, events).await? {
            Reply::Status(Status::Ok) => Ok(()),
            Reply::Status(status) => Err(AvroError::Status { address: address(), status }),
            Reply::Error(text) => Err(AvroError::Refused { address: address(), text: line(&text) }),
            // The server knew the protocol before, and requests it again.
            Reply::Again => {
                Err(AvroError::Answer { address: address(), source: Malformed::Protocol })
            }
        }
    }
}

/// Returns the beginning of a server's error as one line without control characters.
fn line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[async_trait]
impl Deliver for Avro {
    type Error = AvroError;

    async fn probe(&self) -> Result<Option<String>, AvroError> {
        self.connections.probe().await.map(Some)
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, AvroError> {
        let mut connection = None;
        let mut rest = batch.len();
        let mut call = Vec::new();
        let mut in_call = 0;
        let (mut calls, mut headers) = (Vec::new(), Vec::new());
        for event in batch.iter() {
            if in_call == 0 {
                let count = rest.min(self.events_max);
                (in_call, rest) = (count, rest - count);
                put_long(&mut call, count as i64);
            }
            headers.clear();
            headers.extend(event.headers());
            put_event(&mut call, &headers, event.body());
            in_call -= 1;
            if in_call == 0 {
                put_long(&mut call, 0);
                calls.push(std::mem::take(&mut call));
            }
        }
        for call in calls {
            let on = match &mut connection {
                Some(on) => on,
                None => connection.insert(self.connections.take().await?),
            };
            self.call(on, &call).await?;
        }
        if let Some(connection) = connection {
            self.connections.keep(connection);
        }
        Ok(Delivered::All)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests;
