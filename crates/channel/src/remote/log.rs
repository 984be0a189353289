//! The interface of a log on other hosts.

use std::io;

use bytes::Bytes;
use thiserror::Error;

/// Bytes per read.
pub(super) const READ_BYTES: usize = 1 << 20;

/// The position of a frame: increases from frame to frame, perhaps with gaps.
pub type Place = u64;

/// A frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its position.
    pub place: Place,
    /// As it was appended.
    pub frame: Bytes,
}

/// An error of a log.
#[derive(Debug, Error)]
pub enum LogError {
    /// It cannot be used as it is: contains the problem and the remedy.
    #[error("{0}")]
    Unusable(String),
    /// It failed this time.
    #[error("a request to the Kafka topic of the channel failed; check the brokers")]
    Failed(#[source] io::Error),
}

/// Why something was not written.
#[derive(Debug)]
pub enum Failure {
    /// No part of it was stored, or will be.
    Nothing(LogError),
    /// It may be stored, or may arrive until the next [`Log::fence`].
    Unknown(LogError),
}

/// An owner's connection to a log of frames and to its newest STATE. All calls block. A failing
/// call takes long enough that it can be retried immediately.
pub trait Log: Send + Sync {
    /// A description for the operator: "topic `buffer`".
    fn name(&self) -> &str;

    /// Makes this the only owner. When it returns, writes in progress of any owner are either
    /// stored or will never be; later writes of other owners are refused.
    ///
    /// # Errors
    /// It failed: the previous owner stays, if any.
    fn fence(&self) -> Result<(), LogError>;

    /// The newest STATE; none in a new log. Works without being the owner.
    ///
    /// # Errors
    /// It could not be read.
    fn state(&self) -> Result<Option<Bytes>, LogError>;

    /// Writes a STATE, durably: it replaces the previous one.
    ///
    /// # Errors
    /// It was refused, or its result is unknown. A write of an owner that was fenced is never
    /// stored.
    fn store_state(&self, state: &Bytes) -> Result<(), Failure>;

    /// Appends frames, durably: all of them or none. Returns their places.
    ///
    /// # Errors
    /// As [`Log::store_state`].
    fn append(&self, frames: &[Bytes]) -> Result<Vec<Place>, Failure>;

    /// Returns the frames from `from` on, in order: about `bytes` of them, and at least one unless
    /// `from` is the end at the time of the call.
    ///
    /// # Errors
    /// They could not be read.
    fn read(&self, from: Place, bytes: usize) -> Result<Vec<Stored>, LogError>;

    /// Releases the frames below `below`.
    ///
    /// # Errors
    /// They may still exist; a later call will name a higher place.
    fn release(&self, below: Place) -> Result<(), LogError>;
}

/// Returns an error with its cause, on one line.
pub(super) fn cause_of(error: &LogError) -> String {
    match error {
        LogError::Unusable(problem) => problem.clone(),
        LogError::Failed(source) => source.to_string(),
    }
}
