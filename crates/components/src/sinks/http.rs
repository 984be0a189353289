//! `http`: sends each batch as the body of an HTTP request: webhooks, VictoriaLogs, any JSON
//! intake.
//!
//! ```text
//!   2xx                              delivered
//!   400 413 415 422, other 4xx       the events of this request go to the dead letters
//!   401 403 404 405 407, 3xx         delivery needs a configuration change: retried
//!   408 425 429 5xx, no response     retried, after `Retry-After` if the response has it
//! ```
//!
//! A request without a response may have been applied, so an event may be delivered more than once.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use pipeline::deliver::{Deliver, Delivered, InFlight, Requests};
use pipeline::{
    Batch, BuildContext, BuildError, Choice, Classify, Codec, Component, Encoder, ErrorClass,
    Guarantee, Secret, Sink,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tls::ClientTls;
use web::settings::{add_headers, address, target};
use web::{Cause, Client, Connector, Lost, Reply, exchange};

use formats::format::Format;

/// Maximum size of a response body that is read: enough for the reason of a refusal.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Settings of the `http` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Destination of the requests: `http://host:port/path?query`, or `https://` for TLS.
    url: String,
    /// `POST` or `PUT`.
    #[serde(default)]
    method: Verb,
    /// Format of the events in the body: `json` (one object per line), `text`, `header_and_text` or
    /// `avro`; a table with `type` if it has settings.
    #[serde(default = "defaults::encoder")]
    encoder: Choice<dyn Encoder>,
    /// Compression of the body: `none`, `deflate`, `gzip` or `zstd`; a table with `type` if it has
    /// settings.
    #[serde(default = "defaults::codec")]
    codec: Choice<dyn Codec>,
    /// `Content-Type` of the body. Default: the type of the encoder.
    #[serde(default)]
    content_type: Option<String>,
    /// Further headers of each request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Headers whose values are never shown, such as `authorization`.
    #[serde(default)]
    secret_headers: BTreeMap<String, Secret>,
    /// Limit of events in a request; a larger batch needs several requests. Default: the whole
    /// batch. With 1 the response concerns a single event, so that a bad event never affects
    /// others.
    #[serde(default)]
    events_max: Option<usize>,
    /// Settings of the requests.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    in_flight: InFlight<4, 30>,
    /// TLS of a URL that begins with `https://`. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
}

/// The request's method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    #[default]
    Post,
    Put,
}

mod defaults {
    use pipeline::{Choice, Codec, Encoder};

    pub(super) fn encoder() -> Choice<dyn Encoder> {
        Choice::from_kind("json")
    }

    pub(super) fn codec() -> Choice<dyn Codec> {
        Choice::from_kind("none")
    }
}

impl Component for Config {
    const KIND: &'static str = "http";
    const LETTERS: &[&str] = &["refused", "unwritable_event"];
    const EXAMPLE: &str = r#"url = "http://127.0.0.1:8080/""#;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        if self.events_max == Some(0) {
            return Err(BuildError::invalid("events_max", "must be at least 1"));
        }
        let uri = target(&self.url, self.tls.as_ref(), cx)?;
        let connector = Connector::new(self.tls.clone(), &cx.env)?;
        let format = Format::new(&self.encoder, &self.codec, cx)?;
        if format.encoder().remote().is_some() {
            let problem = "plug-ins encode the files of `hdfs` and `file_roll` only; choose an \
                           encoder of Aqueduct";
            return Err(BuildError::invalid("encoder", problem));
        }
        if format.encoder().has_forms() {
            let problem = "must be set, because each request of this sink is one file, with one \
                           schema: set the schema of all events, or choose another encoder";
            return Err(BuildError::invalid("encoder.schema", problem));
        }
        let options = self.in_flight.options()?;
        let http = Http {
            url: self.url.clone(),
            method: match self.method {
                Verb::Post => Method::POST,
                Verb::Put => Method::PUT,
            },
            headers: headers(&self, &format)?,
            events_max: self.events_max.unwrap_or(usize::MAX),
            format,
            client: connector.client(),
            connector,
            uri,
        };
        Ok(Box::new(Requests::new(http, options)))
    }
}

/// The headers of each request.
fn headers(config: &Config, format: &Format) -> Result<HeaderMap, BuildError> {
    let content_type = config.content_type.as_deref();
    let content_type = content_type.unwrap_or(format.encoder().file_kind().content_type);
    let value = |setting: String, text: &str| {
        HeaderValue::from_str(text).map_err(|error| BuildError::invalid(setting, error))
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, value("content_type".into(), content_type)?);
    if let Some(coding) = format.content_encoding() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    } else if format.is_compressed() {
        let problem = "must be `gzip`, `zstd` or `deflate`, because HTTP has no name for this \
                       codec";
        return Err(BuildError::invalid("codec", problem));
    }
    add_headers(&mut headers, "", &config.headers, &config.secret_headers)?;
    Ok(headers)
}

