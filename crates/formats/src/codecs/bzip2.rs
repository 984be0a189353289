//! `bzip2`: one stream per file, which Hadoop's `BZip2Codec` and every tool reads. Hadoop jobs can
//! split such a file without an index.
//!
//! Each open file buffers a block of up to 900 kB, and uses about nine times that memory.

use ::bzip2::Compression;
use ::bzip2::write::BzEncoder;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::encoded::Encoded;

/// Hadoop's class of this codec.
pub(super) const CLASS: &str = "org.apache.hadoop.io.compress.BZip2Codec";

/// Settings of the codec `bzip2`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Block size in units of 100 kB: from 1 (less memory) to 9 (smaller files).
    #[serde(default = "pipeline::units::number_u32::<9>")]
    level: u32,
}

impl Component for Config {
    const KIND: &'static str = "bzip2";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        match self.level {
            1..=9 => Ok(Box::new(Bzip2 { level: Compression::new(self.level) })),
            _ => Err(BuildError::invalid("level", "1 to 9")),
        }
    }
}

struct Bzip2 {
    level: Compression,
}

impl Codec for Bzip2 {
    fn extension(&self) -> &'static str {
        "bz2"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some(CLASS)
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Encoded(BzEncoder::new(Vec::new(), self.level)))
    }
}
