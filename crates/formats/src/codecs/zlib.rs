//! `deflate`: RFC 1950 (zlib), one stream per file, which Hadoop's `DefaultCodec` and
//! `DeflateCodec` read; and `gzip`: RFC 1952, one or more members, which Hadoop's `GzipCodec` and
//! every tool reads.

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::encoded::{self, Encoded};

/// Hadoop's class of the codec `deflate`.
pub(super) const DEFLATE_CLASS: &str = "org.apache.hadoop.io.compress.DefaultCodec";

/// Hadoop's class of the codec `gzip`.
pub(super) const GZIP_CLASS: &str = "org.apache.hadoop.io.compress.GzipCodec";

/// Settings of the codec `deflate`.
pub type Deflate = Config<false>;

/// Settings of the codec `gzip`.
pub type Gzip = Config<true>;

/// Settings of a codec with a level.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Config")]
pub struct Config<const GZIP: bool> {
    /// Compression level, from 1 (fast) to 9 (small).
    #[serde(default = "encoded::default_level")]
    level: u32,
}

impl<const GZIP: bool> Component for Config<GZIP> {
    const KIND: &'static str = if GZIP { "gzip" } else { "deflate" };
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(Level::<GZIP>(encoded::zlib(self.level)?)))
    }
}

struct Level<const GZIP: bool>(Compression);

impl<const GZIP: bool> Codec for Level<GZIP> {
    fn extension(&self) -> &'static str {
        if GZIP { "gz" } else { "deflate" }
    }

    fn content_encoding(&self) -> Option<&'static str> {
        Some(Config::<GZIP>::KIND)
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some(if GZIP { GZIP_CLASS } else { DEFLATE_CLASS })
    }

    fn concatenates(&self) -> bool {
        GZIP
    }

    fn begin(&self) -> Box<dyn Compressor> {
        match GZIP {
            true => Box::new(Encoded(GzEncoder::new(Vec::new(), self.0))),
            false => Box::new(Encoded(ZlibEncoder::new(Vec::new(), self.0))),
        }
    }
}
