//! Handles a request and its response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use kit::http::{Refusal, RequestBody, gunzip};
use kit::serve::Put;
use kit::storing::units;
use kit::tenants::{Member, Memory};
use tokio::time::Instant;
use tracing::debug;

use super::answer::{self, Protocol};
use crate::events::{self, Events, Form, Mapping};
use crate::signal::Signal;
use crate::weight::weight;

/// A request that needs all of `in_flight_max` runs alone; one that needs this many times more is
/// rejected.
const DENSE_TIMES: u64 = 4;

/// Length of the prefix of a gRPC message: the compression flag and the length.
const FRAME_BYTES: usize = 5;

/// The way of a request to its response.
pub(super) struct Exchange {
    /// How to convert requests to events.
    pub(super) mapping: Arc<Mapping>,
    pub(super) body_max: usize,
    pub(super) retry_after: Duration,
    pub(super) body_timeout: Duration,
}

/// Rejected records of a request; its other records are stored.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    pub(super) records: u64,
    /// Why the first one was rejected.
    pub(super) problem: String,
}

impl Exchange {
    /// Responds to a request of a tenant.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        member: &Arc<Member>,
        put: &Arc<Put>,
    ) -> Response<answer::Body> {
        let (head, mut body) = RequestBody::of(request);
        let (protocol, refusal) = match asked(&head) {
            Ok((protocol, signal)) => {
                match self.take((protocol, signal), (&head, &mut body), (member, put)).await {
                    Ok(rejected) => return answer::success(protocol, signal, rejected),
                    Err(refusal) => (protocol, refusal),
                }
            }
            Err(unknown) => unknown,
        };
        body.drop_rest(self.body_timeout).await;
        debug!(source = %put.source, status = %refusal.status, refusal.text, "request refused");
        let retry_after = refusal.retry_after.unwrap_or(self.retry_after);
        answer::refusal(protocol, &refusal, retry_after)
    }

    /// Accepts the records of a request. Returns when they are in every required channel.
    async fn take(
        &self,
        (protocol, signal): (Protocol, Signal),
        (head, body): (&Parts, &mut RequestBody),
        (member, put): (&Arc<Member>, &Arc<Put>),
    ) -> Result<Rejected, Refusal> {
        if put.stop.is_cancelled() {
            return Err(stopping());
        }
        member.ask(Instant::now())?;
        let largest = member.message_max(self.body_max as u64);
        let of_tenant = |refusal: Refusal| refusal.of_tenant(member, self.body_max);
        let frame = if protocol == Protocol::Grpc { FRAME_BYTES } else { 0 };
        let body_max = largest as usize + frame;
        let announced = body.announced();
        if announced.is_some_and(|bytes| bytes > body_max as u64) {
            return Err(Refusal::too_large_for(member, self.body_max));
        }
        let is_gzip = is_gzip(protocol, &head.headers)?;
        // A compressed body may grow up to the limit.
        let bytes = announced.filter(|_| !is_gzip).unwrap_or(largest).min(largest);
        let mut memory = put.memory(member, bytes).await.ok_or_else(no_memory)?;
        let body = body.read(body_max, self.body_timeout).await.map_err(of_tenant)?;
        let (body, is_gzip) = match protocol {
            Protocol::Grpc => message(&body, is_gzip)?,
            Protocol::Http(_) => (body, is_gzip),
        };
        if body.len() as u64 > largest {
            return Err(Refusal::too_large_for(member, self.body_max));
        }
        let form = (signal, protocol.form());
        let (weighed, held) = weighed(put, form, (body, memory), (is_gzip, largest as usize)).await;
        let (body, weight) = weighed.map_err(of_tenant)?;
        memory = held;
        member.charge(body.len() as u64, Instant::now());
        let whole = units(weight.min(put.sharing.in_flight_max()));
        let more = whole.saturating_sub(memory.units());
        if more > 0 {
            let more = put.memory(member, u64::from(more) << 10).await;
            memory.merge(more.ok_or_else(no_memory)?);
        }
        let (decoded, mut memory) = self.decode(form, (body, memory), put).await;
        let Events { batch, rejected, problem } = decoded?;
        if rejected > 0 {
            debug!(source = %put.source, records = rejected, problem, "records are rejected");
            put.count("record_too_large", rejected);
        }
        // Release the memory that a body of unknown length did not need, before waiting for the
        // channels.
        memory.keep(batch.size().bytes);
        if !batch.is_empty() {
            member.count(batch.len() as u64, batch.size().bytes, Instant::now());
            let statuses = (StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
            Refusal::unless_stored(put.store(batch, memory, member).await, statuses)?;
        }
        Ok(Rejected { records: rejected, problem })
    }

    /// Decodes a body to events. Holds the memory like [`weighed`].
    async fn decode(
        &self,
        form: (Signal, Form),
        (body, memory): (Bytes, Memory),
        put: &Put,
    ) -> (Result<Events, Refusal>, Memory) {
        let mapping = self.mapping.clone();
        let batch_bytes_max = put.batch_bytes_max();
        let decode = move || {
            events::events_of(form, &body, &mapping, batch_bytes_max).map_err(|problem| {
                let text =
                    format!("the body is not an OTLP request: {problem}; correct the client");
                Refusal::new(StatusCode::BAD_REQUEST, text)
            })
        };
        put.env.offload(move || (decode(), memory)).await
    }
}

