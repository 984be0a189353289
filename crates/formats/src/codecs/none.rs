//! `none`: bytes unchanged.

use bytes::Bytes;
use pipeline::{BuildContext, BuildError, Codec, Component, Compressor};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the codec `none`: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "none";
    type Role = dyn Codec;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Codec>, BuildError> {
        Ok(Box::new(Plain))
    }
}

/// No compression.
#[derive(Debug)]
pub struct Plain;

impl Codec for Plain {
    fn extension(&self) -> &'static str {
        ""
    }

    fn content_encoding(&self) -> Option<&'static str> {
        None
    }

    fn concatenates(&self) -> bool {
        true
    }

    fn begin(&self) -> Box<dyn Compressor> {
        Box::new(Plain)
    }
}

impl Compressor for Plain {
    fn compress(&mut self, bytes: Bytes) -> Bytes {
        bytes
    }

    fn finish(&mut self) -> Bytes {
        Bytes::new()
    }
}
