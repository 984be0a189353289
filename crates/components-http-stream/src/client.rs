//! Requests: headers, tokens, and errors from responses.

mod access;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use pipeline::env::Clock;
use pipeline::{BuildError, ErrorClass, SourceError};
use serde_json::Value;
use thiserror::Error;
use web::Authorization;
pub(crate) use web::Failure;
use web::failure::{parsed, refusal, whole};
use web::settings;
pub(crate) use web::settings::{HTTP, shown_url};

pub(crate) use access::Access;
pub(crate) use upgrade::is_web_socket;

use crate::backoff::RetryCause;

/// Why there are no events.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// No usable response, or the response broke.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The server closed the WebSocket.
    #[error(
        "the server closed the stream {url} with code {code}: {reason}; reconnecting; if this \
         repeats, check `url`, the login and the limits of the server"
    )]
    Closed { url: Arc<str>, code: u16, reason: String },
}

impl HttpError {
    /// Returns the row in the table of pauses.
    pub(crate) fn trouble(&self) -> RetryCause {
        match self {
            Self::Failure(Failure::Network { .. }) => RetryCause::Network,
            // A normal close, a missing code, and a restarting server.
            Self::Closed { code: 1000 | 1001 | 1005 | 1012, .. } => RetryCause::Network,
            Self::Failure(Failure::Status { status: StatusCode::TOO_MANY_REQUESTS, .. }) => {
                RetryCause::Limited
            }
            Self::Failure(_) | Self::Closed { .. } => RetryCause::Http,
        }
    }

    /// Returns the delay requested by the server.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Failure(Failure::Status { wait, .. }) => *wait,
            Self::Failure(_) | Self::Closed { .. } => None,
        }
    }

    /// Converts the error for the runner of a source.
    pub(crate) fn into_source_error(self) -> SourceError {
        let class = match &self {
            Self::Failure(Failure::Network { .. }) => ErrorClass::Transient,
            Self::Failure(Failure::Status { status, .. }) => match status.as_u16() {
                408 | 425 | 429 | 500.. => ErrorClass::Transient,
                _ => ErrorClass::Blocked,
            },
            // The codes above, a server error, an overloaded server, and a bad gateway.
            Self::Closed { code: 1000 | 1001 | 1005 | 1011..=1014, .. } => ErrorClass::Transient,
            Self::Failure(Failure::Unexpected { .. }) | Self::Closed { .. } => ErrorClass::Blocked,
        };
        let message = "cannot read events from the server; retrying".to_owned();
        SourceError { class, message, source: Some(Box::new(self)) }
    }
}

/// Sends the requests of a source.
pub(crate) struct Client {
    sender: web::Client,
    /// URL of the events.
    pub(crate) uri: Uri,
    headers: HeaderMap,
    authorization: Authorization,
    /// Timeout of a response.
    pub(crate) timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// Requests a resource. `more` are additional headers of this request.
    ///
    /// # Errors
    /// There is no response, or its status is not 200; with `conditional`, 304 is allowed, too.
    pub(crate) async fn get(
        &self,
        uri: &Uri,
        more: &HeaderMap,
        conditional: bool,
    ) -> Result<Response<Incoming>, HttpError> {
        let response = self.send(&Method::GET, uri, more, Bytes::new()).await?;
        let url = shown_url(uri);
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if conditional => return Ok(response),
            _ => return Err(self.refusal(url, response).await),
        }
        let coding = response.headers().get(CONTENT_ENCODING).filter(|it| *it != "identity");
        if let Some(coding) = coding {
            let problem = format!(
                "the server sent a compressed response ({coding:?}) that was not requested: \
                 disable compression there"
            );
            return Err(Failure::Unexpected { url, problem }.into());
        }
        Ok(response)
    }

    /// Sends a request and returns the JSON of the response. A body is sent as JSON.
    ///
    /// # Errors
    /// There is no response, its status is not 2xx, or it is not JSON of at most `limit` bytes.
    pub(crate) async fn json(
        &self,
        method: &Method,
        uri: &Uri,
        body: Option<&Value>,
        limit: usize,
    ) -> Result<Value, HttpError> {
        let mut more = HeaderMap::new();
        if body.is_some() {
            more.insert(CONTENT_TYPE, "application/json".parse().expect("a header's value"));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let response = self.send(method, uri, &more, body.into()).await?;
        let url = shown_url(uri);
        if !response.status().is_success() {
            return Err(self.refusal(url, response).await);
        }
        let bytes = whole(response.into_body(), &url, limit, self.timeout).await?;
        Ok(parsed(&bytes, &url)?)
    }

    /// Reads the whole body of a response.
    ///
    /// # Errors
    /// The connection breaks, it times out, or the body is longer than `limit`.
    pub(crate) async fn body(&self, body: Incoming, limit: usize) -> Result<Bytes, HttpError> {
        Ok(whole(body, &shown_url(&self.uri), limit, self.timeout).await?)
    }

    async fn send(
        &self,
        method: &Method,
        uri: &Uri,
        more: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, HttpError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().extend(more.clone());
        let within = (self.timeout, &*self.clock);
        Ok(self.authorization.send(&self.sender, request, within).await?)
    }

    async fn refusal(&self, url: Arc<str>, response: Response<Incoming>) -> HttpError {
        refusal(url, response, self.timeout, &*self.clock).await.into()
    }
}

/// Parses the setting `url`, with one of these schemes.
///
/// # Errors
/// It is not such a URL.
pub(crate) fn url_of(text: &str, schemes: &[&str]) -> Result<Uri, BuildError> {
    settings::url_of("url", text, (schemes, HTTP.1), "`access.secret_headers`")
}

/// Adds a parameter to the query of a URL.
pub(crate) fn with_parameter(uri: &Uri, name: &str, value: &str) -> Uri {
    let kept = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept.filter(|(key, _)| key != name)).append_pair(name, value);
    let mut parts = uri.clone().into_parts();
    let path = format!("{}?{}", uri.path(), query.finish());
    parts.path_and_query = path.parse().ok();
    // The encoded parameter is always a valid query.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_encoded_and_replaces_one_of_its_name() {
        let with =
            |url: &str| with_parameter(&url.parse().unwrap(), "since", "a&b=1 é").to_string();
        assert_eq!(with("http://h:1/p"), "http://h:1/p?since=a%26b%3D1+%C3%A9");
        let expected = "https://h/p?x=1&y=%2F&since=a%26b%3D1+%C3%A9";
        assert_eq!(with("https://h/p?x=1&since=old&y=/"), expected);
    }
}
