//! Hadoop's block framing: `BlockCompressorStream`, for `snappy` and `lz4`.
//!
//! ```text
//!   size of the block before  │ size after  │ compressed block               … repeated
//!   compression, four bytes   │ four bytes  │
//! ```

use bytes::{Buf, Bytes, BytesMut};
use pipeline::Compressor;

/// Default buffer size of Hadoop's readers for a block, before and after compression
/// (`io.compression.codec.snappy.buffersize`, `….lz4.buffersize`).
pub(super) const BUFFER: usize = 256 << 10;

/// Splits a file into blocks and compresses each separately. Buffers up to one block.
pub(super) struct Blocks {
    block_max: usize,
    compress: fn(&[u8]) -> Vec<u8>,
    held: BytesMut,
}

impl Blocks {
    /// Creates blocks of at most `block_max` bytes before compression by `compress`.
    pub(super) fn new(block_max: usize, compress: fn(&[u8]) -> Vec<u8>) -> Self {
        Self { block_max, compress, held: BytesMut::new() }
    }

    fn put(&self, out: &mut Vec<u8>, block: &[u8]) {
        let compressed = (self.compress)(block);
        for length in [block.len(), compressed.len()] {
            let length = u32::try_from(length).expect("a block fits into a buffer of 256 KiB");
            out.extend_from_slice(&length.to_be_bytes());
        }
        out.extend_from_slice(&compressed);
    }
}

impl Compressor for Blocks {
    fn compress(&mut self, bytes: Bytes) -> Bytes {
        self.held.extend_from_slice(&bytes);
        let mut out = Vec::new();
        while self.held.len() >= self.block_max {
            self.put(&mut out, &self.held[..self.block_max]);
            self.held.advance(self.block_max);
        }
        out.into()
    }

    fn finish(&mut self) -> Bytes {
        let mut out = Vec::new();
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.put(&mut out, &held);
        }
        out.into()
    }
}
