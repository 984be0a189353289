//! Flume's Avro RPC without I/O, for the source and the sink `avro`.
//!
//! ```text
//!   bytes ─► coding ─► frame ─► call ─► events
//!            (zlib)    serial   handshake, append, appendBatch
//! ```
//!
//! The protocol is `flume.avdl` of Flume 1.11 in the framing of Avro's Netty transport. Integers of
//! the framing are big endian; everything else is Avro's binary encoding.

pub mod around;
pub mod bodies;
pub mod call;
pub mod caller;
pub mod coding;
pub mod container;
pub mod datum;
pub mod events;
pub mod frame;
pub mod schema;

/// The protocol in Flume 1.11's exact text: [`HASH`] is its MD5.
pub const PROTOCOL: &str = include_str!("protocol.json");

/// MD5 of [`PROTOCOL`], which identifies it to clients and servers of Flume.
pub const HASH: [u8; 16] = [
    0x86, 0xaa, 0xda, 0xe2, 0xc4, 0x54, 0x74, 0xc0, 0xfe, 0x93, 0xff, 0xd0, 0xf2, 0x35, 0x0a, 0x65,
];

/// The end of messages about the name of a type, a field or a symbol.
const ODD_NAME: &str =
    "is not a valid name: a name has letters, digits and `_`, and does not begin with a digit";

/// Violation of the protocol in a peer's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end within a value.
    #[error("the Avro data is damaged, or has another schema: it ends within a value")]
    Short,
    /// A number has more bits than its type.
    #[error(
        "the Avro data is damaged, or has another schema: a number has more bits than its type"
    )]
    Number,
    /// A length or a count is negative, or larger than the rest.
    #[error(
        "the Avro data is damaged, or has another schema: a length is negative or larger than the \
         data"
    )]
    Length,
    /// Text is not UTF-8.
    #[error("the Avro data is damaged, or has another schema: a string is not UTF-8")]
    Text,
    /// A union, an enum or a boolean has an unknown value.
    #[error(
        "the Avro data is damaged, or has another schema: a union, an enum or a boolean has an \
         impossible value"
    )]
    Branch,
    /// Values are nested deeper than a reader may follow.
    #[error(
        "the Avro data has values nested more than 64 deep, which is not supported; flatten them \
         at the sender"
    )]
    Depth,
    /// Bytes follow the last value.
    #[error("the Avro data is damaged, or has another schema: bytes follow its last value")]
    Rest,
    /// The message name is unknown.
    #[error(
        "the client calls an unknown Avro RPC message; this source has `append` and `appendBatch` \
         of Flume; use a client for Flume's Avro source"
    )]
    Message,
    /// The client's protocol encodes events in another way.
    #[error(
        "the Avro protocol of the client is not the one of Flume's Avro source; use a client for \
         that source"
    )]
    Protocol,
    /// A header that no batch can have.
    #[error(
        "the name of an event header must have 1 to 65535 bytes, and an appendBatch at most 1000 \
         header names; correct the client"
    )]
    Header,
}

/// Reads any client input, for fuzzing: it must not panic, nor use more memory than the bytes
/// justify. The first byte selects compression. Returns the number of events.
pub fn read_all(input: &[u8]) -> usize {
    /// Maximum size of a request.
    const MAX: usize = 1 << 20;
    let Some((first, rest)) = input.split_first() else { return 0 };
    let mut coded = bytes::BytesMut::from(rest);
    let mut coding = coding::Coding::of_server(first & 1 == 1);
    let (mut plain, mut deframer) = (bytes::BytesMut::new(), frame::Deframer::new(MAX));
    let (mut session, mut events) = (call::Session::default(), 0);
    loop {
        let Ok(is_moved) = coding.decode(&mut coded, &mut plain, 16 << 10) else { return events };
        while let Ok(Some(frame)) = deframer.next(&mut plain) {
            match session.read(&frame.payload) {
                call::Step::Append { events: bytes, .. } => {
                    let mut builder = pipeline::BatchBuilder::default();
                    if events::read(bytes, &mut builder).is_ok() {
                        events += builder.finish().len();
                    }
                }
                call::Step::Answer(_) => {}
                call::Step::Refuse { .. } => return events,
            }
        }
        if !is_moved || deframer.is_broken() {
            return events;
        }
    }
}
