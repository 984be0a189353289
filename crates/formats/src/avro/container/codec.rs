//! Compression of the blocks of a container file.

use std::io::{self, Read};
use std::mem;

use bzip2::read::MultiBzDecoder;
use flate2::read::DeflateDecoder;

/// Bytes after a block in Snappy: the big-endian CRC-32 of the content.
const CHECKSUM_BYTES: usize = 4;

/// Compression of the blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// No compression.
    Null,
    /// Deflate without a header.
    Deflate,
    /// A Snappy block and a checksum.
    Snappy,
    /// Zstandard frames.
    Zstandard,
    /// bzip2.
    Bzip2,
}

impl Codec {
    /// Returns the codec of this name in a file.
    ///
    /// # Errors
    /// Fails if the codec is not supported.
    pub(super) fn named(name: &[u8]) -> Result<Self, String> {
        Ok(match name {
            b"null" => Self::Null,
            b"deflate" => Self::Deflate,
            b"snappy" => Self::Snappy,
            b"zstandard" => Self::Zstandard,
            b"bzip2" => Self::Bzip2,
            other => {
                let name: String = String::from_utf8_lossy(other).chars().take(40).collect();
                return Err(format!(
                    "the codec `{name}` of the file is not supported; known: `null`, `deflate`, \
                     `snappy`, `zstandard`, `bzip2`"
                ));
            }
        })
    }

    /// Decompresses `coded` into `plain`, to at most `max` bytes. The content of `coded` is
    /// unspecified afterwards.
    ///
    /// # Errors
    /// Returns a description of the problem.
    pub(super) fn decode(
        self,
        coded: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), String> {
        plain.clear();
        let bytes = &coded[..];
        match self {
            Self::Null => {
                mem::swap(coded, plain);
                Ok(())
            }
            // Bytes after the end of the stream are ignored: Avro's library for Python left three
            // bytes of a checksum there.
            Self::Deflate => limited(DeflateDecoder::new(bytes), plain, max),
            Self::Bzip2 => limited(MultiBzDecoder::new(bytes), plain, max),
            Self::Zstandard => {
                let decoder = zstd::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                    decoder.window_log_max(window_log(max))?;
                    Ok(decoder)
                });
                let decoder = decoder.map_err(|error| format!("zstandard: {error}"))?;
                limited(decoder, plain, max)
            }
            Self::Snappy => snappy(bytes, plain, max),
        }
    }
}

fn too_large(max: usize) -> String {
    format!("the block has more than {max} bytes after decompression (`block_max`); raise it")
}

fn limited(decoder: impl Read, plain: &mut Vec<u8>, max: usize) -> Result<(), String> {
    let read: io::Result<usize> = decoder.take(max as u64 + 1).read_to_end(plain);
    match read {
        Ok(read) if read > max => Err(too_large(max)),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("decompression failed: {error}")),
    }
}

/// Returns the base-2 logarithm of the largest accepted Zstandard window: its memory has the limit
/// of the block. 8 MiB, which the format requires of every reader, are always accepted.
fn window_log(max: usize) -> u32 {
    max.next_power_of_two().ilog2().clamp(23, 27)
}

fn snappy(bytes: &[u8], plain: &mut Vec<u8>, max: usize) -> Result<(), String> {
    let split = bytes.len().checked_sub(CHECKSUM_BYTES);
    let (packed, checksum) =
        bytes.split_at(split.ok_or_else(|| "the Snappy checksum is missing".to_owned())?);
    let failed = |error: snap::Error| format!("decompression failed: {error}");
    let length = snap::raw::decompress_len(packed).map_err(failed)?;
    if length > max {
        return Err(too_large(max));
    }
    plain.resize(length, 0);
    snap::raw::Decoder::new().decompress(packed, plain).map_err(failed)?;
    match crc32fast::hash(plain).to_be_bytes() == *checksum {
        true => Ok(()),
        false => Err("the checksum does not match the content".to_owned()),
    }
}
