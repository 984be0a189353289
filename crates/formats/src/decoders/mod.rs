//! Decoders: convert messages to events.

pub mod avro;
pub mod blob;
pub mod json;
pub mod lines;

use std::collections::BTreeSet;

use pipeline::component::entry;
use pipeline::{Decoder, Entry, MalformedMessage};

/// All decoders.
pub static ALL: &[Entry<dyn Decoder>] = &[
    entry::<avro::Config>(),
    entry::<blob::Config>(),
    entry::<json::Config>(),
    entry::<lines::Config>(),
];

/// Maximum number of header names in a message: each is a column of its batch.
pub const HEADER_NAMES_MAX: usize = 1_000;

/// Maximum length of a header's name, from the encoding of a batch.
const HEADER_NAME_BYTES_MAX: usize = u16::MAX as usize;

/// Checks that a batch can have headers of these names.
///
/// # Errors
/// Fails if a name is empty or too long, or there are too many.
pub fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), MalformedMessage> {
    let mut known = BTreeSet::new();
    for name in names {
        check_name(name)?;
        known.insert(name);
        if known.len() > HEADER_NAMES_MAX {
            return Err(too_many_names());
        }
    }
    Ok(())
}

/// Checks that a header can have this name.
pub(crate) fn check_name(name: &str) -> Result<(), MalformedMessage> {
    if (1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    let problem = format!(
        "the name of a header must have 1 to {HEADER_NAME_BYTES_MAX} bytes, not {}",
        name.len()
    );
    Err(MalformedMessage { problem })
}

/// Returns the error for too many names.
pub(crate) fn too_many_names() -> MalformedMessage {
    let problem = format!("more than {HEADER_NAMES_MAX} names of headers in one message");
    MalformedMessage { problem }
}

#[cfg(test)]
pub(crate) mod testkit {
    use pipeline::{Batch, BatchBuilder, Choice, MalformedMessage, Message, Settings};

    use super::*;

    /// Builds the decoder of a configuration.
    pub(crate) fn decoder(json: &serde_json::Value) -> Result<Box<dyn Decoder>, String> {
        let choice =
            Settings::from_json(json).read::<Choice<dyn Decoder>>().map_err(|e| e.to_string())?;
        let cx = crate::alone("in", std::path::Path::new("unused"), env::real());
        choice.build("decoder", &cx).map_err(|error| error.to_string())
    }

    /// Decodes a message into events.
    pub(crate) fn decoded(
        json: &serde_json::Value,
        message: &Message<'_>,
    ) -> Result<Batch, MalformedMessage> {
        let mut events = BatchBuilder::default();
        decoder(json).unwrap().decode(message, &mut events).map(|()| events.finish())
    }

    /// Creates a message without headers and character set.
    pub(crate) fn message(bytes: &[u8]) -> Message<'_> {
        Message { bytes, charset: None, headers: &[] }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testkit::decoder;

    #[test]
    fn a_choice_is_a_kind_alone_or_a_table_with_its_settings() {
        assert!(decoder(&json!("lines")).is_ok());
        assert!(decoder(&json!({ "type": "lines", "keep_empty": true })).is_ok());
        for (json, says) in [
            (json!("line"), "did you mean `lines`"),
            (json!({ "keep_empty": true }), "needs `type`"),
            (json!({ "type": "lines", "keep_emty": true }), "decoder.keep_emty"),
            (json!(3), "expected a type"),
        ] {
            let error = decoder(&json).err().unwrap();
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
