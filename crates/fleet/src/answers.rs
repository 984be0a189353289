//! Answers of the listener, with the headers that protect browsers.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::time::sleep;
use tracing::warn;

use crate::access::Denied;

/// Delay of the answer to a wrong token.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// Headers of each answer.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
];

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Adds the headers of each answer.
pub(crate) fn secured(mut answer: Answer) -> Answer {
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The answer to a request without a valid proof.
pub(crate) async fn refuse(peer: &str, denied: Denied) -> Answer {
    match denied {
        Denied::Forbidden(text) => plain(StatusCode::FORBIDDEN, text),
        Denied::Unauthorized(text) => {
            warn!(peer, "refused a request: {text}");
            sleep(WRONG_TOKEN_DELAY).await;
            let mut answer = plain(StatusCode::UNAUTHORIZED, text);
            let asks = HeaderValue::from_static("Basic realm=\"aqueduct fleet\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
            answer
        }
    }
}

/// A whole answer of this type.
pub(crate) fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// The answer that turns the connection into a WebSocket.
pub(crate) fn switching(headers: HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    answer
}

/// A text for people.
pub(crate) fn plain(status: StatusCode, text: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// A view as JSON.
pub(crate) fn json(view: &impl Serialize) -> Answer {
    let text = serde_json::to_string(view).expect("names, texts and numbers are JSON");
    typed(StatusCode::OK, "application/json", text + "\n")
}
