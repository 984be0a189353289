//! `deflate`: RFC 1950 (zlib), one stream a file, which Hadoop's `DefaultCodec` and `DeflateCodec`
//! read.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the codec `deflate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// From 1, fast, to 9, small.
    #[serde(default = "default_level")]
    level: u32,
}

fn default_level() -> u32 {
    6
}

impl Component for Config {
    const KIND: &'static str = "deflate";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        if !(1..=9).contains(&self.level) {
            return Err(BuildError::invalid("level", "1 to 9"));
        }
        Ok(Box::new(Deflate { level: Compression::new(self.level) }))
    }
}

struct Deflate {
    level: Compression,
}

impl Codec for Deflate {
    fn extension(&self) -> &'static str {
        "deflate"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        Some("deflate")
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some("org.apache.hadoop.io.compress.DefaultCodec")
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Deflated(ZlibEncoder::new(Vec::new(), self.level)))
    }
}

struct Deflated(ZlibEncoder<Vec<u8>>);

impl Compressor for Deflated {
    fn compress(&mut self, bytes: Bytes) -> Bytes {
        self.0.write_all(&bytes).expect("memory takes every write");
        std::mem::take(self.0.get_mut()).into()
    }

    fn finish(&mut self) -> Bytes {
        self.0.try_finish().expect("memory takes every write");
        std::mem::take(self.0.get_mut()).into()
    }
}