/// Decompresses the body, and estimates the memory to decode it. Continues if the client
/// disconnects, and holds the memory until its end.
async fn weighed(
    put: &Put,
    form: (Signal, Form),
    (body, memory): (Bytes, Memory),
    (is_gzip, body_max): (bool, usize),
) -> (Result<(Bytes, u64), Refusal>, Memory) {
    let max = put.sharing.in_flight_max();
    let weigh = move || {
        let body = if is_gzip { gunzip(&body, body_max)? } else { body };
        let weight = weight(form, &body);
        if weight / DENSE_TIMES > max {
            let mib = weight >> 20;
            let text = format!(
                "reading the request takes about {mib} MiB of memory, over {DENSE_TIMES} times \
                 {max} bytes (`in_flight_max`): send fewer records at a time"
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok((body, weight))
    };
    put.env.offload(move || (weigh(), memory)).await
}

fn stopping() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping")
}

fn no_memory() -> Refusal {
    Refusal::no_memory(StatusCode::TOO_MANY_REQUESTS)
}

/// Returns the protocol and the signal of a request.
fn asked(head: &Parts) -> Result<(Protocol, Signal), (Protocol, Refusal)> {
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let protocol = match essence.trim_ascii().to_ascii_lowercase().as_slice() {
        b"application/grpc" | b"application/grpc+proto" => Protocol::Grpc,
        b"application/x-protobuf" => Protocol::Http(Form::Protobuf),
        b"application/json" => Protocol::Http(Form::Json),
        other => {
            let text = format!(
                "the content type `{}` is not supported; known: application/grpc, \
                 application/x-protobuf, application/json",
                other.escape_ascii()
            );
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
            return Err((Protocol::Http(Form::Json), refusal));
        }
    };
    let path = head.uri.path();
    let of_path = |signal: &Signal| match protocol {
        Protocol::Grpc => signal.grpc_path() == path,
        Protocol::Http(_) => signal.http_path() == path,
    };
    let Some(signal) = Signal::ALL.into_iter().find(of_path) else {
        let text = format!(
            "`{path}` is not an OTLP path; use /v1/logs, /v1/traces or /v1/metrics, or the gRPC \
             services of OTLP"
        );
        return Err((protocol, Refusal::new(StatusCode::NOT_FOUND, text)));
    };
    if head.method != Method::POST {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "send records with POST");
        return Err((protocol, refusal));
    }
    Ok((protocol, signal))
}

/// Returns whether messages are compressed.
fn is_gzip(protocol: Protocol, headers: &HeaderMap) -> Result<bool, Refusal> {
    let coding = match protocol {
        Protocol::Grpc => headers.get("grpc-encoding"),
        Protocol::Http(_) => headers.get(CONTENT_ENCODING),
    };
    match coding.map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(other) => {
            let text = format!(
                "the encoding `{}` is not supported; known: gzip, identity",
                other.escape_ascii()
            );
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

/// Returns the message in a call's body, and whether it is compressed.
fn message(body: &Bytes, is_gzip: bool) -> Result<(Bytes, bool), Refusal> {
    let malformed = |text: &str| Refusal::new(StatusCode::BAD_REQUEST, text);
    let &[flag, a, b, c, d] =
        body.get(..FRAME_BYTES).and_then(|frame| frame.try_into().ok()).unwrap_or(&[2; 5]);
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length != body.len().saturating_sub(FRAME_BYTES) {
        return Err(malformed("the body must be one gRPC message"));
    }
    let is_compressed = match flag {
        0 => false,
        1 if is_gzip => true,
        _ => {
            return Err(malformed(
                "a message is compressed, but `grpc-encoding` does not name the compression",
            ));
        }
    };
    Ok((body.slice(FRAME_BYTES..), is_compressed))
}
