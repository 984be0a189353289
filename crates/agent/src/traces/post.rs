//! Requests to the receiver, over one connection that is opened on demand.

use std::time::Duration;

use bytes::Bytes;
use config::TraceTarget;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use pipeline::BuildError;
use serde_json::Value;
use thiserror::Error;
use tls::Dialer;

/// Bytes of an answer that are looked at.
const ANSWER_MAX: usize = 64 << 10;

/// Characters of an answer that are shown.
const SHOWN_MAX: usize = 200;

/// Why spans were not taken.
#[derive(Debug, Error)]
pub(super) enum PostError {
    /// Connecting failed.
    #[error("cannot connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    /// The connection broke before the answer.
    #[error("lost the connection to {address} before the response; the spans are sent again")]
    Broken {
        address: String,
        #[source]
        source: hyper::Error,
    },
    /// There was no answer in time.
    #[error("no response within {} s; the spans are sent again", .0.as_secs_f64())]
    Late(Duration),
    /// The server responded with an error status.
    #[error("{address} answered {status}: {text}")]
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
    dialer: Dialer,
    address: String,
    path: Uri,
    headers: HeaderMap,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Post {
    /// To this receiver, with these headers.
    pub(super) fn new(
        dialer: Dialer,
        target: TraceTarget,
        mut headers: HeaderMap,
    ) -> Result<Self, BuildError> {
        let TraceTarget { address, path, .. } = target;
        let path = path.parse().map_err(|error| BuildError::invalid("url", error))?;
        let host = HeaderValue::from_str(&address);
        headers.insert(HOST, host.map_err(|error| BuildError::invalid("url", error))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { dialer, address, path, headers, connection: None })
    }

    /// Sends one request; returns how many of its spans the receiver has rejected.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<u64, PostError> {
        // If an idle connection is broken, the next request fails.
        if let Some(connection) = self.connection.take().filter(|it| !it.is_closed())
            && let Ok(answered) = self.exchange(connection, body.clone()).await
        {
            return answered;
        }
        let connect = |source| PostError::Connect { address: self.address.clone(), source };
        let stream = self.dialer.connect(&self.address).await.map_err(connect)?;
        let broken = |source| PostError::Broken { address: self.address.clone(), source };
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(async move {
            // The request reports a broken connection.
            let _ = driver.await;
        });
        let address = self.address.clone();
        let exchanged = self.exchange(connection, body).await;
        exchanged.map_err(|source| PostError::Broken { address, source })?
    }

    /// Sends one request and returns its answer; `Err`: the connection broke.
    async fn exchange(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        body: Bytes,
    ) -> Result<Result<u64, PostError>, hyper::Error> {
        connection.ready().await?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        request.headers_mut().clone_from(&self.headers);
        let (head, body) = connection.send_request(request).await?.into_parts();
        let Ok(body) = Limited::new(body, ANSWER_MAX).collect().await else {
            // The rest of the answer is not needed, and the connection cannot be reused.
            return Ok(self.judged(&head, &[]));
        };
        self.connection = Some(connection);
        Ok(self.judged(&head, &body.to_bytes()))
    }

    fn judged(&self, head: &hyper::http::response::Parts, body: &[u8]) -> Result<u64, PostError> {
        if head.status.is_success() {
            return Ok(refused(body));
        }
        let text = String::from_utf8_lossy(body);
        let text = text.chars().take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c });
        let seconds = head.headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        Err(PostError::Status {
            address: self.address.clone(),
            status: head.status,
            text: text.collect(),
            retry_after: seconds.map(Duration::from_secs),
        })
    }
}

/// Returns how many spans a successful request has rejected.
fn refused(answer: &[u8]) -> u64 {
    let answer: Option<Value> = serde_json::from_slice(answer).ok();
    let refused = answer.as_ref().map(|answer| &answer["partialSuccess"]["rejectedSpans"]);
    let number = refused.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
    number.unwrap_or(0)
}
