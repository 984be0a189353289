//! The protocol between two agents: the schema in `proto/`, and its encoding.
//!
//! | module | contents |
//! |---|---|
//! | [`v1`] | messages of the schema; generated |
//! | [`exchange`](mod@exchange) | the stream of a connection: messages as bytes, and back |
//! | [`keys`] | identities and sets of them in messages |
//! | [`parcel`] | a batch as a `Put`, and back: digest, compression, limits |
//!
//! The crate `delivery` decides when to send each message. Nothing here opens a connection.

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

/// Maximum number of reports in one message about progress.
pub const REACHED_MAX: usize = 1_000;

/// The feature of a receiver that accepts bodies compressed with zstd.
pub const FEATURE_ZSTD: &str = "zstd";

/// Bytes that a message may be larger than the body in it.
pub const ENVELOPE_BYTES: usize = 64 << 10;
