//! Fuzzing entry point: decodes any bytes as a message of a plug-in.

use bytes::Bytes;

use crate::frame::decode;
use crate::v1::from_plugin::Message;

/// Returns the number of results, choices, outcomes, events or bytes of a message, or why it is
/// unusable.
///
/// # Errors
/// The reason, for an operator.
pub fn read(message: &[u8]) -> Result<usize, String> {
    match decode(Bytes::copy_from_slice(message)).map_err(|fault| fault.to_string())? {
        Message::Welcome(_) | Message::Failed(_) => Ok(1),
        Message::Intercepted(intercepted) => Ok(intercepted.results.len()),
        Message::Settled(settled) => Ok(settled.outcomes.len()),
        Message::Produced(produced) => Ok(produced.events.len()),
        Message::Selected(selected) => Ok(selected.choices.len()),
        Message::Encoded(encoded) => Ok(encoded.content.len()),
    }
}
