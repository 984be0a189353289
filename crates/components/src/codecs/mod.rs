//! How the bytes of a file are compressed.

pub mod gzip;
pub mod none;
pub mod zstd;

use pipeline::component::entry;
use pipeline::{Codec, Entry};

/// All of them.
pub static ALL: &[Entry<dyn Codec>] =
    &[entry::<gzip::Config>(), entry::<none::Config>(), entry::<zstd::Config>()];

#[cfg(test)]
mod tests {
    use std::io::Read;

    use bytes::Bytes;
    use pipeline::{Choice, Settings};
    use serde_json::{Value, json};

    use super::*;

    fn codec(json: &Value) -> Result<Box<dyn Codec>, String> {
        let choice = Settings::from_json(json).read::<Choice<dyn Codec>>().unwrap();
        let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
        choice.build("codec", &cx).map_err(|error| error.to_string())
    }

    fn compressed(json: &Value, pieces: &[&[u8]]) -> Vec<u8> {
        let mut compressor = codec(json).unwrap().begin();
        let mut bytes = Vec::new();
        for piece in pieces {
            bytes.extend_from_slice(&compressor.compress(Bytes::copy_from_slice(piece)));
        }
        bytes.extend_from_slice(&compressor.finish());
        bytes
    }

    /// What the tools of each format make of it.
    fn plain(kind: &str, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match kind {
            "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap(),
            "zstd" => ::zstd::Decoder::new(bytes).unwrap().read_to_end(&mut plain).unwrap(),
            _ => bytes.iter().copied().map(|byte| plain.push(byte)).count(),
        };
        plain
    }

    #[test]
    fn what_was_compressed_in_pieces_reads_back_whole_and_smaller() {
        let line = b"GET /index.html 200\n".repeat(5_000);
        for kind in ["none", "gzip", "zstd"] {
            for settings in [json!(kind), json!({ "type": kind })] {
                let pieces = [&line[..], b"", &line[7..], b"end"];
                let bytes = compressed(&settings, &pieces);
                assert_eq!(plain(kind, &bytes), pieces.concat(), "{kind}");
                assert_eq!(kind == "none", bytes.len() == pieces.concat().len());
                assert!(kind == "none" || bytes.len() < line.len() / 20, "{kind}: {}", bytes.len());
            }
            assert_eq!(plain(kind, &compressed(&json!(kind), &[])), b"", "{kind}: an empty file");
        }
    }

    #[test]
    fn levels_are_checked() {
        for (kind, level, good) in
            [("gzip", 9, true), ("gzip", 10, false), ("zstd", 19, true), ("zstd", 23, false)]
        {
            assert_eq!(codec(&json!({ "type": kind, "level": level })).is_ok(), good, "{kind}");
        }
        assert!(codec(&json!({ "type": "none", "level": 1 })).is_err());
    }
}
