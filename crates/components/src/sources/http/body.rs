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

/// A request that is refused: what it is answered.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Why, for people.
    pub text: String,
}

impl Refusal {
    /// Answers `status` and says why.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// The body has more bytes than `limit`.
    pub fn too_large(limit: usize) -> Self {
        let text = format!("the body is over the limit of {limit} bytes (`body_max`)");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
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
    let mut bytes = Vec::with_capacity(max.min(announced.try_into().unwrap_or(max)));
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
