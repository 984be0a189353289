//! A channel whose log is somewhere else: what it has said yes to survives the host of its agent.
//!
//! ```text
//!  puts ─► queue ─► leader: one group, one append ─► [`Log`]: frame │ frame │ …
//!                     │                                        │     STATE (the newest one)
//!                     └─► answer                        └─► tail in memory ─► take ─► commit
//! ```
//!
//! | where | what lives there |
//! |---|---|
//! | `log` | what such a log is asked for: the trait that a component implements |
//! | `channel` | the [`Channel`](pipeline::Channel) that an agent sees |
//! | `core`, `state` | what the parts share: the log, and a state behind one lock |
//! | `put`, `group`, `leader` | from a put to a frame that is stored: group commit |
//! | `take`, `reading` | takes: the tail in memory, and what is read back |
//! | `opening` | what another agent, or a dead process, left |
//! | `frames` | the bytes of frames and STATEs |
//!
//! A put is a frame, as in a segment of the [durable](crate::durable) channel, and has its batches
//! with their identities, and positions. A STATE is what all frames before it said, with what each
//! consumer has committed: opening reads the newest one and the frames behind it. It is written at
//! the opening, when the consumers change, at the end, and in between behind so many bytes of
//! frames, or ten seconds after a commit; at once where puts wait for
//! room that it would give.
//!
//! # Invariants
//!
//! 1. A put is answered when it is known whether the log has it. Where that is not known, the
//!    channel shuts out every owner of the log, itself as it was before included, and looks. Until
//!    then the put waits.
//! 2. One owner: each opening raises the epoch of the channel, in a STATE, before its first put.
//!    An owner that finds another epoch than its own in the newest STATE has lost the log for
//!    good, takes nothing more and gives no answer any more, as if it were killed.
//! 3. Tickets and own sequences are used once, without gaps: they go up with a group that is
//!    stored, and what was not stored is known not to come back.
//! 4. The log is released up to what every consumer has committed, after a STATE that says so.
//! 5. Memory does not grow with the backlog: a section of the log is a line of 48 bytes, and what
//!    is far from every consumer is read again.

mod channel;
mod core;
mod frames;
mod group;
mod leader;
mod log;
mod opening;
mod put;
mod reading;
mod state;
mod take;

pub use channel::{Limits, Remote, Way};
pub use log::{Failure, Log, LogError, Place, Stored};
