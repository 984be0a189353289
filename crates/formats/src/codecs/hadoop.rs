//! What Hadoop's codecs wrote, taken apart again: a piece of a SequenceFile by the class of its
//! codec.
//!
//! ```text
//!   DefaultCodec, DeflateCodec   a stream of zlib            BZip2Codec       streams of bzip2
//!   GzipCodec                    members of gzip             ZStandardCodec   frames
//!   SnappyCodec, Lz4Codec        blocks, as `blocks` writes them
//! ```
//!
//! What comes out has a limit, and no length that a piece states takes more memory than that.

use std::io::Read;

use bytes::Buf;
use bzip2::read::MultiBzDecoder;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::{bzip2 as of_bzip2, deflate, gzip, lz4, snappy, zstd as of_zstd};

/// The name under which `deflate` is known as well.
const DEFLATE_CODEC: &str = "org.apache.hadoop.io.compress.DeflateCodec";

/// A codec of Hadoop that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hadoop {
    /// A stream of zlib.
    Deflate,
    /// Members of gzip.
    Gzip,
    /// Streams of bzip2.
    Bzip2,
    /// Blocks of Snappy.
    Snappy,
    /// Blocks of LZ4.
    Lz4,
    /// Frames of Zstandard.
    Zstd,
}

impl Hadoop {
    /// By the name of its class; `None`: it is not read here.
    pub fn of_class(class: &str) -> Option<Self> {
        Some(match class {
            deflate::CLASS | DEFLATE_CODEC => Self::Deflate,
            gzip::CLASS => Self::Gzip,
            of_bzip2::CLASS => Self::Bzip2,
            snappy::CLASS => Self::Snappy,
            lz4::CLASS => Self::Lz4,
            of_zstd::CLASS => Self::Zstd,
            _ => return None,
        })
    }

    /// Makes `plain` the content of `coded`, of at most `max` bytes.
    ///
    /// # Errors
    /// What is wrong with it, in words.
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
    format!("it cannot be decompressed: {error}")
}

fn too_large(max: usize) -> String {
    format!("it has more than {max} bytes after decompression")
}

fn limited(decoder: impl Read, plain: &mut Vec<u8>, max: usize) -> Result<(), String> {
    match decoder.take(max as u64 + 1).read_to_end(plain) {
        Ok(read) if read > max => Err(too_large(max)),
        Ok(_) => Ok(()),
        Err(error) => Err(damaged(&error)),
    }
}

/// As Hadoop's `BlockDecompressorStream` reads: the length of a block, and as many compressed
/// parts, each behind its own length, as give so many bytes. A length of zero is a block.
fn blocks(
    mut coded: &[u8],
    plain: &mut Vec<u8>,
    max: usize,
    decompress: impl Fn(&[u8], &mut [u8]) -> Result<usize, String>,
) -> Result<(), String> {
    let ends = || damaged(&"it ends within a block");
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
    fn what_each_codec_with_a_class_writes_is_read_back_within_its_limit() {
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
