//! `deflate`: RFC 1950 (zlib), one stream per file, which Hadoop's `DefaultCodec` and
//! `DeflateCodec` read.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::encoded::{self, Encoded};

/// Hadoop's class of this codec.
pub(super) const CLASS: &str = "org.apache.hadoop.io.compress.DefaultCodec";

/// Settings of the codec `deflate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compression level, from 1 (fast) to 9 (small).
    #[serde(default = "encoded::default_level")]
    level: u32,
}

impl Component for Config {
    const KIND: &'static str = "deflate";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(Deflate { level: encoded::zlib(self.level)? }))
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
        Some(CLASS)
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Encoded(ZlibEncoder::new(Vec::new(), self.level)))
    }
}
