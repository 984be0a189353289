//! One request and its response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::decoders;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use kit::decoding::Undecoded;
use kit::http::{Refusal, RequestBody, gunzip};
use kit::serve::Put;
use kit::tenants::{Member, Memory};
use pipeline::{Batch, BatchBuilder, Decoder, MalformedMessage, Message};
use tokio::time::Instant;
use tracing::debug;

/// Delay of a retry that a 503 response requests, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The way of a request to its response.
pub(super) struct Exchange {
    pub(super) body_max: usize,
    pub(super) body_timeout: Duration,
    pub(super) query_headers: bool,
    pub(super) decoder: Arc<dyn Decoder>,
}

impl Exchange {
    /// Handles a request of a tenant.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        member: &Arc<Member>,
        put: &Arc<Put>,
    ) -> Response<Full<Bytes>> {
        let (head, mut body) = RequestBody::of(request);
        let refusal = match self.take(&head, &mut body, (member, put)).await {
            Ok(()) => return Response::new(Full::default()),
            Err(refusal) => refusal,
        };
        body.drop_rest(self.body_timeout).await;
        let (status, text) = (refusal.status, &refusal.text);
        debug!(source = %put.source, %status, text, "request refused");
        let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
        *response.status_mut() = refusal.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let retry_after = match refusal.status {
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
            _ => refusal.retry_after_seconds(),
        };
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match refusal.status {
            // Close an excess connection; a client over its rate keeps its connection.
            StatusCode::TOO_MANY_REQUESTS if refusal.ends_connection => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("POST, PUT"));
            }
            _ => {}
        }
        response
    }

    /// Reads the events of a request; returns `Ok` once every required channel has them.
    async fn take(
        &self,
        head: &Parts,
        body: &mut RequestBody,
        (member, put): (&Arc<Member>, &Arc<Put>),
    ) -> Result<(), Refusal> {
        if head.method != Method::POST && head.method != Method::PUT {
            return Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "send events with POST or PUT",
            ));
        }
        if put.stop.is_cancelled() {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"));
        }
        member.ask(Instant::now())?;
        let body_max = member.message_max(self.body_max as u64) as usize;
        let announced = body.announced();
        if announced.is_some_and(|bytes| bytes > body_max as u64) {
            return Err(Refusal::too_large_for(member, self.body_max));
        }
        let is_gzip = is_gzip(&head.headers)?;
        let charset = charset(&head.headers);
        // A compressed body may expand up to the limit.
        let bytes = announced.filter(|_| !is_gzip).unwrap_or(body_max as u64);
        let memory = put.memory(member, bytes).await.ok_or_else(no_memory)?;
        let (body, memory) = match body.read(body_max, self.body_timeout).await {
            // The work continues if the client disconnects, and keeps the memory until its end.
            Ok(body) if is_gzip => put.env.offload(move || (gunzip(&body, body_max), memory)).await,
            body => (body, memory),
        };
        let body = body.map_err(|refusal| refusal.of_tenant(member, self.body_max))?;
        member.charge(body.len() as u64, Instant::now());
        let query = head.uri.query().filter(|_| self.query_headers).unwrap_or_default();
        let (batch, mut memory) =
            self.decode(body, (charset, query), memory, (member, put)).await?;
        if batch.is_empty() {
            return Ok(());
        }
        // Release the memory that a body of unknown length did not need.
        memory.keep(batch.size().bytes);
        member.count(batch.len() as u64, batch.size().bytes, Instant::now());
        let statuses = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR);
        Refusal::unless_stored(put.store(batch, memory, member).await, statuses)
    }

    /// Decodes the events of a body, with the memory that they use.
    async fn decode(
        &self,
        body: Bytes,
        (charset, query): (Option<String>, &str),
        memory: Memory,
        (member, put): (&Arc<Member>, &Arc<Put>),
    ) -> Result<(Batch, Memory), Refusal> {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let pairs: Vec<(String, String)> = pairs.collect();
        let malformed =
            |error: MalformedMessage| Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
        decoders::check_names(pairs.iter().map(|(name, _)| &**name)).map_err(malformed)?;
        let (size, decoder) = (body.len(), self.decoder.clone());
        let read = move |events: &mut BatchBuilder| {
            let headers: Vec<(&str, &str)> =
                pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            let charset = charset.as_deref();
            decoder.decode(&Message { bytes: &body, charset, headers: &headers }, events)
        };
        let mut memory = Some(memory);
        match put.decode(member, (size, &mut memory), read).await {
            Ok(((), batch)) => Ok((batch, memory.expect("it was there before"))),
            Err(Undecoded::Malformed(error)) => Err(malformed(error)),
            Err(Undecoded::NoMemory) => Err(no_memory()),
            Err(error @ Undecoded::Excess(_)) => {
                Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
            }
        }
    }
}

fn no_memory() -> Refusal {
    Refusal::no_memory(StatusCode::SERVICE_UNAVAILABLE)
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(other) => {
            let text = format!(
                "the content encoding `{}` is not supported; known: gzip, identity",
                other.escape_ascii()
            );
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

/// Returns the character set of the body, in lower case.
fn charset(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let parameters = content_type.split(';').skip(1);
    parameters.filter_map(|parameter| parameter.trim().split_once('=')).find_map(|(name, value)| {
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    })
}
