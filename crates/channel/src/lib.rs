//! Channels: what stands between sources and sinks, transactional on both sides.
//!
//! | module | what it holds |
//! |---|---|
//! | [`durable`] | survives process and power: a segment log, group commit, sled as its index |
//! | [`memory`] | fast and forgetful: bounded by bytes |
//! | [`remote`] | over a log on other hosts, which a component brings: survives the host |
//! | [`spill`] | memory while it lasts, then disk |
//! | `in_flight`, `dedupe`, `positions` | what they share: tickets, identities, positions |
//! | `testkit` | a disk that forgets what was not synced; the suite that every channel passes |

mod dedupe;
pub mod durable;
mod in_flight;
pub mod memory;
mod positions;
pub mod remote;
pub mod spill;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use positions::stored_positions;
