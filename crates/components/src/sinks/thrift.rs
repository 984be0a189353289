//! `thrift`: sends batches as calls of `appendBatch` to a Thrift source of Flume or of an agent.
//!
//! ```text
//!   OK                              delivered
//!   FAILED, no connection           not stored: retried
//!   UNKNOWN, no reply in time       stored or not: retried
//!   ERROR                           the batch goes to the dead letters
//!   TApplicationException           retried; the server is not a Thrift source, or it fails
//! ```
//!
//! A call without a reply may have been stored, so an event may be delivered more than once.

mod connections;

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::deliver::{Deliver, Delivered, InFlight, Requests};
use pipeline::units::{ByteSize, Period};
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, ErrorClass, Guarantee, Sink, address,
    plain_text,
};
use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;
use tls::{ClientTls, Dialer};

use connections::Connections;
use formats::thrift::{Answer, Events, Malformed, Protocol, Status};

/// Settings of the `thrift` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the source: `host:port`.
    address: String,
    /// Encoding of the messages.
    #[serde(default)]
    protocol: Protocol,
    /// Limit of events in a call; a larger batch needs several calls.
    #[serde(default = "pipeline::units::number::<1000>")]
    events_max: usize,
    /// Size limit of a call. A larger event becomes a dead letter. A Flume source accepts
    /// 16,384,000 bytes.
    #[serde(default = "pipeline::units::mib::<15>")]
    frame_max: ByteSize,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<4, 30>,
    /// Timeout for connecting.
    #[serde(default = "pipeline::units::seconds::<10>")]
    connect_timeout: Period,
    /// Maximum age of a connection. Then a new one is opened, so that a load balancer can select
    /// another address. Default: no limit.
    #[serde(default)]
    reconnect_after: Option<Period>,
    /// TLS of the connection. A Flume source needs `ssl = true`.
    #[serde(default)]
    tls: Option<ClientTls>,
}

impl Component for Config {
    const KIND: &'static str = "thrift";
    const EXAMPLE: &str = r#"address = "127.0.0.1:4141""#;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        address::check(&self.address, "flume-1:4141", false)
            .map_err(|problem| BuildError::invalid("address", problem))?;
        if self.events_max == 0 {
            return Err(BuildError::invalid("events_max", "must be at least 1"));
        }
        if self.frame_max < ByteSize(1024) || self.frame_max > ByteSize::mib(1024) {
            return Err(BuildError::invalid("frame_max", "must be from 1KiB to 1GiB"));
        }
        if self.tls.is_none() {
            cx.plain_text.speaks("address", &self.address, plain_text::TABLE);
        }
        let options = self.in_flight.options()?;
        let thrift = Thrift {
            protocol: self.protocol,
            events_max: self.events_max,
            events_bytes_max: self.frame_max.0 as usize - Events::CALL_BYTES,
            connections: Connections {
                dialer: Dialer::new(&cx.env, self.tls, &[])?,
                address: self.address.into(),
                protocol: self.protocol,
                connect_timeout: self.connect_timeout.0,
                reconnect_after: self.reconnect_after.map(|period| period.0),
                idle_max: self.in_flight.in_flight_max,
                idle: <_>::default(),
            },
        };
        Ok(Box::new(Requests::new(thrift, options)))
    }
}

/// Reason why events were not delivered.
#[derive(Debug, Error)]
enum ThriftError {
    #[error(
        "cannot connect to {address}; check that the server is running and reachable from this host"
    )]
    Connect {
        address: Arc<str>,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{address} did not store the batch and answered {status:?}; the batch is resent; see the \
         log of that agent"
    )]
    Status { address: Arc<str>, status: Status },
    #[error(
        "{address} returned the unknown status {number}; check that a Flume Thrift source listens \
         there"
    )]
    Number { address: Arc<str>, number: i32 },
    #[error("{address} returned the Thrift exception {number}: {text}; see the log of that server")]
    Exception { address: Arc<str>, number: i32, text: String },
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
        "cannot read the Thrift response of {address}; check that a Flume Thrift source listens \
         there"
    )]
    Malformed {
        address: Arc<str>,
        #[source]
        source: Malformed,
    },
}

impl Classify for ThriftError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            Self::Status { status, .. } => match status {
                // `Ok` never becomes an error.
                Status::Ok | Status::Unknown => ErrorClass::Indeterminate,
                Status::Failed => ErrorClass::Transient,
                Status::Error => ErrorClass::Poison,
            },
            // An unknown method or an invalid call: the server is another service.
            Self::Exception { number: 1..=4 | 7, .. } => ErrorClass::Blocked,
            // The events may have been stored.
            Self::Number { .. }
            | Self::Exception { .. }
            | Self::Broken { .. }
            | Self::Malformed { .. } => ErrorClass::Indeterminate,
        }
    }
}

struct Thrift {
    protocol: Protocol,
    events_max: usize,
    events_bytes_max: usize,
    connections: Connections,
}

impl Thrift {
    async fn send(&self, events: &mut Events) -> Result<(), ThriftError> {
        let address = || self.connections.address.clone();
        match self.connections.call(events).await? {
            Answer::Status(Ok(Status::Ok)) => Ok(()),
            Answer::Status(Ok(status)) => Err(ThriftError::Status { address: address(), status }),
            Answer::Status(Err(number)) => Err(ThriftError::Number { address: address(), number }),
            Answer::Exception { number, text } => {
                let text = text.escape_debug().take(200).collect();
                Err(ThriftError::Exception { address: address(), number, text })
            }
        }
    }
}

#[async_trait]
impl Deliver for Thrift {
    type Error = ThriftError;

    async fn probe(&self) -> Result<Option<String>, ThriftError> {
        self.connections.probe().await.map(Some)
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, ThriftError> {
        // Positions of refused events, and the reason of the first one.
        let (mut refused, mut first) = (Vec::new(), None);
        let mut rest = batch.iter().peekable();
        while let Some(next) = rest.peek() {
            let start = next.index();
            let mut events = Events::new(self.protocol);
            while events.len() < self.events_max
                && let Some(event) = rest.peek()
                && events.push(event, self.events_bytes_max)
            {
                rest.next();
            }
            if events.is_empty() {
                rest.next();
                let limit = self.events_bytes_max + Events::CALL_BYTES;
                first.get_or_insert_with(|| {
                    format!(
                        "an event is over {limit} bytes (`frame_max`); raise `frame_max` here and \
                         the limit of the receiver, or replay the event with a larger one"
                    )
                });
                refused.push(start);
                continue;
            }
            let end = start + events.len();
            match self.send(&mut events).await {
                Ok(()) => {}
                Err(error) if error.class() == ErrorClass::Poison => {
                    first.get_or_insert(error.to_string());
                    refused.extend(start..end);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(match first {
            None => Delivered::All,
            Some(detail) => Delivered::Except { events: refused, reason: "refused", detail },
        })
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests;
