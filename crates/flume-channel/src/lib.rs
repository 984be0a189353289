//! Reads the file channel of a stopped Apache Flume agent, as Flume would read it.
//!
//! ```text
//!   checkpoint, inflightputs, inflighttakes ─► checkpoint::State ─┐
//!                                                                 ▼
//!   log-1 … log-n (+ .meta) ─► log::Log::scan ─► record::read ─► replay::Replay ─► waiting events
//!                                                                                     │
//!   log-1 … log-n ◄───────────────── Events: each waiting event, by its place ◄───────┘
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`record`] | bytes of a log → records, formats 2 and 3. Pure |
//! | [`checkpoint`] | bytes of a checkpoint, its metadata and in-flight files → the queue. Pure |
//! | [`replay`] | records → events that are committed and not taken. Pure |
//! | [`log`] | a log file and its metadata, read piece by piece |
//! | [`channel`] | all directories: locks, choice of the checkpoint, all logs |
//! | [`events`] | the waiting events in the order of the queue |
//!
//! Memory grows with the number of waiting events (some 50 bytes for each), and with the largest
//! record, which has a limit ([`record::RECORD_MAX`]); not with the length of the logs.

pub mod channel;
pub mod checkpoint;
pub mod events;
#[cfg(feature = "testkit")]
pub mod fuzzed;
pub mod log;
mod proto;
pub mod record;
pub mod replay;

pub use channel::{FlumeChannel, Found, Places, ReadError, Start};
pub use events::Events;
pub use record::{Event, Pointer};
