//! Encoders: convert events to the bytes of a file.

pub mod avro;
pub mod avro_schema;
mod avro_table;
mod container;
pub mod csv;
pub mod header_and_text;
pub mod json;
pub mod sequence_file;
pub mod text;
mod typed;

use pipeline::component::entry;
use pipeline::{Encoder, Entry, Events};

/// All encoders.
pub static ALL: &[Entry<dyn Encoder>] = &[
    entry::<avro::Config>(),
    entry::<avro_schema::Config>(),
    entry::<csv::Config>(),
    entry::<header_and_text::Config>(),
    entry::<json::Config>(),
    entry::<sequence_file::Config>(),
    entry::<text::Config>(),
];

/// The default of `newline`.
fn newline() -> bool {
    true
}

/// Returns the size of all headers, counting shared ones for each event.
fn header_bytes(events: &Events) -> u64 {
    let shared: usize = events.shared_headers().map(|(name, value)| name.len() + value.len()).sum();
    let shared = shared as u64 * events.len() as u64;
    if events.is_uniform() {
        return shared;
    }
    let own = |event: pipeline::EventRef<'_>| {
        event.headers().map(|(name, value)| (name.len() + value.len()) as u64).sum::<u64>()
    };
    events.iter().map(own).sum()
}

#[cfg(test)]
pub(crate) mod testkit {
    use pipeline::{Batch, Choice, Settings};

    use super::*;

    /// Builds the encoder of a configuration.
    pub(crate) fn encoder(json: &serde_json::Value) -> Box<dyn Encoder> {
        let choice = Settings::from_json(json).read::<Choice<dyn Encoder>>().unwrap();
        let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
        choice.build("encoder", &cx).unwrap()
    }

    /// Returns a file of these batches.
    pub(crate) fn file(json: &serde_json::Value, batches: &[Batch]) -> Vec<u8> {
        pipeline::testkit::file_of(&*encoder(json), batches)
    }
}
