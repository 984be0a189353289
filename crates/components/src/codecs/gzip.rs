//! `gzip`: RFC 1952, one member a file, which Hadoop's `GzipCodec` and every tool reads.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the codec `gzip`.
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
    const KIND: &'static str = "gzip";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        if !(1..=9).contains(&self.level) {
            return Err(BuildError::invalid("level", "1 to 9"));
        }
        Ok(Box::new(Gzip { level: Compression::new(self.level) }))
    }
}

struct Gzip {
    level: Compression,
}

impl Codec for Gzip {
    fn extension(&self) -> &'static str {
        "gz"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        Some("gzip")
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some("org.apache.hadoop.io.compress.GzipCodec")
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Gzipped(GzEncoder::new(Vec::new(), self.level)))
    }
}

struct Gzipped(GzEncoder<Vec<u8>>);

impl Compressor for Gzipped {
    fn compress(&mut self, bytes: Bytes) -> Bytes {
        self.0.write_all(&bytes).expect("memory takes every write");
        std::mem::take(self.0.get_mut()).into()
    }

    fn finish(&mut self) -> Bytes {
        self.0.try_finish().expect("memory takes every write");
        std::mem::take(self.0.get_mut()).into()
    }
}
