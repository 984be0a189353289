//! An agent's knowledge of its neighbours: boards that one side writes and the other side reads.
//!
//! ```text
//!   next agents ──► sinks ──► a board of the channel ──► sources, groups, other sinks
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`floors`] | epochs without pending batches: [`FloorBoard`] |
//! | [`limits`] | the largest batch that downstream agents accept: [`LimitBoard`] |
//! | [`outlet`] | outages downstream of a channel: [`OutletBoard`], [`NextHop`] |
//! | [`progress`] | how far the sources of agents got: [`ProgressBoard`] |
//! | [`refusals`] | peers that a listener refuses: [`RefusalBoard`] |
//! | [`senders`] | agents that send to a source: [`SenderBoard`] |
//! | [`tenants`] | users that share a source, and their usage: [`TenantBoard`] |
//! | [`routing`] | agreement of a group's members on routing: [`RoutingBoard`] |
//! | [`discovery`] | members of a group that are looked up: [`SeatBoard`] |
//!
//! A component gets a board by its type, from its [`BuildContext`](pipeline::BuildContext). A sink
//! passes its [`Seat`] and its [`NextHop`] to its group by
//! [`Sink::extensions`](pipeline::Sink::extensions).

pub mod discovery;
pub mod floors;
pub mod ledgers;
pub mod limits;
pub mod outlet;
mod own_epochs;
pub mod progress;
pub mod refusals;
pub mod routing;
pub mod senders;
pub mod tenants;

pub use discovery::{Seat, SeatBoard};
pub use floors::FloorBoard;
pub use ledgers::LedgerBoard;
pub use limits::LimitBoard;
pub use outlet::{DeadLettered, NextHop, OutletBoard};
pub use progress::ProgressBoard;
pub use refusals::{RefusalBoard, RefusalReason, RefusedPeers};
pub use routing::{Dispute, RoutingBoard};
pub use senders::{Sender, SenderBoard};
pub use tenants::TenantBoard;
