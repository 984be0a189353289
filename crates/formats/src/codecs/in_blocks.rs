//! `lz4`: LZ4 blocks in the framing of Hadoop's `Lz4Codec`, which differs from the frame format of
//! the tool `lz4`; and `snappy`: Snappy blocks in the framing of Hadoop's `SnappyCodec`, which
//! differs from the frame format of the tool `snzip`.

use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::blocks::{BUFFER, Blocks};

/// Hadoop's class of the codec `lz4`.
pub(super) const LZ4_CLASS: &str = "org.apache.hadoop.io.compress.Lz4Codec";

/// Hadoop's class of the codec `snappy`.
pub(super) const SNAPPY_CLASS: &str = "org.apache.hadoop.io.compress.SnappyCodec";

/// Settings of the codec `lz4`.
pub type Lz4 = Config<true>;

/// Settings of the codec `snappy`.
pub type Snappy = Config<false>;

/// Settings of a codec of blocks: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Config")]
pub struct Config<const LZ4: bool> {}

impl<const LZ4: bool> Component for Config<LZ4> {
    const KIND: &'static str = if LZ4 { "lz4" } else { "snappy" };
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(self))
    }
}

impl<const LZ4: bool> Codec for Config<LZ4> {
    fn extension(&self) -> &'static str {
        Self::KIND
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }

    fn hadoop_class(&self) -> Option<&'static str> {
        Some(if LZ4 { LZ4_CLASS } else { SNAPPY_CLASS })
    }

    fn begin(&self) -> Box<dyn Compressor> {
        // Keeps an incompressible block within the reader's buffer.
        let block_max = BUFFER - if LZ4 { BUFFER / 255 + 16 } else { BUFFER / 6 + 32 };
        Box::new(Blocks::new(block_max, block::<LZ4>))
    }
}

fn block<const LZ4: bool>(bytes: &[u8]) -> Vec<u8> {
    match LZ4 {
        true => lz4_flex::block::compress(bytes),
        false => {
            snap::raw::Encoder::new().compress_vec(bytes).expect("a block is smaller than 4 GiB")
        }
    }
}
