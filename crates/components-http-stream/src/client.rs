//! Requests: their headers and tokens, and what an answer means that is no success.

mod access;
mod token;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use jiff::fmt::rfc2822;
use pipeline::env::{Clock, unix_millis};
use pipeline::{BuildError, ErrorClass, SourceError};
use serde_json::Value;
use thiserror::Error;
use tls::http::Connector;
use tokio::time::timeout;

pub(crate) use access::Access;
use token::Token;
pub(crate) use upgrade::is_web_socket;

use crate::backoff::Trouble;

/// Bytes of an answer that says why something failed.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Schemes of a server of HTTP.
pub(crate) const HTTP: &[&str] = &["http", "https"];

/// Characters of it that an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// When the window of a limit of requests ends, in seconds since 1970.
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-rate-limit-reset");

/// Why there are no events.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    /// No connection, or none any more.
    #[error("{url}: {problem}")]
    Network {
        url: Arc<str>,
        problem: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// An answer that is no success.
    #[error("{url} answered {status}: {text}")]
    Status { url: Arc<str>, status: StatusCode, text: String, wait: Option<Duration> },
    /// A WebSocket that its server has closed.
    #[error("{url}: the server has closed the stream with {code}: {reason}")]
    Closed { url: Arc<str>, code: u16, reason: String },
    /// A success that holds something else than events.
    #[error("{url}: {problem}")]
    Unexpected { url: Arc<str>, problem: String },
}

impl HttpError {
    /// The row of the table of pauses.
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Self::Network { .. } => Trouble::Network,
            // An orderly end, none given, and a server that starts again.
            Self::Closed { code: 1000 | 1001 | 1005 | 1012, .. } => Trouble::Network,
            Self::Status { status: StatusCode::TOO_MANY_REQUESTS, .. } => Trouble::Limited,
            Self::Status { .. } | Self::Closed { .. } | Self::Unexpected { .. } => Trouble::Http,
        }
    }

    /// How long the server wants to be left alone.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            Self::Network { .. } | Self::Closed { .. } | Self::Unexpected { .. } => None,
        }
    }

    /// The same for the runner of a source.
    pub(crate) fn into_source_error(self) -> SourceError {
        let class = match &self {
            Self::Network { .. } => ErrorClass::Transient,
            Self::Status { status, .. } => match status.as_u16() {
                408 | 425 | 429 | 500.. => ErrorClass::Transient,
                _ => ErrorClass::Blocked,
            },
            // Those above, an error of the server, a busy one, and a gateway without one.
            Self::Closed { code: 1000 | 1001 | 1005 | 1011..=1014, .. } => ErrorClass::Transient,
            Self::Closed { .. } | Self::Unexpected { .. } => ErrorClass::Blocked,
        };
        let message = "the server gives no events".to_owned();
        SourceError { class, message, source: Some(Box::new(self)) }
    }
}

type Sender = hyper_util::client::legacy::Client<Connector, Full<Bytes>>;

/// Makes requests of one source.
pub(crate) struct Client {
    sender: Sender,
    /// Where the events are.
    pub(crate) uri: Uri,
    headers: HeaderMap,
    token: Option<Token>,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// Asks for a resource. `more` are headers of this request alone.
    ///
    /// # Errors
    /// There is no answer, or none with a status of 200; with `conditional` 304 is one, too.
    pub(crate) async fn get(
        &mut self,
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
            let problem =
                format!("the server compresses ({coding:?}) although it was not asked to");
            return Err(HttpError::Unexpected { url, problem });
        }
        Ok(response)
    }

    /// The JSON that a request is answered with. A body is sent as JSON.
    ///
    /// # Errors
    /// There is no answer, none with a status of 2xx, or it is no JSON within `limit` bytes.
    pub(crate) async fn json(
        &mut self,
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
        parsed(&bytes, &url)
    }

    /// All of an answer's body.
    ///
    /// # Errors
    /// The connection breaks, it takes too long, or the body is longer than `limit`.
    pub(crate) async fn body(&self, body: Incoming, limit: usize) -> Result<Bytes, HttpError> {
        whole(body, &shown_url(&self.uri), limit, self.timeout).await
    }

    /// Sends a request with the token that counts now; a server that does not take it any more gets
    /// a new one, once.
    async fn send(
        &mut self,
        method: &Method,
        uri: &Uri,
        more: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, HttpError> {
        loop {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            request.headers_mut().clone_from(&self.headers);
            request.headers_mut().extend(more.clone());
            let mut was_kept = false;
            if let Some(token) = &mut self.token {
                was_kept = token.is_kept();
                let bearer = token.current(self.timeout, &*self.clock).await?;
                request.headers_mut().insert(hyper::header::AUTHORIZATION, bearer);
            }
            let url = shown_url(uri);
            let response = answer(&self.sender, request, &url, self.timeout).await?;
            match &mut self.token {
                Some(token) if response.status() == StatusCode::UNAUTHORIZED => {
                    token.forget();
                    if !was_kept {
                        return Ok(response);
                    }
                }
                _ => return Ok(response),
            }
        }
    }

    async fn refusal(&self, url: Arc<str>, response: Response<Incoming>) -> HttpError {
        refusal(url, response, self.timeout, &*self.clock).await
    }
}

