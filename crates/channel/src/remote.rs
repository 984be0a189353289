//! A channel whose log is on other hosts: acknowledged batches survive the loss of the agent's
//! host.
//!
//! ```text
//!  puts ─► queue ─► leader: one group, one append ─► [`Log`]: frame │ frame │ …
//!                     │                                        │     STATE (the newest one)
//!                     └─► answer                        └─► tail in memory ─► take ─► commit
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `log` | the trait of such a log, which a component implements |
//! | `channel` | the [`Channel`](pipeline::Channel) that an agent uses |
//! | `core`, `state` | the shared parts: the log, and a state behind one lock |
//! | `put`, `request`, `group`, `leader` | from a put to a stored frame: group commit |
//! | `take`, `reading` | takes: the tail in memory, and reads from the log |
//! | `opening` | restores the state that another agent, or a dead process, left |
//! | `frames` | the encoding of frames and STATEs |
//!
//! A put is a frame, as in a segment of the [durable](crate::durable) channel. It contains batches
//! with their identities, and positions. A STATE summarises all frames before it and the commits of
//! each consumer: opening reads the newest STATE and the frames after it. A STATE is written when
//! the channel opens or closes, when the consumers change, after a number of bytes of frames, and
//! ten seconds after a commit. It is written immediately if puts wait for room that it would free.
//!
//! # Invariants
//!
//! 1. A put is answered when it is known whether the log has it. If that is unknown, the channel
//!    fences every owner of the log, including its own earlier life, and checks. Until then the put
//!    waits.
//! 2. One owner: each opening raises the epoch of the channel, in a STATE, before its first put. An
//!    owner that finds a foreign epoch in the newest STATE has lost the log permanently. It accepts
//!    nothing more and gives no more answers, as if it were killed.
//! 3. Tickets and sequences are used once, without gaps: they increase with a stored group, and a
//!    group that was not stored is known not to appear later.
//! 4. The log is released up to the commits of every consumer, after a STATE that records them.
//! 5. Memory does not grow with the backlog: a section of the log costs 48 bytes, and batches far
//!    from every consumer are read again.

mod channel;
mod core;
mod frames;
mod group;
mod leader;
mod limits;
mod log;
mod opening;
mod put;
mod reading;
mod request;
mod state;
mod take;

pub use channel::{LogConnector, Remote};
pub use limits::Limits;
pub use log::{Failure, Log, LogError, Place, Stored};
