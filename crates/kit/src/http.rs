//! Reads and decompresses the body of a request within its limits.

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

use crate::serve::{NoRoom, Stored};
use crate::tenants::{Member, Over};

/// Maximum memory for a body before more bytes have arrived.
const FIRST_BYTES: usize = 1 << 20;

/// Maximum number of bytes of a refused request that are read and dropped.
const DROPPED_BYTES_MAX: u64 = 256 << 20;

/// Time limit for the next bytes of a body that is dropped.
const DROPPED_IDLE_MAX: Duration = Duration::from_secs(2);

/// A refusal of a request, with its response.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Reason, for people.
    pub text: String,
    /// Time after which a retry makes sense, if that is known.
    pub retry_after: Option<Duration>,
    /// True if the tenant has too many connections.
    pub ends_connection: bool,
    is_too_large: bool,
}

impl Refusal {
    /// Creates a refusal with a status and a reason.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            retry_after: None,
            ends_connection: false,
            is_too_large: false,
        }
    }

    /// Returns the delay of a retry in whole seconds, rounded up.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some(after.as_secs() + u64::from(after.subsec_nanos() > 0))
    }

    /// Creates a refusal of a body with more than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        let text = format!(
            "the body is over the limit of {limit} bytes (`body_max`): send fewer events in a \
             request, or raise the limit at the source"
        );
        Self { is_too_large: true, ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, text) }
    }

    /// Creates a refusal of a body that exceeds this tenant's limit, in a source with the limit
    /// `limit`.
    pub fn too_large_for(member: &Member, limit: usize) -> Self {
        member.too_large().map_or_else(|| Self::too_large(limit), Self::from)
    }

    /// Returns the refusal of a batch that is not stored, with the statuses for no room and for an
    /// unknown result.
    ///
    /// # Errors
    /// The batch is not stored.
    pub fn unless_stored(
        stored: Stored,
        (full, unknown): (StatusCode, StatusCode),
    ) -> Result<(), Self> {
        let (status, text) = match stored {
            Stored::All => return Ok(()),
            Stored::Nothing(problem @ (NoRoom::Full | NoRoom::Memory)) => {
                (full, problem.to_string())
            }
            Stored::Nothing(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem.to_string()),
            Stored::Never(problem) => (StatusCode::PAYLOAD_TOO_LARGE, problem),
            Stored::Unknown(problem) => (unknown, problem),
        };
        Err(Self::new(status, text))
    }

    /// Creates a refusal of a request that has no memory, with this status.
    pub fn no_memory(status: StatusCode) -> Self {
        Self::new(status, NoRoom::Memory.to_string())
    }

    /// Names the tenant's limit in a refusal, if a body is too large because of that.
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
    /// True if the client waits for `100 Continue`: nothing has been read from it yet.
    awaits_continue: bool,
}

impl RequestBody {
    /// Separates a request from its body.
    pub fn of(request: Request<Incoming>) -> (Parts, Self) {
        let (head, incoming) = request.into_parts();
        let awaits_continue = head.headers.contains_key(EXPECT);
        (head, Self { incoming, awaits_continue })
    }

    /// Returns its length if the head of the request has it.
    pub fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Reads the body into one piece of memory. A slice of the connection's buffer, even of a
    /// single byte, would keep the whole buffer alive.
    ///
    /// # Errors
    /// Fails if it has more than `max` bytes, or does not arrive within `limit`.
    pub async fn read(&mut self, max: usize, limit: Duration) -> Result<Bytes, Refusal> {
        self.awaits_continue = false;
        match timeout(limit, self.gathered(max)).await {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large(max)),
            Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
            Err(_) => {
                let text = format!("the body did not arrive within {limit:?} (`body_timeout`)");
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
            }
        }
    }

    async fn gathered(&mut self, max: usize) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let announced = self.announced().unwrap_or_default();
        // The announced length may be false.
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

    /// Reads and drops the rest of the body of a refused request. Most clients write their whole
    /// request before they read: if the source closed the connection, they would report a broken
    /// pipe and never see the response.
    ///
    /// Returns at the end of the body, after [`DROPPED_BYTES_MAX`], after a pause of
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
        // The response follows in any case.
        let _ = timeout(limit, dropping).await;
    }
}

/// Decompresses a gzip body, to at most `max` bytes.
pub fn gunzip(compressed: &[u8], max: usize) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(compressed).take(max as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            format!(
                "the body is not gzip, although the request has `Content-Encoding: gzip`: {error}; \
                 correct the client"
            ),
        )
    })?;
    if bytes.len() > max {
        return Err(Refusal::too_large(max));
    }
    Ok(bytes.into())
}
