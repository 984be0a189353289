//! [`Batch`]: the unit of I/O, storage, identity and dynamic calls.
//!
//! The batch in memory *is* the batch on disk and on the wire: a few shared headers, columns for
//! the headers that differ by event, and all bodies in one run of bytes. A source that reads lines
//! passes its read buffer on; a stage that stores or forwards a batch passes its bytes on. Decoding
//! a batch costs its shared headers and one pass over the lengths, and copies no body.
//!
//! ```text
//! shared   host=web-1  file=/var/log/nginx/access.log          one value for all events
//! columns  offset      [ 0 | 178 | 355 | … ]                   one value for each event, or none
//!          file        [ a.log × 700 | b.log × 31 ]            or for each run of events alike
//! lengths              [ 177 | 176 | 181 | … ]                 bytes of each body
//! bodies               GET /a …⏎GET /b …⏎GET /c …⏎             end to end; ⏎ when `separated`
//! ```
//!
//! # Invariants
//!
//! 1. A name is in `shared` or in `columns`, never in both, and never twice.
//! 2. The lengths (plus one separator each when `separated`) add up to the bytes of the bodies. If
//!    they are not stored, each LF of the bodies is a separator.
//! 3. `encoded`, if present, is the encoding of exactly the other fields.
//!
//! See [`encoding`] for the layout in bytes. It covers the [`Events`]; the [`Envelope`] precedes
//! it, in different forms on disk and on the wire.

mod builder;
mod columns;
pub mod encoding;
mod ends;
mod events;
mod indexed;
mod lengths;
mod limits;

use std::ops::{Deref, DerefMut};

use bytes::Bytes;

pub use builder::BatchBuilder;
pub use columns::Values;
pub use encoding::DecodeError;
pub use events::{EventRef, Events, Existing};
pub use indexed::IndexedEvents;
use lengths::Lengths;
pub use limits::{BuilderLimits, Excess};

use crate::channel::SourcePosition;
use crate::env::Entropy;
use crate::identity::Identity;

/// A group of events with their envelope.
///
/// Cloning is cheap: the bytes are shared. A batch dereferences to its events. Code that needs only
/// events takes [`Events`], and cannot change the envelope.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use pipeline::{Batch, Existing};
///
/// let mut batch = Batch::of(["first", "second"]);
/// batch.set_header("host", "web-1", Existing::Replace);
/// assert_eq!(batch.len(), 2);
/// // The first channel gives it an identity, and the identity is no part of the encoding.
/// assert_eq!(batch.envelope.identity, None);
/// assert_eq!(Batch::decode(batch.encode())?, batch);
/// # Ok::<(), pipeline::DecodeError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The identity of the batch, and the positions of its source.
    pub envelope: Envelope,
    /// The events.
    pub events: Events,
}

/// The data of a batch besides its events. Sources and channels write it; interceptors, selectors
/// and encoders do not see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The batch's name in the whole system, once it has passed a channel.
    pub identity: Option<Identity>,
    /// Positions of the source after this batch; stored in the same write as the events.
    pub positions: Vec<SourcePosition>,
}

impl Deref for Batch {
    type Target = Events;

    fn deref(&self) -> &Events {
        &self.events
    }
}

impl DerefMut for Batch {
    fn deref_mut(&mut self) -> &mut Events {
        &mut self.events
    }
}

/// In an empty envelope.
impl From<Events> for Batch {
    fn from(events: Events) -> Self {
        Self { envelope: Envelope::default(), events }
    }
}

/// The size of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSize {
    /// Number of events.
    pub events: u64,
    /// Bytes of the encoding.
    pub bytes: u64,
}

impl Batch {
    /// Returns the identity as text, which stays the same when the batch is resent; without an
    /// identity, a random text.
    pub fn id_text(&self, entropy: &dyn Entropy) -> String {
        match self.envelope.identity {
            Some(identity) => identity.to_string(),
            None => format!("{:032x}", u128::from_be_bytes(entropy.bytes16())),
        }
    }

    /// Creates a batch of lines in `bodies`, each followed by one LF, including the last one.
    /// `lengths` are the bytes of each line without its LF. Copies no body.
    ///
    /// # Panics
    /// If the lengths do not add up to `bodies`, which is a bug of the caller.
    pub fn of_lines(bodies: Bytes, lengths: &[u32]) -> Self {
        let total: usize = lengths.iter().map(|length| *length as usize + 1).sum();
        assert_eq!(total, bodies.len(), "the lengths of the lines add up to the buffer");
        let lengths = Lengths::from_slice(lengths);
        Events { lengths, bodies, separated: true, ..Events::default() }.into()
    }

    /// Creates a batch of `events` lines like [`Batch::of_lines`], for short lines of a few dozen
    /// bytes: their ends are not stored, but searched on demand. Copies and reads no body.
    ///
    /// # Panics
    /// In a build with debug assertions, if `bodies` have another number of lines.
    pub fn of_short_lines(bodies: Bytes, events: usize) -> Self {
        let lengths = Lengths::InBodies { events };
        debug_assert!(lengths.fit(&bodies, true), "that many lines, each with its LF");
        Events { lengths, bodies, separated: true, ..Events::default() }.into()
    }

    /// Creates a batch of these bodies without headers.
    pub fn of<B: AsRef<[u8]>>(bodies: impl IntoIterator<Item = B>) -> Self {
        let mut builder = BatchBuilder::default();
        for body in bodies {
            builder.push(body.as_ref(), &[]);
        }
        builder.finish()
    }
}

#[cfg(test)]
mod tests;
