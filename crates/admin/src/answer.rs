//! Answers: their bodies and common headers.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer: whole, or a stream.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// One JSON object.
pub(super) const JSON: &str = "application/json";

/// The same type in Flume's notation.
pub(super) const JSON_UTF_8: &str = "application/json;charset=utf-8";

/// JSON objects, one a line.
pub(super) const JSON_LINES: &str = "application/jsonl";

/// Headers of every answer for browsers: its type is the declared one, no other site may frame or
/// read it, and scripts, styles and requests come only from this address.
const HEADERS: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

/// Adds the common headers.
pub(super) fn secured(mut answer: Answer) -> Answer {
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Forbids caches to keep the answer.
pub(super) fn fresh(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A text for people.
pub(super) fn page(status: StatusCode, text: String) -> Answer {
    typed(status, "text/plain; charset=utf-8", text)
}

/// Creates an answer with one JSON document that no cache keeps.
pub(super) fn json(document: &impl Serialize) -> Answer {
    let text = serde_json::to_string(document).expect("names, texts and numbers are JSON");
    fresh(typed(StatusCode::OK, JSON, text + "\n"))
}

/// A whole answer of this type.
pub(super) fn typed(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Answer {
    respond(status, kind, Full::new(body.into()).boxed_unsync())
}

/// An answer of this type.
pub(super) fn respond(
    status: StatusCode,
    kind: &str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Answer {
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    answer.body(body).expect("status and header are valid")
}
