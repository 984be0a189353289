//! The body of a request: read within its limits, and decompressed within them.

use std::error::Error;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::sources::tenants::{Member, Over};

/// Bytes that a body takes at most before as many have come.
const FIRST_BYTES: usize = 1 << 20;

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

/// Reads the body of a request, into one piece of memory: a part of it, which may be a single byte,
/// holds on to all that was read from the connection with it.
pub async fn read(body: Incoming, max: usize, limit: Duration) -> Result<Bytes, Refusal> {
    match timeout(limit, gathered(body, max)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::too_large(max)),
        Ok(Err(error)) => Err(Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_) => {
            let text = format!("the body did not come within {limit:?} (`body_timeout`)");
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
        }
    }
}

async fn gathered(body: Incoming, max: usize) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
    let announced = body.size_hint().exact().unwrap_or_default();
    // What is announced may never come.
    let room = max.min(FIRST_BYTES);
    let mut bytes = Vec::with_capacity(room.min(announced.try_into().unwrap_or(room)));
    let mut body = Limited::new(body, max);
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
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
