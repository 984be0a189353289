//! The serializer: what the events of a file look like as bytes.

use bytes::Bytes;
use thiserror::Error;

use crate::batch::Batch;

/// An event that cannot be written in this form.
#[derive(Debug, Error)]
#[error("event {index} of the batch cannot be written: {reason}")]
pub struct SerializeError {
    /// Place of the event in its batch.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// Turns events into the bytes of a file. Files can be cut between any two batches.
pub trait Serializer: Send + Sync {
    /// The bytes of all events of the batch, in order.
    ///
    /// # Errors
    /// Some event can never be written in this form.
    fn serialize(&self, batch: &Batch) -> Result<Bytes, SerializeError>;

    /// The usual ending of a file's name, without the dot.
    fn extension(&self) -> &'static str;
}
