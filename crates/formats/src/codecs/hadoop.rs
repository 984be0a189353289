//! Decompresses the output of Hadoop's codecs: a piece of a SequenceFile, by the class of its
//! codec.
//!
//! ```text
//!   DefaultCodec, DeflateCodec   a zlib stream               BZip2Codec       bzip2 streams
//!   GzipCodec                    gzip members                ZStandardCodec   frames
//!   SnappyCodec, Lz4Codec        blocks, as `blocks` writes them
//! ```
//!
//! The output has a limit, and no length in the input allocates more memory than that.

use std::io::Read;

use bytes::Buf;
use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::in_blocks::{LZ4_CLASS, SNAPPY_CLASS};
use super::zlib::{DEFLATE_CLASS, GZIP_CLASS};
use super::{bzip2 as of_bzip2, zstd as of_zstd};

/// Alias of `deflate`.
const DEFLATE_CODEC: &str = "org.apache.hadoop.io.compress.DeflateCodec";

/// A supported Hadoop codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hadoop {
    /// A zlib stream.
    Deflate,
    /// gzip members.
    Gzip,
    /// bzip2 streams.
    Bzip2,
    /// Snappy blocks.
    Snappy,
    /// LZ4 blocks.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Hadoop {
    /// Returns the codec of this class; `None` if it is not supported.
    pub fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            DEFLATE_CLASS | DEFLATE_CODEC => Self::Deflate,
            GZIP_CLASS => Self::Gzip,
            of_bzip2::CLASS => Self::Bzip2,
            SNAPPY_CLASS => Self::Snappy,
            LZ4_CLASS => Self::Lz4,
            of_zstd::CLASS => Self::Zstd,
            _ => return None,
        })
    }

    /// Decompresses `coded` into `plain`, to at most `max` bytes.
    ///
    /// # Errors
    /// Returns a description of the problem.
    pub fn decompress(self, coded: &[u8], plain: &mut Vec<u8>, max: usize) -> Result<(), String> {
        plain.clear();
        match self {
            Self::Deflate => limited(ZlibDecoder::new(coded), plain, max),
            Self::Gzip => limited(MultiGzDecoder::new(coded), plain, max),
            Self::Bzip2 => limited(MultiBzDecoder::new(coded), plain, max),
            Self::Zstd => {
                let decoder = zstd::Decoder::with_buffer(coded);
                limited(decoder.map_err(|error| damaged(&error))?, plain, max)
            }
            Self::Snappy => blocks(coded, plain, max, |block, plain| {
                snap::raw::Decoder::new().decompress(block, plain).map_err(|error| damaged(&error))
            }),
            Self::Lz4 => blocks(coded, plain, max, |block, plain| {
                lz4_flex::block::decompress_into(block, plain).map_err(|error| damaged(&error))
            }),
        }
    }
}

fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("decompression failed: {error}")
}

fn too_large(max: usize) -> String {
    format!("the data has more than {max} bytes after decompression; divide the file")
}

fn limited(decoder: impl Read, plain: &mut Vec<u8>, max: usize) -> Result<(), String> {
    match decoder.take(max as u64 + 1).read_to_end(plain) {
        Ok(read) if read > max => Err(too_large(max)),
        Ok(_) => Ok(()),
        Err(error) => Err(damaged(&error)),
    }
}

/// Reads blocks like Hadoop's `BlockDecompressorStream`: the length of a block, then compressed
/// parts, each after its own length, until they give that many bytes. A block of length zero is
/// valid.
fn blocks(
    mut coded: &[u8],
    plain: &mut Vec<u8>,
    max: usize,
    decompress: impl Fn(&[u8], &mut [u8]) -> Result<usize, String>,
) -> Result<(), String> {
    let ends = || damaged(&"the data ends within a block");
    while !coded.is_empty() {
        let length = coded.try_get_u32().map_err(|_| ends())? as usize;
        let end = plain.len().checked_add(length).filter(|end| *end <= max);
        let end = end.ok_or_else(|| too_large(max))?;
        while plain.len() < end {
            let part = coded.try_get_u32().map_err(|_| ends())? as usize;
            let (part, rest) = coded.split_at_checked(part).ok_or_else(ends)?;
            coded = rest;
            let begin = plain.len();
            plain.resize(end, 0);
            let read = decompress(part, &mut plain[begin..])?;
            if read == 0 {
                return Err(damaged(&"a part of a block is empty"));
            }
            plain.truncate(begin + read);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pipeline::{Choice, Codec, Settings};
    use serde_json::json;

    use super::super::compressed;
    use super::*;

    fn codec(kind: &str) -> Box<dyn Codec> {
        let choice = Settings::from_json(&json!(kind)).read::<Choice<dyn Codec>>().unwrap();
        let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
        choice.build("codec", &cx).unwrap()
    }

    const KINDS: [&str; 6] = ["bzip2", "deflate", "gzip", "lz4", "snappy", "zstd"];

    #[test]
    fn each_hadoop_codec_reads_back_within_its_limit() {
        let text = b"GET /index.html 200\n".repeat(30_000);
        for kind in KINDS {
            let codec = codec(kind);
            let hadoop = Hadoop::of_class(codec.hadoop_class().unwrap()).unwrap();
            let mut plain = vec![7];
            for content in [&text[..], b"", b"x"] {
                let coded = compressed(&*codec, content.to_vec());
                hadoop.decompress(&coded, &mut plain, text.len()).unwrap();
                assert!(plain == content, "{kind}: {} bytes", content.len());
            }
            let coded = compressed(&*codec, text.clone());
            let problem = hadoop.decompress(&coded, &mut plain, text.len() - 1).unwrap_err();
            assert!(problem.contains("more than"), "{kind}: {problem}");
        }
        assert_eq!(Hadoop::of_class("org.example.Codec"), None);
    }

    #[test]
    fn a_piece_that_is_cut_off_is_an_error_and_no_shorter_content() {
        let text = b"0123456789abcdef".repeat(200);
        for kind in KINDS {
            let codec = codec(kind);
            let hadoop = Hadoop::of_class(codec.hadoop_class().unwrap()).unwrap();
            let coded = compressed(&*codec, text.clone());
            let mut plain = Vec::new();
            for end in 1..coded.len() {
                let result = hadoop.decompress(&coded[..end], &mut plain, 1 << 20);
                assert!(result.is_err(), "{kind}: {end} of {} bytes", coded.len());
            }
        }
    }
}
