//! The settings of the source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use components::sources::listening::{self, Guard};
use components::sources::tenants::Tenants;
use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError, Component, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::ServerTls;

use super::Otlp;
use super::exchange::{Limits, Rules};
use crate::events::{Form, Mapping, Owner, Picked};
use crate::headers;

/// Settings of the `otlp` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on, each `host:port`. OTLP over gRPC and over HTTP is taken on each of
    /// them; clients expect gRPC on 4317 and HTTP on 4318.
    listen: Vec<String>,
    /// What the body of a log record's event is: `text`, the body of the record, with the rest in
    /// headers; `json` or `protobuf`, the whole record.
    #[serde(default)]
    log_body: LogBody,
    /// Form of a span or metric, which is the body of its event: `json` or `protobuf`.
    #[serde(default)]
    record_body: RecordBody,
    /// Headers that show an attribute: the name of the header, and `resource.`, `scope.` or
    /// `attributes.` with the key of the attribute behind it.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Largest request that is taken, before and after decompression.
    #[serde(default = "defaults::body_max")]
    body_max: ByteSize,
    /// Bytes of requests that are in memory at a time, over all connections, as they are read: many
    /// small records take more than their request. One that takes all is read alone; one over four
    /// times of it is refused.
    #[serde(default = "defaults::in_flight_max")]
    in_flight_max: ByteSize,
    /// Connections at a time to each address. More wait to be accepted.
    #[serde(default = "defaults::connections_max")]
    connections_max: u32,
    /// How long a request waits for room before its client is to come again.
    #[serde(default = "defaults::wait_max")]
    wait_max: Period,
    /// When a client for which there is no room is to come again.
    #[serde(default = "defaults::retry_after")]
    retry_after: Period,
    /// How long the body of a request may take to come.
    #[serde(default = "defaults::body_timeout")]
    body_timeout: Period,
    /// TLS: with this table clients have to speak it.
    #[serde(default)]
    tls: Option<ServerTls>,
    /// What each client may take: shares, connections, rates, sizes. What is over it is to come
    /// again, as where there is no room; a request over its size is refused.
    #[serde(default)]
    tenants: Tenants,
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
    /// JSON of OTLP.
    #[default]
    Json,
    /// Protobuf.
    Protobuf,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::{ByteSize, Period};

    pub(super) fn body_max() -> ByteSize {
        ByteSize::mib(8)
    }

    pub(super) fn in_flight_max() -> ByteSize {
        ByteSize::mib(64)
    }

    pub(super) fn connections_max() -> u32 {
        256
    }

    pub(super) fn wait_max() -> Period {
        Period(Duration::from_secs(1))
    }

    pub(super) fn retry_after() -> Period {
        Period(Duration::from_secs(1))
    }

    pub(super) fn body_timeout() -> Period {
        Period(Duration::from_secs(30))
    }
}

impl Component for Config {
    const KIND: &'static str = "otlp";
    type Role = dyn Source;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Source>, BuildError> {
        if self.listen.is_empty() {
            let problem = "at least one address; write for example [\"0.0.0.0:4317\"]";
            return Err(BuildError::invalid("listen", problem));
        }
        let named = self.listen.iter().enumerate().map(|(at, it)| (format!("listen.{at}"), it));
        let named: Vec<_> = named.collect();
        let named: Vec<_> = named.iter().map(|(setting, it)| (&**setting, &***it)).collect();
        for (setting, address) in &named {
            listening::check_address(setting, address)?;
        }
        let guard = Guard::new(self.tls, &named, cx, &["h2", "http/1.1"])?;
        let largest = ("body_max", self.body_max);
        listening::check_limits(self.connections_max, largest, self.in_flight_max)?;
        self.tenants.check(largest)?;
        if self.retry_after.0 < Duration::from_millis(1) {
            return Err(BuildError::invalid("retry_after", "at least 1ms"));
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
        Ok(Box::new(Otlp {
            guard,
            name: cx.name.clone(),
            env: cx.env.clone(),
            metrics: cx.metrics.clone(),
            listen: self.listen,
            connections_max: self.connections_max as usize,
            rules: Rules {
                mapping: Arc::new(mapping),
                limits: Limits {
                    body_max: self.body_max.0 as usize,
                    in_flight_max: self.in_flight_max.0,
                    wait_max: self.wait_max.0,
                    retry_after: self.retry_after.0,
                    body_timeout: self.body_timeout.0,
                },
            },
            tenants: self.tenants,
            board: cx.get(),
            listeners: Vec::new(),
        }))
    }
}

/// Parses an attribute with its own header.
fn picked((header, path): (&String, &String)) -> Result<Picked, BuildError> {
    let invalid = |problem: String| BuildError::invalid(format!("headers.{header}"), problem);
    let is_ours = header.starts_with(headers::PREFIX) || header == headers::TIMESTAMP;
    if header.is_empty() || header.len() > 255 || is_ours {
        let problem = format!(
            "the name of a header has 1 to 255 bytes, does not begin with `{}`, and is not `{}`",
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
        return Err(invalid(format!("`{path}`: the key of the attribute is missing")));
    }
    Ok(Picked { header: header.clone(), owner, key: key.to_owned() })
}
