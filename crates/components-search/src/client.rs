//! The nodes of a cluster: requests go to one node until it fails, then to the next.
//!
//! ```text
//!   no connection, a broken one, 404, 5xx      later requests go to the next node
//!   a request was dropped after a timeout      the same: a hanging node returns no error
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use pipeline::{Classify, ErrorClass};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use web::{Cause, Connector, Lost, exchange, shown};

/// Maximum size of a response.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Maximum size of a response to a request without documents.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// Maximum response size per document of a request: some hundred bytes, and more for an error.
const DOCUMENT_BYTES_MAX: usize = 4 << 10;

/// Maximum number of entries of a list in a response: more than a request has documents.
const ENTRIES_MAX: usize = 1 << 20;

/// A list in a response, with at most [`ENTRIES_MAX`] entries, because an entry in memory is many
/// times larger than its text.
#[derive(Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<T>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {ENTRIES_MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    if entries.len() == ENTRIES_MAX {
                        return Err(de::Error::invalid_length(ENTRIES_MAX + 1, &self));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// Why documents were not written.
#[derive(Debug, Error)]
pub(crate) enum SearchError {
    /// The connection failed.
    #[error("cannot connect to {url}; check that the node is running and reachable from this host")]
    Connect {
        /// The node.
        url: Arc<str>,
        #[source]
        source: Cause,
    },
    /// The request may have been carried out.
    #[error(
        "{url} did not send a complete response; the documents are resent; see the log of the node"
    )]
    Broken {
        /// The node.
        url: Arc<str>,
        #[source]
        source: Cause,
    },
    /// The server responded with an error status.
    #[error("{url} answered {status}: {text}; see the log of the node")]
    Status {
        /// The node.
        url: Arc<str>,
        /// Its status.
        status: StatusCode,
        /// Its body, in one line.
        text: String,
        /// Whether the engine itself sent it, in Solr's format, and not a proxy.
        is_of_solr: bool,
        /// When to retry.
        retry_after: Option<Duration>,
    },
    /// A success response without results of the documents.
    #[error(
        "{url} did not respond like {engine}: {problem}; check that `urls` names {engine} itself, \
         and any proxy in between"
    )]
    Foreign {
        /// The expected engine.
        engine: &'static str,
        /// The node.
        url: Arc<str>,
        /// The problem with the response.
        problem: String,
    },
    /// The login is rejected or missing.
    #[error(
        "{url} rejects the login ({text}): correct `user` and `password`, or the token in \
         `secret_headers.authorization`"
    )]
    NoLogin {
        /// The node.
        url: Arc<str>,
        /// The response, in one line.
        text: String,
    },
    /// The login may not write.
    #[error(
        "{url} does not allow this login to write to `{collection}` ({text}): grant its role the \
         permission `update` in `security.json`"
    )]
    NoRight {
        /// The node.
        url: Arc<str>,
        /// The collection.
        collection: String,
        /// The response, in one line.
        text: String,
    },
    /// The collection does not exist, as far as this node knows.
    #[error(
        "{url} has no collection `{collection}`: create it (`bin/solr create -c {collection}`) or \
         change `collection`; if it exists, this node failed to load it: see its log{}",
        if url.ends_with("/solr") { "" } else { "; URLs of Solr usually end with `/solr`" }
    )]
    NoCollection {
        /// The node.
        url: Arc<str>,
        /// The collection.
        collection: String,
    },
    /// An index does not exist, or rejects documents of this login.
    #[error(
        "the index `{index}` does not accept documents ({said}): create it, allow automatic \
         creation (`action.auto_create_index`), grant the login write access, or change `index`"
    )]
    NoIndex {
        /// The index.
        index: String,
        /// The reason for the first document.
        said: String,
    },
    /// A success response that was too late to be reliable.
    #[error(
        "{url} took {took:.1?} for one document, too long to prove that all replicas have it; the \
         document is resent; check for a hanging or overloaded node"
    )]
    Late {
        /// The node.
        url: Arc<str>,
        /// How long the request took.
        took: Duration,
    },
    /// Some documents are not written.
    #[error(
        "some documents were not written, and are resent: {said}; if this lasts, see the log of \
         the node"
    )]
    Again {
        /// Whether the problem is temporary.
        class: ErrorClass,
        /// The reason for the first such document.
        said: String,
    },
}

impl Classify for SearchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } => ErrorClass::Transient,
            Self::Broken { .. } | Self::Late { .. } => ErrorClass::Indeterminate,
            Self::Status { status, .. } => match status.as_u16() {
                408 | 409 | 413 | 429 | 500.. => ErrorClass::Transient,
                _ => ErrorClass::Blocked,
            },
            Self::Foreign { .. }
            | Self::NoLogin { .. }
            | Self::NoRight { .. }
            | Self::NoCollection { .. }
            | Self::NoIndex { .. } => ErrorClass::Blocked,
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
    /// Returns whether the request was rejected for its size.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. })
    }

    /// Returns whether the collection does not exist, or rejects documents of this login.
    pub(crate) fn is_of_collection(&self) -> bool {
        matches!(self, Self::NoCollection { .. } | Self::NoRight { .. })
    }

    /// Returns Solr's message if it rejected a request because of one of its documents.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self {
            // 409: the document has a `_version_` that differs from Solr's.
            Self::Status {
                status: status @ (StatusCode::BAD_REQUEST | StatusCode::CONFLICT),
                text,
                is_of_solr: true,
                ..
            } => Some(format!("{}: {text}", status.as_u16())),
            _ => None,
        }
    }
}

