//! What a channel asks of a log that is somewhere else.

use std::io;

use bytes::Bytes;
use thiserror::Error;

/// Where a frame lies: rises from frame to frame, perhaps with gaps.
pub type Place = u64;

/// A frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it lies.
    pub place: Place,
    /// As it was appended.
    pub frame: Bytes,
}

/// Why a log did not do what it was asked.
#[derive(Debug, Error)]
pub enum LogError {
    /// It cannot be used as it is: what is wrong, and what helps.
    #[error("{0}")]
    Unusable(String),
    /// It did not work this time.
    #[error("it did not do what it was asked")]
    Failed(#[source] io::Error),
}

/// Why something was not written.
#[derive(Debug)]
pub enum Failure {
    /// Nothing of it is there, nor will be.
    Nothing(LogError),
    /// It may be there, or get there until the next [`Log::fence`].
    Unknown(LogError),
}

/// An owner's way to a log of frames and to its newest STATE. All calls block. One that fails takes
/// so long that it can be made again at once.
pub trait Log: Send + Sync {
    /// What it is, for people: "topic `buffer`".
    fn name(&self) -> &str;

    /// Makes this the only owner. What any owner has under way is there when it returns, or never
    /// will be; what another one writes later is refused.
    ///
    /// # Errors
    /// It did not work: the owner is the one before, or there is none.
    fn fence(&self) -> Result<(), LogError>;

    /// The newest STATE; none in a new log. Works without being the owner.
    ///
    /// # Errors
    /// It could not be read.
    fn state(&self) -> Result<Option<Bytes>, LogError>;

    /// Writes a STATE, durably: it takes the place of the last one.
    ///
    /// # Errors
    /// It was refused, or it is not known whether it is there. Of one that is not the owner any
    /// more it is never there.
    fn keep(&self, state: &Bytes) -> Result<(), Failure>;

    /// Appends frames, durably: all of them or none. Answers where they lie.
    ///
    /// # Errors
    /// As [`Log::keep`].
    fn append(&self, frames: &[Bytes]) -> Result<Vec<Place>, Failure>;

    /// The frames from `from` on, in their order: about `bytes` of them, and one at least unless it
    /// is at its end, as it was when this was called.
    ///
    /// # Errors
    /// They could not be read.
    fn read(&self, from: Place, bytes: usize) -> Result<Vec<Stored>, LogError>;

    /// The frames below `below` are not needed any more.
    ///
    /// # Errors
    /// They are still there, perhaps; a later call will name a higher place.
    fn release(&self, below: Place) -> Result<(), LogError>;
}
