//! Requests to the receiver.

use std::time::Duration;

use bytes::Bytes;
use config::TraceTarget;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use pipeline::BuildError;
use serde_json::Value;
use thiserror::Error;
use web::{Cause, Client, Connector, Lost, exchange};

/// Bytes of an answer that are looked at.
const ANSWER_MAX: usize = 64 << 10;

/// Why spans were not taken.
#[derive(Debug, Error)]
pub(super) enum PostError {
    /// Connecting failed.
    #[error("cannot connect to {address}; check that it is running and reachable from this host")]
    Connect {
        address: String,
        #[source]
        source: Cause,
    },
    /// The connection broke before the answer.
    #[error(
        "lost the connection to {address} before the response; the spans are sent again; see the \
         log of that server"
    )]
    Broken {
        address: String,
        #[source]
        source: Cause,
    },
    /// There was no answer in time.
    #[error(
        "no response within {} s; the spans are sent again; check that server and the network",
        .0.as_secs_f64()
    )]
    Late(Duration),
    /// The server responded with an error status.
    #[error("{address} answered {status}: {text}; see the log of that server")]
    Status { address: String, status: StatusCode, text: String, retry_after: Option<Duration> },
}

impl PostError {
    /// Returns `true` if the same request may succeed later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Late(_) => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 408 | 429 | 502..=504),
        }
    }

    /// Returns when to retry, if the receiver has named a time.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Sends requests.
pub(super) struct Post {
    client: Client,
    address: String,
    uri: Uri,
    headers: HeaderMap,
}

impl Post {
    /// Creates a client of this receiver, with these headers.
    pub(super) fn new(
        connector: &Connector,
        target: TraceTarget,
        mut headers: HeaderMap,
    ) -> Result<Self, BuildError> {
        let TraceTarget { address, path, is_tls } = target;
        let scheme = if is_tls { "https" } else { "http" };
        let uri = format!("{scheme}://{address}{path}").parse();
        let uri = uri.map_err(|error| BuildError::invalid("url", error))?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { client: connector.client(), address, uri, headers })
    }

    /// Sends one request; returns how many of its spans the receiver has rejected.
    pub(super) async fn send(&self, body: Bytes) -> Result<u64, PostError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        let address = self.address.clone();
        let reply = match exchange(&self.client, request, ANSWER_MAX).await {
            Ok(reply) => reply,
            Err(Lost::Connect(source)) => return Err(PostError::Connect { address, source }),
            Err(Lost::Broken(source)) => return Err(PostError::Broken { address, source }),
        };
        let (status, text, retry_after) = (reply.head.status, reply.text(), reply.retry_after());
        match status.is_success() {
            true => Ok(refused(&reply.body)),
            false => Err(PostError::Status { address, status, text, retry_after }),
        }
    }
}

/// Returns how many spans a successful request has rejected.
fn refused(answer: &[u8]) -> u64 {
    let answer: Option<Value> = serde_json::from_slice(answer).ok();
    let refused = answer.as_ref().map(|answer| &answer["partialSuccess"]["rejectedSpans"]);
    let number = refused.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
    number.unwrap_or(0)
}
