//! One request and its response.

use std::sync::Arc;

use bytes::Bytes;
use formats::decoders;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use kit::decoding::{Decoding, Undecoded};
use kit::http::body::{self, Refusal, RequestBody};
use kit::storing::{self, NotStored};
use kit::tenants::{Member, Memory, Sharing};
use pipeline::{
    Batch, BatchBuilder, Classify, Decoder, Env, ErrorClass, Intake, IntakeError, MalformedMessage,
    Message,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Limits;

/// Delay of a retry that a 503 response requests, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;

/// State that all requests of one run share.
pub(super) struct Exchange {
    pub(super) source: Arc<str>,
    pub(super) env: Env,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) stop: CancellationToken,
    pub(super) limits: Limits,
    /// Memory, and turns for memory and channels.
    pub(super) sharing: Arc<Sharing>,
    pub(super) decoder: Arc<dyn Decoder>,
    /// Batches that are being stored: they continue even if their client disconnects.
    pub(super) work: TaskTracker,
}

impl Exchange {
    /// Handles a request of a tenant.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        member: &Arc<Member>,
    ) -> Response<Full<Bytes>> {
        let (head, mut body) = RequestBody::of(request);
        let refusal = match self.take(&head, &mut body, member).await {
            Ok(()) => return Response::new(Full::default()),
            Err(refusal) => refusal,
        };
        body.drop_rest(self.limits.body_timeout).await;
        let (status, text) = (refusal.status, &refusal.text);
        debug!(source = %self.source, %status, text, "request refused");
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
        member: &Arc<Member>,
    ) -> Result<(), Refusal> {
        if head.method != Method::POST && head.method != Method::PUT {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "events come by POST or PUT"));
        }
        if self.stop.is_cancelled() {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping"));
        }
        member.ask(Instant::now())?;
        let limits = self.limits;
        let body_max = member.message_max(limits.body_max as u64) as usize;
        let announced = body.announced();
        if announced.is_some_and(|bytes| bytes > body_max as u64) {
            return Err(Refusal::too_large_for(member, limits.body_max));
        }
        let is_gzip = is_gzip(&head.headers)?;
        let charset = charset(&head.headers);
        // A compressed body may expand up to the limit.
        let bytes = announced.filter(|_| !is_gzip).unwrap_or(body_max as u64);
        let memory = self.memory(member, bytes).await?;
        let (body, memory) = match body.read(body_max, limits.body_timeout).await {
            // The work continues if the client disconnects, and keeps the memory until its end.
            Ok(body) if is_gzip => {
                self.env.offload(move || (body::gunzip(&body, body_max), memory)).await
            }
            body => (body, memory),
        };
        let body = body.map_err(|refusal| refusal.of_tenant(member, limits.body_max))?;
        member.charge(body.len() as u64, Instant::now());
        let query = head.uri.query().filter(|_| limits.query_headers).unwrap_or_default();
        let (batch, mut memory) = self.decode(body, (charset, query), (member, memory)).await?;
        if batch.is_empty() {
            return Ok(());
        }
        // Release the memory that a body of unknown length did not need.
        memory.keep(batch.size().bytes);
        member.count(batch.len() as u64, batch.size().bytes, Instant::now());
        self.store(batch, memory, member).await
    }

    /// Takes memory for `bytes` bytes; waits for it within the time limit of a request.
    async fn memory(&self, member: &Member, bytes: u64) -> Result<Memory, Refusal> {
        let memory = timeout(self.limits.wait_max, self.sharing.memory(member, bytes)).await;
        memory.map_err(|_| no_memory())
    }

    /// Decodes the events of a body, with the memory that they use.
    async fn decode(
        &self,
        body: Bytes,
        (charset, query): (Option<String>, &str),
        (member, memory): (&Arc<Member>, Memory),
    ) -> Result<(Batch, Memory), Refusal> {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        let pairs: Vec<(String, String)> = pairs.collect();
        let malformed =
            |error: MalformedMessage| Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
        decoders::check_names(pairs.iter().map(|(name, _)| &**name)).map_err(malformed)?;
        let (env, sharing, wait_max) = (&self.env, &*self.sharing, self.limits.wait_max);
        let decoding = Decoding { env, sharing, member, wait_max };
        let (size, decoder) = (body.len(), self.decoder.clone());
        let read = move |events: &mut BatchBuilder| {
            let headers: Vec<(&str, &str)> =
                pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            let charset = charset.as_deref();
            decoder.decode(&Message { bytes: &body, charset, headers: &headers }, events)
        };
        let mut memory = Some(memory);
        match decoding.decode(size, &mut memory, read).await {
            Ok(((), batch)) => Ok((batch, memory.expect("it was there before"))),
            Err(Undecoded::Malformed(error)) => Err(malformed(error)),
            Err(Undecoded::NoMemory) => Err(no_memory()),
            Err(error @ Undecoded::Excess(_)) => {
                Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
            }
        }
    }

    /// Stores a batch in its own task, which continues if the client disconnects.
    async fn store(
        &self,
        batch: Batch,
        memory: Memory,
        member: &Arc<Member>,
    ) -> Result<(), Refusal> {
        let turn = self.sharing.channel_turn(member, batch.size().bytes);
        let (intake, wait_max) = (self.intake.clone(), self.limits.wait_max);
        let (source, stop) = (self.source.clone(), self.stop.clone());
        let storing = self.work.spawn(async move {
            let _memory = memory;
            match storing::store(&*intake, batch, (wait_max, turn), &stop).await {
                Ok(()) => Ok(()),
                Err(NotStored::Stopping) => Err(unavailable("the agent is stopping")),
                Err(NotStored::Full) => Err(unavailable("a channel is full")),
                Err(NotStored::Refused(error)) => Err(refused(&source, &error)),
                Err(NotStored::Failed(error)) => {
                    warn!(%source, %error, "events of a request are not stored");
                    Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
                }
            }
        });
        storing.await.unwrap_or_else(|_| Err(unavailable("the agent is stopping")))
    }
}

fn no_memory() -> Refusal {
    unavailable("other requests hold all of the memory (`in_flight_max`)")
}

fn unavailable(text: &str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Returns the refusal for an error of the channels.
fn refused(source: &str, error: &IntakeError) -> Refusal {
    if error.class() == ErrorClass::Poison {
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string());
    }
    warn!(source, %error, "a request finds no channel that takes it");
    unavailable("a channel is not available")
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(other) => {
            let text =
                format!("content encoding `{}`; known: gzip, identity", other.escape_ascii());
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
