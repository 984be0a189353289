//! How messages become bytes: prost, with small buffers.
//!
//! A buffer grows with the messages that go through it. What it is before the first of them, every
//! connection pays in each direction: with ten thousand of them the usual 8 KiB are 160 MiB.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Bytes that a buffer has at first, and by which it grows at least.
const BUFFER_BYTES: usize = 1 << 10;
/// Bytes of messages in a row that are handed on together.
const YIELD_BYTES: usize = 32 << 10;

/// The codec of the generated client and server.
#[derive(Debug, Clone)]
pub struct SmallProstCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallProstCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

impl<T, U> Codec for SmallProstCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}
