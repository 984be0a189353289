//! Common parts of sources that store their position in one channel.

use std::time::Duration;

use bytes::Bytes;
use pipeline::{ErrorClass, SourceContext, SourceError};

use crate::until_stored::Refused;

/// How long a stop waits for an unfinished batch.
pub const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Returns the positions of a source in its channel.
///
/// # Errors
/// Fails if the source has no channel, or several, whose positions might differ.
pub fn known(
    kind: &str,
    source: &str,
    cx: &SourceContext,
) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
    let mut channels = cx.positions.positions(source);
    match (channels.pop(), channels.len()) {
        (Some(known), 0) => Ok(known),
        _ => {
            let message = format!(
                "the source `{kind}` needs exactly one required channel, which stores its \
                 position: make the others optional, or let several groups read from one channel"
            );
            Err(SourceError { class: ErrorClass::Fatal, message, source: None })
        }
    }
}

/// Converts the reason why a batch is not stored. Never resolves while the agent stops, which ends
/// the source.
pub async fn cause(error: Refused) -> SourceError {
    match error {
        Refused::Source(error) => error,
        Refused::Batch(message) => {
            SourceError { class: ErrorClass::Blocked, message, source: None }
        }
        Refused::Stopping => std::future::pending().await,
    }
}
