//! Converts a batch to a `Put`, and back.
//!
//! Every size that the peer claims is checked against a limit before memory is allocated, and
//! decompression never produces more bytes than claimed.

use bytes::Bytes;
use pipeline::batch::encoding::digest_of;
use pipeline::{Batch, DecodeError, Identity};
use support::compression;
use thiserror::Error;

use crate::keys::{self, Malformed};
use crate::v1::{Compression, Put, Reason};

/// The compression of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Uncompressed; costs no copy.
    Plain,
    /// By zstd at this level.
    Zstd(i32),
}

/// Why a put is not taken.
#[derive(Debug, Error)]
pub enum Rejection {
    /// It violates the schema's rules.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Larger than is taken here.
    #[error(
        "batch {identity} has {size_bytes} bytes, over the limit of {limit_bytes} bytes of the \
         receiver: raise its `message_max`"
    )]
    TooLarge {
        /// The batch.
        identity: Identity,
        /// Its size in bytes, as far as it is known.
        size_bytes: u64,
        /// Bytes that are taken.
        limit_bytes: u64,
    },
    /// The compression of the body is unknown, or its size differs from the put.
    #[error(
        "cannot decompress batch {identity}: {problem}; the sender retries; if this repeats, use \
         the same version of both agents"
    )]
    Compression {
        /// The batch.
        identity: Identity,
        /// The problem.
        problem: String,
    },
    /// The body does not match its digest.
    #[error(
        "batch {identity} was damaged in transit; the sender retries; if this repeats, check the \
         memory and network hardware of both hosts"
    )]
    Damaged {
        /// The batch.
        identity: Identity,
    },
    /// The body arrived as it was sent, and is not a batch.
    #[error(
        "cannot decode batch {identity}, which arrived as it was sent: its sender encoded it \
         wrongly or in a newer format; update the older of both agents"
    )]
    NotABatch {
        /// The batch.
        identity: Identity,
        /// The problem.
        #[source]
        source: DecodeError,
    },
}

impl Rejection {
    /// Returns the batch and the reason for its sender; `None` if the put does not even have an
    /// identity.
    pub fn answer(&self) -> Option<(Identity, Reason)> {
        match self {
            Self::Malformed(_) => None,
            Self::TooLarge { identity, .. } => Some((*identity, Reason::TooLarge)),
            Self::Compression { identity, .. } => Some((*identity, Reason::Compression)),
            Self::Damaged { identity } => Some((*identity, Reason::Damaged)),
            Self::NotABatch { identity, .. } => Some((*identity, Reason::Malformed)),
        }
    }
}

/// Creates the put of `batch` with `identity`. Computes a digest and, if configured, compresses:
/// milliseconds for a large batch.
pub fn pack(identity: Identity, batch: &Batch, packing: Packing) -> Put {
    let encoded = batch.encode();
    let digest = digest_of(&encoded);
    let uncompressed_bytes = encoded.len() as u64;
    let (compression, body) = match packing {
        Packing::Plain => (Compression::None, encoded),
        Packing::Zstd(level) => match compression::zstd(&encoded, level) {
            Ok(smaller) if smaller.len() < encoded.len() => (Compression::Zstd, smaller.into()),
            // If it does not shrink, or zstd has no memory for it, send it uncompressed.
            Ok(_) | Err(_) => (Compression::None, encoded),
        },
    };
    Put {
        identity: Some(identity.into()),
        digest,
        compression: compression.into(),
        uncompressed_bytes,
        body,
    }
}

/// Returns the number of bytes that [`unpack`] will allocate for `put`, if its sizes are within
/// `body_max`.
///
/// # Errors
/// The put has no identity, or is too large.
pub fn check(put: &Put, body_max: u64) -> Result<(Identity, u64), Rejection> {
    let identity = keys::identity(put.identity.as_ref())?;
    let body_bytes = put.body.len() as u64;
    let size_bytes = body_bytes.max(put.uncompressed_bytes);
    if size_bytes > body_max {
        return Err(Rejection::TooLarge { identity, size_bytes, limit_bytes: body_max });
    }
    let plain = put.compression == i32::from(Compression::None);
    Ok((identity, if plain { body_bytes } else { body_bytes + put.uncompressed_bytes }))
}

/// Returns the batch in a put, with its identity. An uncompressed body is not copied.
///
/// # Errors
/// For any bytes: only a complete, valid batch within `body_max` bytes is returned.
pub fn unpack(put: Put, body_max: u64) -> Result<Batch, Rejection> {
    let (identity, _) = check(&put, body_max)?;
    let broken = |problem: String| Rejection::Compression { identity, problem };
    let encoded = match Compression::try_from(put.compression) {
        Ok(Compression::None) => put.body,
        Ok(Compression::Zstd) => {
            let capacity = usize::try_from(put.uncompressed_bytes)
                .map_err(|_| broken("its size is too large for this machine".to_owned()))?;
            let plain = compression::unzstd(&put.body, capacity)
                .map_err(|error| broken(error.to_string()))?;
            Bytes::from(plain)
        }
        Err(unknown) => return Err(broken(unknown.to_string())),
    };
    if encoded.len() as u64 != put.uncompressed_bytes || digest_of(&encoded) != put.digest {
        return Err(Rejection::Damaged { identity });
    }
    let mut batch =
        Batch::decode(encoded).map_err(|source| Rejection::NotABatch { identity, source })?;
    batch.envelope.identity = Some(identity);
    Ok(batch)
}

#[cfg(test)]
mod tests;
