//! The settings of the source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kit::serve::{Connections, Limits, Ports, Preset, Served};
use pipeline::units::{ByteSize, Period, mib, seconds};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Otlp;
use super::exchange::Exchange;
use crate::events::{Form, Mapping, Owner, Picked};
use crate::headers;

/// Settings of the `otlp` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on, each `host:port`. Each accepts OTLP over gRPC and over HTTP; clients
    /// expect gRPC on 4317 and HTTP on 4318.
    listen: Vec<String>,
    /// Body of the event of a log record: `text`, the body of the record, with the rest in headers;
    /// `json` or `protobuf`, the whole record.
    #[serde(default)]
    log_body: LogBody,
    /// Format of a span or metric, which is the body of its event: `json` or `protobuf`.
    #[serde(default)]
    record_body: RecordBody,
    /// Headers from attributes: the name of the header, and `resource.`, `scope.` or `attributes.`
    /// followed by the key of the attribute.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Size limit of a request, before and after decompression.
    #[serde(default = "mib::<8>")]
    body_max: ByteSize,
    /// Memory limit of decoded requests of all connections: many small records need more than their
    /// request. A request that needs all of it is read when no other one is; one that needs over
    /// four times as much is rejected.
    #[serde(default = "mib::<64>")]
    in_flight_max: ByteSize,
    #[serde(rename = "..")]
    #[schemars(flatten)]
    connections: Connections<Shared>,
    /// Time that a request waits for room before its client is asked to retry.
    #[serde(default = "seconds::<1>")]
    wait_max: Period,
    /// Delay after which a client retries if there was no room.
    #[serde(default = "seconds::<1>")]
    retry_after: Period,
    /// Timeout for receiving the body of a request.
    #[serde(default = "seconds::<30>")]
    body_timeout: Period,
}

/// Presets of the shared settings.
#[derive(Debug)]
enum Shared {}

impl Preset for Shared {
    const CONNECTIONS_MAX: u32 = 256;

    const TEXTS: &[(&str, &str)] = &[
        (
            "connections_max",
            "Connection limit of each address. Further connections wait to be accepted.",
        ),
        (
            "tenants",
            "Limits for each client: shares, connections, rates, sizes. A client above a limit is \
             asked to retry, as if there was no room; a request above its size is rejected.",
        ),
    ];
}

/// What the body of a log record's event is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum LogBody {
    /// The body of the record.
    #[default]
    Text,
    /// The whole record as JSON.
    Json,
    /// The whole record as protobuf.
    Protobuf,
}

/// The form of a span or metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum RecordBody {
    /// OTLP JSON.
    #[default]
    Json,
    /// Protobuf.
    Protobuf,
}

impl Component for Config {
    const KIND: &'static str = "otlp";
    const ANOMALIES: &[&str] =
        &["record_too_large", "tenant_connections", "tenant_message", "tenant_rate", "tls_failed"];
    const EXAMPLE: &str = r#"listen = ["127.0.0.1:4317"]"#;
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        if self.listen.is_empty() {
            let problem = "must have at least one address; write for example [\"0.0.0.0:4317\"]";
            return Err(BuildError::invalid("listen", problem));
        }
        let named = self.listen.iter().enumerate().map(|(at, it)| (format!("listen.{at}"), it));
        let named: Vec<_> = named.collect();
        let named: Vec<_> = named.iter().map(|(setting, it)| (&**setting, &***it)).collect();
        let limits = Limits {
            message_max: ("body_max", self.body_max),
            in_flight_max: self.in_flight_max,
            wait_max: self.wait_max.0,
        };
        let protocols = ["h2", "http/1.1"];
        let ports = Ports::new(&named, self.connections, limits, &protocols, cx)?;
        if self.retry_after.0 < Duration::from_millis(1) {
            return Err(BuildError::invalid("retry_after", "must be at least 1ms"));
        }
        let mapping = Mapping {
            logs: match self.log_body {
                LogBody::Text => None,
                LogBody::Json => Some(Form::Json),
                LogBody::Protobuf => Some(Form::Protobuf),
            },
            others: match self.record_body {
                RecordBody::Json => Form::Json,
                RecordBody::Protobuf => Form::Protobuf,
            },
            picked: self.headers.iter().map(picked).collect::<Result<_, _>>()?,
        };
        let exchange = Exchange {
            mapping: Arc::new(mapping),
            body_max: self.body_max.0 as usize,
            retry_after: self.retry_after.0,
            body_timeout: self.body_timeout.0,
        };
        Ok(Box::new(Served::new(ports, Otlp(Arc::new(exchange)))))
    }
}

/// Parses an attribute with its own header.
fn picked((header, path): (&String, &String)) -> Result<Picked, BuildError> {
    let invalid = |problem: String| BuildError::invalid(format!("headers.{header}"), problem);
    let is_ours = header.starts_with(headers::PREFIX) || header == headers::TIMESTAMP;
    if header.is_empty() || header.len() > 255 || is_ours {
        let problem = format!(
            "the name of a header must have 1 to 255 bytes, must not begin with `{}`, and must not \
             be `{}`",
            headers::PREFIX,
            headers::TIMESTAMP,
        );
        return Err(invalid(problem));
    }
    let (owner, key) = path.split_once('.').unwrap_or((path, ""));
    let owner = match owner {
        "resource" => Owner::Resource,
        "scope" => Owner::Scope,
        "attributes" => Owner::Record,
        _ => return Err(invalid(format!("`{path}`: write for example \"resource.service.name\""))),
    };
    if key.is_empty() {
        return Err(invalid(format!(
            "`{path}` names no attribute: write for example `{path}.service.name`"
        )));
    }
    Ok(Picked { header: header.clone(), owner, key: key.to_owned() })
}
