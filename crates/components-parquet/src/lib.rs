//! The components that bring the library `parquet` with them.

pub mod parquet;

use pipeline::component::entry;
use pipeline::{Encoder, Entry, Group};

/// Every encoder.
static ENCODERS: &[Entry<dyn Encoder>] = &[entry::<parquet::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("parquet"),
    encoders: ENCODERS,
    ..Group::EMPTY
};
