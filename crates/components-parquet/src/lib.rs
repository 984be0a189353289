//! The components that bring the library `parquet` with them.

pub mod parquet;
pub mod rows;

use pipeline::component::entry;
use pipeline::{Decoder, Encoder, Entry, Group};

/// Every encoder.
static ENCODERS: &[Entry<dyn Encoder>] = &[entry::<parquet::Config>()];

/// Every decoder.
static DECODERS: &[Entry<dyn Decoder>] = &[entry::<rows::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("parquet"),
    encoders: ENCODERS,
    decoders: DECODERS,
    ..Group::EMPTY
};
