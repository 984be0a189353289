//! `gzip`: RFC 1952, one or more members, which Hadoop's `GzipCodec` and every tool reads.

use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::encoded::{self, Encoded};

/// Hadoop's class of this codec.
pub(super) const CLASS: &str = "org.apache.hadoop.io.compress.GzipCodec";

/// Settings of the codec `gzip`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compression level, from 1 (fast) to 9 (small).
    #[serde(default = "encoded::default_level")]
    level: u32,
}

impl Component for Config {
    const KIND: &'static str = "gzip";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(Gzip { level: encoded::zlib(self.level)? }))
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
        Some(CLASS)
    }

    fn concatenates(&self) -> bool {
        true
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Encoded(GzEncoder::new(Vec::new(), self.level)))
    }
}
