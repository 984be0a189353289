//! Avro RPC as Flume speaks it, without I/O: what the source and the sink `avro` share.
//!
//! ```text
//!   bytes ─► coding ─► frame ─► call ─► events
//!            (zlib)    serial   handshake, append, appendBatch
//! ```
//!
//! The protocol is `flume.avdl` of Flume 1.11, the framing that of Avro's Netty transport. Integers
//! of the framing are big endian; all else is Avro's binary encoding.

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

/// The protocol as Flume 1.11 sends it. Its MD5 is [`HASH`], so not a byte of it may change.
pub const PROTOCOL: &str = include_str!("protocol.json");

/// The MD5 of [`PROTOCOL`], by which clients and servers of Flume know it.
pub const HASH: [u8; 16] = [
    0x86, 0xaa, 0xda, 0xe2, 0xc4, 0x54, 0x74, 0xc0, 0xfe, 0x93, 0xff, 0xd0, 0xf2, 0x35, 0x0a, 0x65,
];

/// What the bytes of a peer break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end within a value.
    #[error("the message ends within a value")]
    Short,
    /// A number has more bits than its type.
    #[error("a number has more bits than its type")]
    Number,
    /// A length or a count is negative, or larger than what follows.
    #[error("a length is negative or larger than the message")]
    Length,
    /// Text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A union, an enum or a boolean has an unknown value.
    #[error("an unknown branch of a union or an enum")]
    Branch,
    /// Values are nested deeper than a reader may follow.
    #[error("values are nested more than 64 deep")]
    Depth,
    /// There is more behind the last value.
    #[error("bytes follow the last value")]
    Rest,
    /// The protocol has no message of this name.
    #[error("no such message: the protocol has `append` and `appendBatch`")]
    Message,
    /// The protocol of the client encodes events in another way.
    #[error("the protocol of the client is not that of Flume's Avro source")]
    Protocol,
    /// A header that no batch can have.
    #[error("the name of a header has 1 to 65535 bytes, and an appendBatch at most 1000 names")]
    Header,
}

/// Reads all that a client may send, for fuzzing: no panic, and no memory beyond what the bytes
/// say. The first byte says whether they are compressed. Returns how many events they hold.
pub fn read_all(input: &[u8]) -> usize {
    /// Of one request.
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
