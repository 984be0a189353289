//! `lz4`: LZ4 blocks in the framing of Hadoop's `Lz4Codec`, which differs from the frame format of
//! the tool `lz4`.

use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::blocks::{BUFFER, Blocks};

/// Hadoop's class of this codec.
pub(super) const CLASS: &str = "org.apache.hadoop.io.compress.Lz4Codec";

/// Settings of the codec `lz4`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "lz4";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(Lz4))
    }
}

struct Lz4;

/// Keeps an incompressible block within the reader's buffer.
const BLOCK_MAX: usize = BUFFER - (BUFFER / 255 + 16);

impl Codec for Lz4 {
    fn extension(&self) -> &'static str {
        "lz4"
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some(CLASS)
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Blocks::new(BLOCK_MAX, block))
    }
}

fn block(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(bytes)
}