/// The nodes of a cluster.
pub(crate) struct Client {
    sender: web::Client,
    urls: Vec<Arc<str>>,
    headers: HeaderMap,
    /// The kind of the nodes.
    engine: &'static str,
    /// Index of the current node.
    current: AtomicUsize,
}

impl Client {
    /// Creates a client of nodes with these URLs, without trailing slashes; each request gets
    /// `headers`.
    pub(crate) fn new(
        engine: &'static str,
        connector: &Connector,
        urls: Vec<Arc<str>>,
        headers: HeaderMap,
    ) -> Self {
        Self { sender: connector.client(), urls, headers, engine, current: AtomicUsize::new(0) }
    }

    /// Returns the error for a node that does not respond like its engine.
    pub(crate) fn foreign(&self, problem: String) -> SearchError {
        self.foreign_at(self.node(), problem)
    }

    fn foreign_at(&self, url: &Arc<str>, problem: String) -> SearchError {
        SearchError::Foreign { engine: self.engine, url: url.clone(), problem }
    }

    /// Returns the current node.
    pub(crate) fn node(&self) -> &Arc<str> {
        &self.urls[self.current.load(Ordering::Relaxed) % self.urls.len()]
    }

    /// Returns the body of a success response. Switches to the next node after a failure that
    /// another node might not have, or if the future is dropped without a response. The number of
    /// documents in the request limits the size of the response.
    ///
    /// # Errors
    /// There is no response, or not a success.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        (body, documents): (Bytes, usize),
    ) -> Result<Bytes, SearchError> {
        let at = self.current.load(Ordering::Relaxed);
        let url = &self.urls[at % self.urls.len()];
        let mut turn = Turn { current: &self.current, at, is_over: true };
        let sent = self.send_to(url, method, path, (body, documents)).await;
        turn.is_over = match &sent {
            Err(SearchError::Connect { .. } | SearchError::Broken { .. }) => true,
            // This node may have failed to open a collection that others have.
            Err(SearchError::Status { status: StatusCode::NOT_FOUND, .. }) => true,
            Err(SearchError::Status { status, .. }) => status.is_server_error(),
            _ => false,
        };
        sent
    }

    async fn send_to(
        &self,
        url: &Arc<str>,
        method: Method,
        path: &str,
        (body, documents): (Bytes, usize),
    ) -> Result<Bytes, SearchError> {
        let uri: Uri = format!("{url}{path}").parse().expect("the URL was checked with a path");
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.headers);
        let bytes_max = HEAD_BYTES_MAX.saturating_add(documents.saturating_mul(DOCUMENT_BYTES_MAX));
        let bytes_max = bytes_max.min(ANSWER_BYTES_MAX);
        let reply = exchange(&self.sender, request, bytes_max).await.map_err(|lost| {
            let url = url.clone();
            match lost {
                Lost::Connect(source) => SearchError::Connect { url, source },
                Lost::Broken(source) => SearchError::Broken { url, source },
            }
        })?;
        if reply.is_cut {
            return Err(self.foreign_at(url, format!("it exceeds {bytes_max} bytes")));
        }
        let (status, retry_after, body) = (reply.head.status, reply.retry_after(), reply.body);
        if status.is_success() {
            return Ok(body);
        }
        let of_solr = said_by_solr(&body);
        let said = of_solr.as_deref().or_else(|| title(&body)).map_or(&*body, str::as_bytes);
        let text = shown(said);
        if status == StatusCode::UNAUTHORIZED {
            return Err(SearchError::NoLogin { url: url.clone(), text });
        }
        Err(SearchError::Status {
            url: url.clone(),
            status,
            is_of_solr: of_solr.is_some(),
            text,
            retry_after,
        })
    }
}

/// Use of a node. Switches to the next node if `is_over` when dropped.
struct Turn<'a> {
    current: &'a AtomicUsize,
    at: usize,
    is_over: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_over {
            // If several requests fail at the same time, only one switches.
            let (now, next) = (Ordering::Relaxed, self.at.wrapping_add(1));
            let _ = self.current.compare_exchange(self.at, next, now, now);
        }
    }
}

/// Returns the title of an HTML page: Solr rejects logins with such a page.
fn title(body: &[u8]) -> Option<&str> {
    let (_, title) = std::str::from_utf8(body).ok()?.split_once("<title>")?;
    Some(title.split_once("</title>")?.0)
}

/// Returns the message of a Solr error.
fn said_by_solr(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        error: Failure,
    }
    #[derive(Deserialize)]
    struct Failure {
        msg: String,
    }
    serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.error.msg)
}

#[cfg(test)]
pub(crate) mod tests;
