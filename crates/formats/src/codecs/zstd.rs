//! `zstd`: RFC 8878, which Hadoop's `ZStandardCodec` and every tool reads.
//!
//! A sink may write a file as a sequence of separately compressed frames, which is a valid file by
//! RFC 8878 (3.1). By default some readers silently stop after the first frame (`python-zstandard`:
//! `read_across_frames`); use `one_frame` for them.

use ::zstd::stream::write::Encoder;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::encoded::Encoded;

/// Hadoop's class of this codec.
pub(super) const CLASS: &str = "org.apache.hadoop.io.compress.ZStandardCodec";

/// Settings of the codec `zstd`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Compression level, from 1 (fast) to 19 (small).
    #[serde(default = "default_level")]
    level: i32,
    /// Whether a file is a single frame, for readers that stop after the first frame. Such a file
    /// is compressed on one core, and not merged with others (`compact`).
    #[serde(default)]
    one_frame: bool,
}

fn default_level() -> i32 {
    3
}

impl Component for Config {
    const KIND: &'static str = "zstd";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        if !(1..=19).contains(&self.level) {
            return Err(BuildError::invalid("level", "1 to 19"));
        }
        Ok(Box::new(Zstd { level: self.level, one_frame: self.one_frame }))
    }
}

struct Zstd {
    level: i32,
    one_frame: bool,
}

impl Codec for Zstd {
    fn extension(&self) -> &'static str {
        "zst"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        Some("zstd")
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some(CLASS)
    }

    fn concatenates(&self) -> bool {
        !self.one_frame
    }

    fn begin(&self) -> Box<dyn Compressor> {
        let encoder = Encoder::new(Vec::new(), self.level).expect("the level was looked at");
        Box::new(Encoded(encoder))
    }
}
