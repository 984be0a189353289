//! Errors of requests, for people: the reason in the response, and the time that the server asks
//! the client to wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response, StatusCode};
use jiff::fmt::rfc2822;
use pipeline::env::{Clock, unix_millis};
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use crate::exchange::{Cause, Client, send, shown};

/// Maximum size of a response with an error status.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// The end of the window of a rate limit, in seconds since 1970.
const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("x-rate-limit-reset");

/// Why there is no usable response.
#[derive(Debug, Error)]
pub enum Failure {
    /// Connecting failed, or the connection broke.
    #[error("{url}: {problem}; check that the server is running and reachable from this host")]
    Network {
        /// Without its parameters.
        url: Arc<str>,
        /// The problem.
        problem: String,
        /// Its cause.
        #[source]
        source: Option<Cause>,
    },
    /// The server responded with an error status.
    #[error("{url} answered {status}: {text}; see the log of that server")]
    Status {
        /// Without its parameters.
        url: Arc<str>,
        /// The status.
        status: StatusCode,
        /// The beginning of its body.
        text: String,
        /// Pause that the server asks for.
        wait: Option<Duration>,
    },
    /// A success response with unexpected content.
    #[error("{url}: {problem}")]
    Unexpected {
        /// Without its parameters.
        url: Arc<str>,
        /// The problem with the content.
        problem: String,
    },
}

/// Sends a request; returns the response before its body has arrived.
///
/// # Errors
/// There is no response within `limit`.
pub async fn answer(
    client: &Client,
    request: Request<Full<Bytes>>,
    url: &Arc<str>,
    limit: Duration,
) -> Result<Response<Incoming>, Failure> {
    let network = |problem: String, source| Failure::Network { url: url.clone(), problem, source };
    match timeout(limit, send(client, request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(lost)) => Err(network("no answer".into(), Some(lost.cause()))),
        Err(_) => Err(network(format!("no answer within {limit:?}"), None)),
    }
}

/// Returns the error for a response with an error status.
pub async fn refusal(
    url: Arc<str>,
    response: Response<Incoming>,
    limit: Duration,
    clock: &dyn Clock,
) -> Failure {
    let status = response.status();
    let wait = wait_of(response.headers(), unix_millis(clock.now()));
    let text = whole(response.into_body(), &url, REFUSAL_BYTES_MAX, limit).await;
    let text = shown(&text.unwrap_or_default());
    Failure::Status { url, status, text, wait }
}

/// Reads the whole body of a response.
///
/// # Errors
/// The connection breaks, reading takes longer than `limit`, or the body is longer than
/// `bytes_max`.
pub async fn whole(
    body: Incoming,
    url: &Arc<str>,
    bytes_max: usize,
    limit: Duration,
) -> Result<Bytes, Failure> {
    let network = |problem: String, source| Failure::Network { url: url.clone(), problem, source };
    match timeout(limit, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let problem = format!("the response exceeds {bytes_max} bytes; check the URL");
            Err(Failure::Unexpected { url: url.clone(), problem })
        }
        Ok(Err(error)) => Err(network("the response is incomplete".into(), Some(error))),
        Err(_) => Err(network(format!("the response is incomplete after {limit:?}"), None)),
    }
}

/// Parses the JSON of a response.
///
/// # Errors
/// It is not JSON.
pub fn parsed(bytes: &[u8], url: &Arc<str>) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let problem = format!(
            "the response is not valid JSON: {error}; check the URL, and a proxy in between"
        );
        Failure::Unexpected { url: url.clone(), problem }
    })
}

/// Returns the pause that a server asks for.
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
}
