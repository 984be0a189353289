//! `otlp`: sends events as log records, spans and metrics of OpenTelemetry, over gRPC or HTTP.
//!
//! ```text
//!   batch ─► requests, by signal and limits ─► one after the other ─► answers
//! ```
//!
//! | response | result of the request's events |
//! |---|---|
//! | success | delivered |
//! | partial success | all become dead letters: the response does not name the rejected ones |
//! | a status that OTLP retries | the batch is resent, after the delay in the response |
//! | not found, not permitted | retried until the setup is fixed |
//! | any other status | dead letters |
//!
//! A batch is always resent completely, and a request without a response may have been accepted, so
//! a record may be stored more than once.

mod call;
mod error;

use std::collections::BTreeMap;

use async_trait::async_trait;
use hyper::HeaderMap;
use pipeline::deliver::{Deliver, Delivered, InFlight, Requests};
use pipeline::units::ByteSize;
use pipeline::{
    Batch, BuildContext, BuildError, Classify, Component, Env, ErrorClass, Guarantee, Secret, Sink,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::ClientTls;
use web::Connector;
use web::settings::{add_headers, target};

use crate::events::Form;
use crate::requests::{self, Limits};
use call::{Caller, Protocol};
use error::OtlpError;

/// Settings of the `otlp` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Receiver: `http://host:4317`, or `https://` for TLS. Over HTTP `/v1/logs`, `/v1/traces` or
    /// `/v1/metrics` is appended.
    url: String,
    /// Protocol: `grpc` or `http`.
    #[serde(default)]
    protocol: ProtocolName,
    /// Format of the requests: `protobuf`, or `json` over HTTP.
    #[serde(default)]
    encoding: Encoding,
    /// Compression of requests: `gzip` or `none`.
    #[serde(default)]
    compression: Compression,
    /// Further headers of each request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Headers whose values are never shown, such as `authorization`.
    #[serde(default)]
    secret_headers: BTreeMap<String, Secret>,
    /// Whether headers without a field in OTLP become attributes of the log record.
    #[serde(default = "pipeline::units::yes")]
    header_attributes: bool,
    /// Limit of records in a request. With 1 a partial success concerns a single record.
    #[serde(default = "pipeline::units::number::<8192>")]
    events_max: usize,
    /// Size limit of a request before compression; a single larger record is still sent. The
    /// Collector accepts 4 MiB over gRPC by default.
    #[serde(default = "pipeline::units::mib::<3>")]
    request_max: ByteSize,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<4, 30>,
    /// TLS of a URL that begins with `https://`. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// How a receiver is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ProtocolName {
    /// gRPC calls.
    #[default]
    Grpc,
    /// HTTP/1.1 requests.
    Http,
}

/// The form of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    /// Protobuf.
    #[default]
    Protobuf,
    /// JSON.
    Json,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Compression {
    /// gzip.
    #[default]
    Gzip,
    /// No compression.
    None,
}

impl Component for Config {
    const KIND: &'static str = "otlp";
    const LETTERS: &[&str] = &["not_otlp", "partly_rejected", "refused"];
    const EXAMPLE: &str = r#"url = "http://127.0.0.1:4318/""#;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if self.events_max == 0 {
            return Err(BuildError::invalid("events_max", "must be at least 1"));
        }
        if self.request_max.0 == 0 || self.request_max > ByteSize::mib(1024) {
            return Err(BuildError::invalid("request_max", "must be from 1B to 1GiB"));
        }
        let protocol = match (self.protocol, self.encoding) {
            (ProtocolName::Grpc, Encoding::Protobuf) => Protocol::Grpc,
            (ProtocolName::Grpc, Encoding::Json) => {
                let problem = "must be `protobuf` with gRPC: remove it, or set `protocol = \
                               \"http\"`";
                return Err(BuildError::invalid("encoding", problem));
            }
            (ProtocolName::Http, Encoding::Protobuf) => Protocol::Http(Form::Protobuf),
            (ProtocolName::Http, Encoding::Json) => Protocol::Http(Form::Json),
        };
        let uri = target(&self.url, self.tls.as_ref(), cx)?;
        if uri.query().is_some() {
            let problem = "must not have a query, because the sink appends the paths of OTLP";
            return Err(BuildError::invalid("url", problem));
        }
        if protocol == Protocol::Grpc && uri.path() != "/" {
            let problem = "must not have a path, because gRPC has its own paths; write for example \
                           \"http://host:4317\"";
            return Err(BuildError::invalid("url", problem));
        }
        let mut headers = HeaderMap::new();
        add_headers(&mut headers, "", &self.headers, &self.secret_headers)?;
        let connector = match protocol {
            Protocol::Grpc => Connector::http2(self.tls, &cx.env)?,
            Protocol::Http(_) => Connector::new(self.tls, &cx.env)?,
        };
        let options = self.in_flight.options()?;
        let is_gzip = self.compression == Compression::Gzip;
        let otlp = Otlp {
            env: cx.env.clone(),
            caller: Caller::new(cx, connector, uri, (protocol, is_gzip), headers),
            limits: Limits {
                records: self.events_max,
                bytes: self.request_max.0 as usize,
                header_attributes: self.header_attributes,
            },
        };
        Ok(Box::new(Requests::new(otlp, options)))
    }
}

struct Otlp {
    env: Env,
    caller: Caller,
    limits: Limits,
}

/// Events that become dead letters.
#[derive(Default)]
struct Refused {
    places: Vec<usize>,
    /// Why the first one does.
    first: Option<(&'static str, String)>,
}

impl Refused {
    fn add(&mut self, places: impl IntoIterator<Item = usize>, reason: &'static str, why: String) {
        self.places.extend(places);
        self.first.get_or_insert((reason, why));
    }
}

#[async_trait]
impl Deliver for Otlp {
    type Error = OtlpError;

    async fn probe(&self) -> Result<Option<String>, OtlpError> {
        self.caller.probe().await.map(Some)
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, OtlpError> {
        let (events, limits) = (batch.clone(), self.limits);
        let made = self.env.offload(move || requests::requests_of(&events, limits));
        let (parts, unwritable) = made.await;
        let mut refused = Refused::default();
        for one in unwritable {
            refused.add([one.place], "not_otlp", one.problem);
        }
        for part in parts {
            let records = part.places.len();
            match self.caller.call(part.request).await {
                Ok(None) => {}
                Ok(Some(partial)) => {
                    let why = format!(
                        "the receiver rejected {} of {records} records and does not report which \
                         ones: {}; see the log of the receiver; a replay stores the accepted ones \
                         twice",
                        partial.rejected, partial.problem
                    );
                    refused.add(part.places, "partly_rejected", why);
                }
                Err(error) if error.class() == ErrorClass::Poison => {
                    refused.add(part.places, "refused", error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        refused.places.sort_unstable();
        Ok(match refused.first {
            None => Delivered::All,
            Some((reason, detail)) => Delivered::Except { events: refused.places, reason, detail },
        })
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests;
