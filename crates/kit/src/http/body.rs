//! The body of a request: read within its limits, and decompressed within them.

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::EXPECT;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use tokio::time::timeout;

use crate::tenants::{Member, Over};

/// Bytes that a body takes at most before as many have come.
const FIRST_BYTES: usize = 1 << 20;

/// Bytes of the body of a refused request that are read and dropped.
const DROPPED_BYTES_MAX: u64 = 256 << 20;

/// How long the next bytes of a body may take that is dropped.
const DROPPED_IDLE_MAX: Duration = Duration::from_secs(2);

/// A request that is refused: what it is answered.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Why, for people.
    pub text: String,
    /// When it is of use to come again, where that is known.
    pub retry_after: Option<Duration>,
    /// The connection is one too many.
    pub ends_connection: bool,
    is_too_large: bool,
}

impl Refusal {
    /// Answers `status` and says why.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            retry_after: None,
            ends_connection: false,
            is_too_large: false,
        }
    }

    /// When it is of use to come again, in whole seconds: not before it is time.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some(after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }

    /// The body has more bytes than `limit`.
    pub fn too_large(limit: usize) -> Self {
        let text = format!("the body is over the limit of {limit} bytes (`body_max`)");
        Self { is_too_large: true, ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, text) }
    }

    /// The body is larger than this tenant may send, where the source takes `limit`.
    pub fn too_large_for(member: &Member, limit: usize) -> Self {
        member.too_large().map_or_else(|| Self::too_large(limit), Self::from)
    }

    /// The same; of a body that is too large, by whose limit.
    pub fn of_tenant(self, member: &Member, limit: usize) -> Self {
        if self.is_too_large { Self::too_large_for(member, limit) } else { self }
    }
}

impl From<Over> for Refusal {
    fn from(over: Over) -> Self {
        let status = match over {
            Over::Message { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Over::Connections { .. } | Over::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
        };
        Self {
            retry_after: over.retry_after(),
            ends_connection: matches!(over, Over::Connections { .. }),
            ..Self::new(status, over.to_string())
        }
    }
}

/// The body of a request.
pub struct RequestBody {
    incoming: Incoming,
    /// The client sends nothing before it is asked to: nothing was read of it yet.
    awaits_continue: bool,
}

impl RequestBody {
    /// Separates a request from its body.
    pub fn of(request: Request<Incoming>) -> (Parts, Self) {
        let (head, incoming) = request.into_parts();
        let awaits_continue = head.headers.contains_key(EXPECT);
        (head, Self { incoming, awaits_continue })
    }

    /// Its length where the head of the request has it.
    pub fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Reads it, into one piece of memory: a part of it, which may be a single byte, holds on to
    /// all that was read from the connection with it.
    ///
    /// # Errors
    /// It has more than `max` bytes, or does not come within `limit`.
    pub async fn read(&mut self, max: usize, limit: Duration) -> Result<Bytes, Refusal> {
        self.awaits_continue = false;
        match timeout(limit, self.gathered(max)).await {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large(max)),
            Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
            Err(_) => {
                let text = format!("the body did not come within {limit:?} (`body_timeout`)");
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
            }
        }
    }

    async fn gathered(&mut self, max: usize) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let announced = self.announced().unwrap_or_default();
        // What is announced may never come.
        let room = max.min(FIRST_BYTES);
        let mut bytes = Vec::with_capacity(room.min(announced.try_into().unwrap_or(room)));
        let mut body = Limited::new(&mut self.incoming, max);
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                bytes.extend_from_slice(data);
            }
        }
        Ok(bytes)
    }

    /// Reads and drops what is left of the body of a request that is refused. Most clients write
    /// their whole request before they read: if the connection were closed under them, they would
    /// report a broken pipe and never see the answer.
    ///
    /// Returns when the body has ended, after [`DROPPED_BYTES_MAX`], when nothing comes for
    /// [`DROPPED_IDLE_MAX`], and after `limit`.
    pub async fn drop_rest(&mut self, limit: Duration) {
        let is_too_long = self.announced().is_some_and(|bytes| bytes > DROPPED_BYTES_MAX);
        if self.awaits_continue || is_too_long {
            return;
        }
        let dropping = async {
            let mut dropped = 0;
            while dropped < DROPPED_BYTES_MAX
                && let Ok(Some(Ok(frame))) = timeout(DROPPED_IDLE_MAX, self.incoming.frame()).await
            {
                dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        };
        // The answer follows in any case.
        let _ = timeout(limit, dropping).await;
    }
}

/// The bytes of a gzip body, at most `max` of them.
pub fn gunzip(compressed: &[u8], max: usize) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(compressed).take(max as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not gzip: {error}"))
    })?;
    if bytes.len() > max {
        return Err(Refusal::too_large(max));
    }
    Ok(bytes.into())
}