/// Why events were not delivered.
#[derive(Debug, Error)]
enum HttpError {
    #[error(
        "cannot connect to {address}; check that the server is running and reachable from this host"
    )]
    Connect {
        address: String,
        #[source]
        source: Cause,
    },
    #[error("{url} answered {status}: {text}; see the log of that server")]
    Status { url: String, status: StatusCode, text: String, retry_after: Option<Duration> },
    #[error(
        "lost the connection to {address} before the response; the events are resent, and may be \
         stored twice; see the log of that server"
    )]
    Broken {
        address: String,
        #[source]
        source: Cause,
    },
}

impl Classify for HttpError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            // The request may have been applied.
            Self::Broken { .. } => ErrorClass::Indeterminate,
            Self::Status { status, .. } => class_of(*status),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Connect { .. } | Self::Broken { .. } => None,
        }
    }
}

/// Returns the meaning of a status other than 2xx for the events.
fn class_of(status: StatusCode) -> ErrorClass {
    match status.as_u16() {
        408 | 425 | 429 | 500.. => ErrorClass::Transient,
        401 | 403 | 404 | 405 | 407 => ErrorClass::Blocked,
        400..=499 => ErrorClass::Poison,
        // A 3xx response never confirms delivery; redirects are not followed.
        _ => ErrorClass::Blocked,
    }
}

struct Http {
    url: String,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    events_max: usize,
    format: Format,
    client: Client,
    connector: Connector,
}

impl Http {
    async fn send(&self, method: Method, body: Bytes) -> Result<Reply, HttpError> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let address = || address(&self.uri).map(|(address, _)| address).unwrap_or_default();
        exchange(&self.client, request, ANSWER_BYTES_MAX).await.map_err(|lost| match lost {
            Lost::Connect(source) => HttpError::Connect { address: address(), source },
            Lost::Broken(source) => HttpError::Broken { address: address(), source },
        })
    }

    /// Returns the error for a response with an error status.
    fn refusal(&self, reply: &Reply) -> HttpError {
        let (url, text, retry_after) = (self.url.clone(), reply.text(), reply.retry_after());
        HttpError::Status { url, status: reply.head.status, text, retry_after }
    }
}

#[async_trait]
impl Deliver for Http {
    type Error = HttpError;

    async fn probe(&self) -> Result<Option<String>, HttpError> {
        // The request changes nothing, and an HTTP server replies to any method.
        let reply = self.send(Method::OPTIONS, Bytes::new()).await?;
        match tls::refused_by_http(reply.head.status.as_u16(), &reply.text()) {
            false => Ok(self.connector.connected_text(&self.uri).ok()),
            true => Err(self.refusal(&reply)),
        }
    }

    async fn deliver(&self, batch: &Batch) -> Result<Delivered, HttpError> {
        let part_of: Vec<usize> = (0..batch.len()).map(|index| index / self.events_max).collect();
        let unwritable = self.format.unwritable(batch);
        let is_writable =
            |place: &usize| unwritable.binary_search_by_key(place, |one| one.index).is_err();
        let mut refused: Vec<usize> = unwritable.iter().map(|one| one.index).collect();
        let mut first = unwritable.first().map(|one| ("unwritable_event", one.reason.clone()));
        let mut start = 0;
        for mut part in batch.split(&part_of) {
            let mut places: Vec<usize> = (start..start + part.len()).collect();
            part.retain(|event| is_writable(&places[event.index()]));
            start += places.len();
            places.retain(is_writable);
            if part.is_empty() {
                continue;
            }
            let sent = self.send(self.method.clone(), self.format.file(&part)).await;
            match sent.and_then(|reply| match reply.head.status.is_success() {
                true => Ok(()),
                false => Err(self.refusal(&reply)),
            }) {
                Ok(()) => {}
                Err(error) if error.class() == ErrorClass::Poison => {
                    first.get_or_insert(("refused", error.to_string()));
                    refused.extend(places);
                }
                Err(error) => return Err(error),
            }
        }
        refused.sort_unstable();
        Ok(match first {
            None => Delivered::All,
            Some((reason, detail)) => Delivered::Except { events: refused, reason, detail },
        })
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }
}

#[cfg(test)]
mod tests;
