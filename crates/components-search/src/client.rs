//! The nodes of a cluster: requests go to one of them until it does not answer, then to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use components::sinks::http::shown;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use pipeline::{Classify, ErrorClass};
use thiserror::Error;
use tls::http::Connector;

/// Bytes of an answer at most: some hundred for each document of a request.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why documents are not written.
#[derive(Debug, Error)]
pub(crate) enum SearchError {
    /// There was no connection.
    #[error("cannot connect to {url}")]
    Connect {
        /// The node.
        url: Arc<str>,
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The request may have been carried out.
    #[error("{url}: no whole answer")]
    Broken {
        /// The node.
        url: Arc<str>,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that is no success.
    #[error("{url} answered {status}: {text}")]
    Status {
        /// The node.
        url: Arc<str>,
        /// Its answer.
        status: StatusCode,
        /// What it said, in one line.
        text: String,
        /// When to come again.
        retry_after: Option<Duration>,
    },
    /// A success that says nothing of the documents.
    #[error("{url} is no Elasticsearch or OpenSearch: {problem}")]
    Foreign {
        /// The node.
        url: Arc<str>,
        /// What it answered.
        problem: String,
    },
    /// Not all documents are there.
    #[error("not all documents could be written: {said}")]
    Again {
        /// Whether it passes by itself.
        class: ErrorClass,
        /// What was said of the first such document.
        said: String,
    },
}

impl Classify for SearchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            Self::Broken { .. } => ErrorClass::Indeterminate,
            Self::Status { status, .. } => match status.as_u16() {
                408 | 413 | 429 | 500.. => ErrorClass::Transient,
                _ => ErrorClass::Blocked,
            },
            Self::Foreign { .. } => ErrorClass::Blocked,
            Self::Again { class, .. } => *class,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl SearchError {
    /// Whether the request was refused for its size.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. })
    }
}

/// The nodes of a cluster.
pub(crate) struct Client {
    sender: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
    urls: Vec<Arc<str>>,
    headers: HeaderMap,
    /// Which node is asked.
    current: AtomicUsize,
}

impl Client {
    /// Nodes by their URLs, without a slash at the end; `headers` are those of each request.
    pub(crate) fn new(connector: &Connector, urls: Vec<Arc<str>>, headers: HeaderMap) -> Self {
        Self { sender: connector.client(), urls, headers, current: AtomicUsize::new(0) }
    }

    /// The node that is asked now.
    pub(crate) fn node(&self) -> &Arc<str> {
        &self.urls[self.current.load(Ordering::Relaxed) % self.urls.len()]
    }

    /// The body of a success. After a failure that another node might not have, that one is asked
    /// from now on.
    ///
    /// # Errors
    /// There is no answer, or one that is no success.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, SearchError> {
        let at = self.current.load(Ordering::Relaxed);
        let url = &self.urls[at % self.urls.len()];
        let sent = self.send_to(url, method, path, body).await;
        let is_of_the_node = match &sent {
            Err(SearchError::Connect { .. } | SearchError::Broken { .. }) => true,
            Err(SearchError::Status { status, .. }) => status.is_server_error(),
            _ => false,
        };
        if is_of_the_node {
            // Of several requests that fail at a time, one goes on to the next node.
            let (now, next) = (Ordering::Relaxed, at.wrapping_add(1));
            let _ = self.current.compare_exchange(at, next, now, now);
        }
        sent
    }

    async fn send_to(
        &self,
        url: &Arc<str>,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, SearchError> {
        let uri: Uri = format!("{url}{path}").parse().expect("the URL was checked with a path");
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        let response = self.sender.request(request).await.map_err(|source| {
            let url = url.clone();
            match source.is_connect() {
                true => SearchError::Connect { url, source },
                false => SearchError::Broken { url, source: source.into() },
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|source| {
            let url = url.clone();
            match source.is::<LengthLimitError>() {
                true => {
                    let problem = format!("an answer of over {ANSWER_BYTES_MAX} bytes");
                    SearchError::Foreign { url, problem }
                }
                false => SearchError::Broken { url, source },
            }
        })?;
        let body = body.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        let seconds = head.headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        Err(SearchError::Status {
            url: url.clone(),
            status: head.status,
            text: shown(&body),
            retry_after: seconds.map(Duration::from_secs),
        })
    }
}
