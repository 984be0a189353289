//! Channels: buffers between sources and sinks, transactional on both sides.
//!
//! | module | contents |
//! |---|---|
//! | [`durable`] | survives a crash and a power loss: a segment log, group commit, sled as its index |
//! | [`memory`] | fast, bounded by bytes, empty after a restart |
//! | [`remote`] | a log on other hosts, which a component brings: survives the loss of the host |
//! | [`spill`] | memory while it lasts, then disk |
//! | `in_flight`, `transactions`, `dedupe`, `positions` | shared parts: tickets, puts and takes, identities, positions |
//! | `testkit` | a disk that forgets unsynced data; the suite that every channel passes |

mod dedupe;
pub mod durable;
mod in_flight;
pub mod memory;
mod positions;
pub mod remote;
mod reservations;
pub mod spill;
mod stored;
#[cfg(feature = "testkit")]
pub mod testkit;
mod transactions;

pub use stored::stored_positions;
