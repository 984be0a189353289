//! Codecs: compression of files.

mod blocks;
pub mod bzip2;
mod encoded;
pub mod hadoop;
pub mod in_blocks;
pub mod none;
pub mod zlib;
pub mod zstd;

use bytes::Bytes;
use pipeline::component::entry;
use pipeline::{Codec, Entry};
use support::mutant;

/// All codecs.
pub static ALL: &[Entry<dyn Codec>] = &[
    entry::<bzip2::Config>(),
    entry::<zlib::Deflate>(),
    entry::<zlib::Gzip>(),
    entry::<in_blocks::Lz4>(),
    entry::<none::Config>(),
    entry::<in_blocks::Snappy>(),
    entry::<zstd::Config>(),
];

/// Compresses these bytes to a complete file.
pub fn compressed(codec: &dyn Codec, bytes: impl Into<Bytes>) -> Vec<u8> {
    let mut compressor = codec.begin();
    let mut compressed = Vec::from(compressor.compress(bytes.into()));
    if !mutant!("frame_not_finished") {
        compressed.extend_from_slice(&compressor.finish());
    }
    compressed
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use bytes::Buf;
    use pipeline::{Choice, Settings};
    use serde_json::{Value, json};

    use super::*;

    fn codec(json: &Value) -> Result<Box<dyn Codec>, String> {
        let choice = Settings::from_json(json).read::<Choice<dyn Codec>>().unwrap();
        let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
        choice.build("codec", &cx).map_err(|error| error.to_string())
    }

    fn file(json: &Value, pieces: &[&[u8]]) -> Vec<u8> {
        let mut compressor = codec(json).unwrap().begin();
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend_from_slice(&compressor.compress(Bytes::copy_from_slice(piece)));
        }
        bytes.extend_from_slice(&compressor.finish());
        bytes
    }

    /// Decompresses bytes with the usual tool of the format.
    fn plain(kind: &str, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match kind {
            "bzip2" => ::bzip2::read::BzDecoder::new(bytes).read_to_end(&mut plain).unwrap(),
            "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap(),
            "zstd" => ::zstd::Decoder::new(bytes).unwrap().read_to_end(&mut plain).unwrap(),
            "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain).unwrap(),
            "snappy" => blocks(bytes, &mut plain, |block, _| {
                snap::raw::Decoder::new().decompress_vec(block).unwrap()
            }),
            "lz4" => blocks(bytes, &mut plain, |block, length| {
                lz4_flex::block::decompress(block, length).unwrap()
            }),
            _ => bytes.iter().copied().map(|byte| plain.push(byte)).count(),
        };
        plain
    }

    /// Reads like `BlockDecompressorStream`: both sizes of a block are limited by its buffers.
    fn blocks(
        mut bytes: &[u8],
        plain: &mut Vec<u8>,
        decompressed: impl Fn(&[u8], usize) -> Vec<u8>,
    ) -> usize {
        while !bytes.is_empty() {
            let length = bytes.get_u32() as usize;
            let compressed = bytes.get_u32() as usize;
            assert!(length.max(compressed) <= 256 << 10 && length > 0);
            let (block, rest) = bytes.split_at(compressed);
            let block = decompressed(block, length);
            assert_eq!(block.len(), length);
            plain.extend_from_slice(&block);
            bytes = rest;
        }
        plain.len()
    }

    #[test]
    fn data_compressed_in_pieces_reads_back_and_is_smaller() {
        let line = b"GET /index.html 200\n".repeat(5_000);
        for kind in ["none", "bzip2", "deflate", "gzip", "lz4", "snappy", "zstd"] {
            for settings in [json!(kind), json!({ "type": kind })] {
                let pieces = [&line[..], b"", &line[7..], b"end"];
                let bytes = file(&settings, &pieces);
                assert_eq!(plain(kind, &bytes), pieces.concat(), "{kind}");
                assert_eq!(kind == "none", bytes.len() == pieces.concat().len());
                assert!(kind == "none" || bytes.len() < line.len() / 10, "{kind}: {}", bytes.len());
            }
            assert_eq!(plain(kind, &file(&json!(kind), &[])), b"", "{kind}: an empty file");
        }
    }

    #[test]
    fn bytes_that_do_not_get_smaller_still_fit_into_a_readers_buffer() {
        let mut state = 1_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = (0..600 << 10).map(|_| byte()).collect();
        for kind in ["lz4", "snappy"] {
            let bytes = file(&json!(kind), &[&noise]);
            assert!(bytes.len() > noise.len(), "{kind}: nothing to look at");
            assert_eq!(plain(kind, &bytes), noise, "{kind}");
        }
    }

    #[test]
    fn levels_are_checked() {
        for (kind, level, good) in [
            ("bzip2", 9, true),
            ("bzip2", 0, false),
            ("gzip", 9, true),
            ("gzip", 10, false),
            ("deflate", 10, false),
            ("zstd", 19, true),
            ("zstd", 23, false),
        ] {
            assert_eq!(codec(&json!({ "type": kind, "level": level })).is_ok(), good, "{kind}");
        }
        assert!(codec(&json!({ "type": "none", "level": 1 })).is_err());
    }
}
