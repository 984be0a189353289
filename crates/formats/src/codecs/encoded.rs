//! Compression by an encoder that writes into memory, shared by `bzip2`, `deflate`, `gzip` and
//! `zstd`; and zlib's levels.

use std::io::{self, Write};

use bytes::Bytes;
use bzip2::write::BzEncoder;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use pipeline::{BuildError, Compressor};

/// Returns zlib's default level.
pub(super) fn default_level() -> u32 {
    6
}

/// Validates a zlib level.
pub(super) fn zlib(level: u32) -> Result<Compression, BuildError> {
    match level {
        1..=9 => Ok(Compression::new(level)),
        _ => Err(BuildError::invalid("level", "1 to 9")),
    }
}

/// An encoder over memory.
pub(super) trait Encode: Write + Send {
    /// Returns its output.
    fn written(&mut self) -> &mut Vec<u8>;

    /// Writes the end of the stream.
    fn end(&mut self) -> io::Result<()>;
}

impl Encode for GzEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(&mut self) -> io::Result<()> {
        self.try_finish()
    }
}

impl Encode for ZlibEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(&mut self) -> io::Result<()> {
        self.try_finish()
    }
}

impl Encode for BzEncoder<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(&mut self) -> io::Result<()> {
        self.try_finish()
    }
}

impl Encode for zstd::stream::write::Encoder<'static, Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(&mut self) -> io::Result<()> {
        self.do_finish()
    }
}

/// Passes on compressed bytes immediately.
pub(super) struct Encoded<E>(pub(super) E);

impl<E: Encode> Compressor for Encoded<E> {
    fn compress(&mut self, bytes: Bytes) -> Bytes {
        self.0.write_all(&bytes).expect("memory takes every write");
        std::mem::take(self.0.written()).into()
    }

    fn finish(&mut self) -> Bytes {
        self.0.end().expect("memory takes every write");
        std::mem::take(self.0.written()).into()
    }
}
