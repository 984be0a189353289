//! `snappy`: Snappy blocks in the framing of Hadoop's `SnappyCodec`, which differs from the frame
//! format of the tool `snzip`.

use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::blocks::{BUFFER, Blocks};

/// Hadoop's class of this codec.
pub(super) const CLASS: &str = "org.apache.hadoop.io.compress.SnappyCodec";

/// Settings of the codec `snappy`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "snappy";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(Snappy))
    }
}

struct Snappy;

/// Keeps an incompressible block within the reader's buffer.
const BLOCK_MAX: usize = BUFFER - (BUFFER / 6 + 32);

impl Codec for Snappy {
    fn extension(&self) -> &'static str {
        "snappy"
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
    snap::raw::Encoder::new().compress_vec(bytes).expect("a block is smaller than 4 GiB")
}
