//! `Delivery.Exchange`, the one method of the schema: converts messages to gRPC frames, and back.
//!
//! ```text
//!   │ 0 │ u32 length │ FromSender { put { identity … │ 15, length │ body                      │
//!   └─────────── some 60 bytes, made by the sender ───────────────┘└─ the batch as first encoded ┘
//!                    └────────────── one buffer of the receiver's pool ────────────────────────┘
//! ```
//!
//! The code that tonic generates copies each message of a sender into a new buffer, and collects it
//! at the receiver in another: a mebibyte of fresh memory each time, which the system has to map
//! page by page. A batch is encoded once, where it is created, and stays one slice. This module
//! passes that slice to the transport unchanged, and collects it at the receiver in reused memory.
//! This works because the schema requires the body to be the last field of a `Put`.
//!
//! Layout of a frame: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

mod features;
mod gathering;
mod receiver;
mod sender;

use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

pub use gathering::Gathering;
pub use receiver::{RequestStream, answer};
pub use sender::exchange;

use crate::v1::FromReceiver;

/// The path of the method.
const PATH: &str = "/aqueduct.v1.Delivery/Exchange";

/// Bytes before each message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The codec of answers. Its buffer grows with its messages. Every connection pays for its initial
/// size: with ten thousand connections the usual 8 KiB are 80 MiB.
type Answers = ProstCodec<FromReceiver, FromReceiver>;

fn buffers() -> tonic::codec::BufferSettings {
    /// Bytes that a buffer has at first, and by which it grows at least.
    const BUFFER_BYTES: usize = 1 << 10;
    /// Bytes of messages in a row that are handed on together.
    const YIELD_BYTES: usize = 32 << 10;
    tonic::codec::BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

fn encoder() -> ProstEncoder<FromReceiver> {
    Answers::raw_encoder(buffers())
}

fn decoder() -> ProstDecoder<FromReceiver> {
    Answers::raw_decoder(buffers())
}

#[cfg(test)]
mod testkit {
    //! Messages, framed by the code that is generated from the schema.

    use pipeline::{Batch, Epoch, Identity, Origin, Sequence};
    use prost::Message;

    use crate::v1::{FromSender, from_sender};
    use crate::{Packing, pack};

    /// A put of about that many bytes.
    pub(super) fn put(bytes: usize) -> FromSender {
        let identity =
            Identity { origin: Origin([7; 16]), epoch: Epoch(300), sequence: Sequence(1) };
        let put = pack(identity, &Batch::of([vec![b'x'; bytes]]), Packing::Plain);
        FromSender { message: Some(from_sender::Message::Put(put)) }
    }

    /// Concatenates the frames.
    pub(super) fn framed(messages: &[FromSender]) -> Vec<u8> {
        let mut sent = Vec::new();
        for message in messages {
            sent.push(0);
            sent.extend((message.encoded_len() as u32).to_be_bytes());
            message.encode(&mut sent).unwrap();
        }
        sent
    }
}
