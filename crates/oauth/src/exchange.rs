//! Requests of HTTP and their answers: what an answer means that is no success, and what of both
//! may be shown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use jiff::fmt::rfc2822;
use pipeline::env::{Clock, unix_millis};
use pipeline::{BuildContext, BuildError};
use serde_json::Value;
use thiserror::Error;
use tls::http::Connector;
use tokio::time::timeout;

/// Bytes of an answer that says why something failed.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Schemes of a server of HTTP.
pub const HTTP: &[&str] = &["http", "https"];

/// Characters of it that an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// When the window of a limit of requests ends, in seconds since 1970.
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-rate-limit-reset");

/// Why there is no answer that can be used.
#[derive(Debug, Error)]
pub enum Failure {
    /// No connection, or none any more.
    #[error("{url}: {problem}")]
    Network {
        /// As it may be shown.
        url: Arc<str>,
        /// What happened.
        problem: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The server responded with an error status.
    #[error("{url} answered {status}: {text}")]
    Status {
        /// As it may be shown.
        url: Arc<str>,
        /// Of the answer.
        status: StatusCode,
        /// The beginning of its body.
        text: String,
        /// How long the server wants to be left alone.
        wait: Option<Duration>,
    },
    /// A success that holds something else than was asked for.
    #[error("{url}: {problem}")]
    Unexpected {
        /// As it may be shown.
        url: Arc<str>,
        /// What it holds.
        problem: String,
    },
}

/// Sends requests of a source or sink.
pub type Sender = hyper_util::client::legacy::Client<Connector, Full<Bytes>>;

/// The answer to a request, without its body.
///
/// # Errors
/// There is none within `limit`.
pub async fn answer(
    sender: &Sender,
    request: Request<Full<Bytes>>,
    url: &Arc<str>,
    limit: Duration,
) -> Result<Response<Incoming>, Failure> {
    let network = |problem: String, source| Failure::Network { url: url.clone(), problem, source };
    match timeout(limit, sender.request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(network("no answer".into(), Some(error.into()))),
        Err(_) => Err(network(format!("no answer within {limit:?}"), None)),
    }
}

/// What a server says with a status that is no success.
pub async fn refusal(
    url: Arc<str>,
    response: Response<Incoming>,
    limit: Duration,
    clock: &dyn Clock,
) -> Failure {
    let status = response.status();
    let wait = wait_of(response.headers(), unix_millis(clock.now()));
    let text = whole(response.into_body(), &url, REFUSAL_BYTES_MAX, limit).await;
    let text = text.map(|bytes| shown(&bytes)).unwrap_or_default();
    let text = if text.is_empty() { "no reason given".to_owned() } else { text };
    Failure::Status { url, status, text, wait }
}

/// All of an answer's body.
///
/// # Errors
/// The connection breaks, it takes longer than `limit`, or the body is longer than `bytes_max`.
pub async fn whole(
    body: Incoming,
    url: &Arc<str>,
    bytes_max: usize,
    limit: Duration,
) -> Result<Bytes, Failure> {
    let network = |problem: String, source| Failure::Network { url: url.clone(), problem, source };
    match timeout(limit, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let problem = format!("the response exceeds {bytes_max} bytes");
            Err(Failure::Unexpected { url: url.clone(), problem })
        }
        Ok(Err(error)) => Err(network("the response is incomplete".into(), Some(error))),
        Err(_) => Err(network(format!("the response is incomplete after {limit:?}"), None)),
    }
}

/// The JSON of an answer.
///
/// # Errors
/// It is none.
pub fn parsed(bytes: &[u8], url: &Arc<str>) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = format!("the response is not valid JSON: {error}");
        Failure::Unexpected { url: url.clone(), problem }
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
pub fn shown_url(uri: &Uri) -> Arc<str> {
    let scheme = uri.scheme_str().unwrap_or("http");
    let authority = uri.authority().map_or("", |it| it.as_str());
    format!("{scheme}://{authority}{}", uri.path()).into()
}

/// A URL of a setting, of one of these schemes.
///
/// # Errors
/// It is none that can be asked.
pub fn url_of(setting: &str, text: &str, schemes: &[&str]) -> Result<Uri, BuildError> {
    let invalid = |problem: String| BuildError::invalid(setting, problem);
    let uri: Uri = text
        .parse()
        .map_err(|error| invalid(format!("{error}; write for example `http://host:80/path`")))?;
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        let begins: Vec<_> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
        return Err(invalid(format!("must start with {}", begins.join(" or "))));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let problem = "must not contain a user name, because URLs are shown in logs; use \
                       `access.secret_headers` instead";
        return Err(invalid(problem.into()));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("must have a host".into()));
    }
    Ok(uri)
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

/// Says that this server is asked in plain text, if it is.
pub fn name_plain_text(setting: &str, uri: &Uri, cx: &BuildContext) {
    let remedy = match uri.scheme_str() {
        Some("http") => "write `https://`",
        Some("ws") => "write `wss://`",
        _ => return,
    };
    if let Some(server) = uri.authority() {
        cx.plain_text.speaks(setting, server.as_str(), remedy);
    }
}

/// The value of a header that is never shown.
///
/// # Errors
/// It has bytes that no header has.
pub fn hidden(setting: &str, text: &str) -> Result<HeaderValue, BuildError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|error| BuildError::invalid(setting, error))?;
    value.set_sensitive(true);
    Ok(value)
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
    fn a_url_that_cannot_be_asked_is_refused_and_its_password_is_not_shown() {
        for url in ["h:80", "ws://h/", "/p", "http:///p", "http://u:hunter2@h/"] {
            let error = url_of("url", url, HTTP).unwrap_err();
            assert!(error.setting == "url" && !error.problem.contains("hunter2"), "{error}");
        }
        assert_eq!(&*shown_url(&"https://h/p?token=1".parse().unwrap()), "https://h/p");
    }
}
