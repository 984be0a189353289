//! The protocol between two agents: the schema in `proto/`, and its encoding.
//!
//! | module | contents |
//! |---|---|
//! | [`v1`] | messages of the schema; generated |
//! | [`exchange`](mod@exchange) | the stream of a connection: messages as bytes, and back |
//! | [`keys`] | identities and sets of them in messages |
//! | [`parcel`] | a batch as a `Put`, and back: digest, compression, limits |
//! | [`fleet_v1`], [`opamp`] | messages between an agent and its fleet server; generated |
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

/// The schema `aqueduct.fleet.v1`, generated from `proto/aqueduct/v1/fleet.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod fleet_v1 {
    include!("generated/aqueduct.fleet.v1.rs");
}

/// The part of OpAMP that is used, generated from `proto/opamp/v1/opamp.proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod opamp {
    include!("generated/opamp.proto.v1.rs");

    /// The custom capability of agents that report [`Counts`](super::fleet_v1::Counts).
    pub const CAPABILITY: &str = "io.aqueduct.fleet.v1";

    /// The type of the message with them.
    pub const COUNTS: &str = "counts";

    /// The media type of messages over HTTP.
    pub const MEDIA_TYPE: &str = "application/x-protobuf";

    /// Returns a message as it is sent over a WebSocket: after a header, which is the number 0.
    pub fn framed(message: &impl prost::Message) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + message.encoded_len());
        bytes.push(0);
        message.encode_raw(&mut bytes);
        bytes
    }

    /// Returns a message of a WebSocket without its header, which old clients do not send: no
    /// message of protobuf begins with 0.
    pub fn unframed(bytes: &[u8]) -> &[u8] {
        bytes.strip_prefix(&[0]).unwrap_or(bytes)
    }
}

/// Maximum number of reports in one message about progress.
pub const REACHED_MAX: usize = 1_000;

/// The feature of a receiver that accepts bodies compressed with zstd.
pub const FEATURE_ZSTD: &str = "zstd";

/// Bytes that a message may be larger than the body in it.
pub const ENVELOPE_BYTES: usize = 64 << 10;