/// The answer to a request, without its body.
async fn answer(
    sender: &Sender,
    request: Request<Full<Bytes>>,
    url: &Arc<str>,
    limit: Duration,
) -> Result<Response<Incoming>, HttpError> {
    let network =
        |problem: String, source| HttpError::Network { url: url.clone(), problem, source };
    match timeout(limit, sender.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(network("no answer".into(), Some(error.into()))),
        Err(_) => Err(network(format!("no answer within {limit:?}"), None)),
    }
}

/// What a server says with a status that is no success.
async fn refusal(
    url: Arc<str>,
    response: Response<Incoming>,
    limit: Duration,
    clock: &dyn Clock,
) -> HttpError {
    let status = response.status();
    let wait = wait_of(response.headers(), unix_millis(clock.now()));
    let text = whole(response.into_body(), &url, REFUSAL_BYTES_MAX, limit).await;
    let text = text.map(|bytes| shown(&bytes)).unwrap_or_default();
    let text = if text.is_empty() { "no reason given".to_owned() } else { text };
    HttpError::Status { url, status, text, wait }
}

async fn whole(
    body: Incoming,
    url: &Arc<str>,
    bytes_max: usize,
    limit: Duration,
) -> Result<Bytes, HttpError> {
    let network =
        |problem: String, source| HttpError::Network { url: url.clone(), problem, source };
    match timeout(limit, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let problem = format!("the answer is longer than {bytes_max} bytes");
            Err(HttpError::Unexpected { url: url.clone(), problem })
        }
        Ok(Err(error)) => Err(network("the answer is not whole".into(), Some(error))),
        Err(_) => Err(network(format!("the answer is not whole within {limit:?}"), None)),
    }
}

fn parsed(bytes: &[u8], url: &Arc<str>) -> Result<Value, HttpError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = format!("the answer is no JSON: {error}");
        HttpError::Unexpected { url: url.clone(), problem }
    })
}

/// How long a server wants to be left alone.
fn wait_of(headers: &HeaderMap, now_ms: u64) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let until = |at_ms: u64| Duration::from_millis(at_ms.saturating_sub(now_ms));
    if let Some(after) = text(&RETRY_AFTER) {
        if let Ok(seconds) = after.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = rfc2822::parse(after).ok()?.timestamp().as_millisecond();
        return u64::try_from(date).ok().map(until);
    }
    let seconds: u64 = text(&RATE_LIMIT_RESET)?.trim().parse().ok()?;
    Some(until(seconds.saturating_mul(1000)))
}

/// A URL as it may be shown: parameters can hold secrets.
pub(crate) fn shown_url(uri: &Uri) -> Arc<str> {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |it| it.as_str());
    format!("{scheme}://{authority}{}", uri.path()).into()
}

/// A URL of a setting, of one of these schemes.
///
/// # Errors
/// It is none that can be asked.
pub(crate) fn url_of(setting: &str, text: &str, schemes: &[&str]) -> Result<Uri, BuildError> {
    let invalid = |problem: String| BuildError::invalid(setting, problem);
    let uri: Uri = text
        .parse()
        .map_err(|error| invalid(format!("{error}; write for example `http://host:80/path`")))?;
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        let begins: Vec<_> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
        return Err(invalid(format!("it has to begin with {}", begins.join(" or "))));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let problem = "it holds a user, and would be shown; write `access.secret_headers`";
        return Err(invalid(problem.into()));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("it names no host".into()));
    }
    Ok(uri)
}

/// The URL with one more parameter in its query.
pub(crate) fn with_parameter(uri: &Uri, name: &str, value: &str) -> Uri {
    let kept = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept.filter(|(key, _)| key != name)).append_pair(name, value);
    let mut parts = uri.clone().into_parts();
    let path = format!("{}?{}", uri.path(), query.finish());
    parts.path_and_query = path.parse().ok();
    // What is encoded is a query, whatever it says.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// The beginning of an answer as one line without control characters.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_in_each_form_that_servers_write_it() {
        let now = 1_445_412_480_000 - 60_000;
        for (name, value, expected) in [
            ("retry-after", "120", Some(120)),
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", Some(60)),
            ("retry-after", "Tue, 21 Oct 2014 07:28:00 GMT", Some(0)),
            ("retry-after", "soon", None),
            ("x-rate-limit-reset", "1445412510", Some(90)),
            ("x-rate-limit-reset", "18446744073709551615", Some(u64::MAX / 1000 - now / 1000)),
            ("date", "7", None),
        ] {
            let headers = [(name.parse().unwrap(), value.parse().unwrap())];
            let wait = wait_of(&HeaderMap::from_iter(headers), now);
            assert_eq!(wait.map(|it| it.as_secs()), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_parameter_is_encoded_and_replaces_one_of_its_name() {
        let with =
            |url: &str| with_parameter(&url.parse().unwrap(), "since", "a&b=1 é").to_string();
        assert_eq!(with("http://h:1/p"), "http://h:1/p?since=a%26b%3D1+%C3%A9");
        let expected = "https://h/p?x=1&y=%2F&since=a%26b%3D1+%C3%A9";
        assert_eq!(with("https://h/p?x=1&since=old&y=/"), expected);
    }

    #[test]
    fn a_url_that_cannot_be_asked_is_refused_and_its_password_is_not_shown() {
        for url in ["h:80", "ws://h/", "/p", "http:///p", "http://u:hunter2@h/"] {
            let error = url_of("url", url, HTTP).unwrap_err();
            assert!(error.setting == "url" && !error.problem.contains("hunter2"), "{error}");
        }
        assert_eq!(&*shown_url(&"https://h/p?token=1".parse().unwrap()), "https://h/p");
    }
}
