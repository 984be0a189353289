//! The wire between two agents: the schema in `proto/`, and what its bytes mean.
//!
//! | module | what it holds |
//! |---|---|
//! | [`v1`] | messages as the schema says; generated |
//! | [`exchange`](mod@exchange) | the stream of a connection: messages as bytes, and back |
//! | [`keys`] | identities and sets of them, as the messages carry them |
//! | [`parcel`] | a batch as a `Put`, and back: digest, compression, limits |
//!
//! What is sent when is decided in the crate `delivery`. Nothing here opens a connection.

pub mod exchange;
pub mod keys;
pub mod parcel;

pub use exchange::{answer, exchange};
pub use keys::Malformed;
pub use parcel::{Packing, Rejection, pack, unpack};

/// The schema `aqueduct.v1`, generated from `proto/aqueduct/v1/delivery.proto`;
/// `tests/schemas.rs` writes it again. The service's method is in [`exchange`](mod@exchange).
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod v1 {
    include!("generated/aqueduct.v1.rs");
}

/// The feature of a receiver that takes bodies compressed by zstd.
pub const FEATURE_ZSTD: &str = "zstd";

/// Bytes that a message may be larger than the body in it.
pub const ENVELOPE_BYTES: usize = 64 << 10;
