//! The components that use the library `parquet`.

pub mod parquet;
pub mod rows;

use pipeline::component::entry;
use pipeline::{Decoder, Encoder, Entry, Group};

/// Every encoder.
static ENCODERS: &[Entry<dyn Encoder>] = &[entry::<parquet::Config>()];

/// Every decoder.
static DECODERS: &[Entry<dyn Decoder>] = &[entry::<rows::Config>()];

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("parquet"),
    encoders: ENCODERS,
    decoders: DECODERS,
    ..Group::EMPTY
};
