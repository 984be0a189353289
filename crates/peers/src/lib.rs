//! What an agent knows of its neighbours: boards that are written on one side and read on the
//! other.
//!
//! ```text
//!   next agents ──► sinks ──► a board of the channel ──► sources, groups, other sinks
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`floors`] | epochs that hold nothing any more: [`FloorBoard`] |
//! | [`limits`] | the largest batch that the next agents take: [`LimitBoard`] |
//! | [`outlet`] | whether what a channel holds can leave it: [`OutletBoard`], [`NextHop`] |
//! | [`refusals`] | peers that a listener refuses: [`RefusalBoard`] |
//! | [`senders`] | which agents send to a source: [`SenderBoard`] |
//! | [`tenants`] | what shares a source, and what each takes of it: [`TenantBoard`] |
//! | [`routing`] | whether all members of a group route alike: [`RoutingBoard`] |
//! | [`discovery`] | members of a group that are looked up: [`SeatBoard`] |
//!
//! A component gets a board by its type, from its [`BuildContext`](pipeline::BuildContext). A sink
//! gives its group its [`Seat`] and its [`NextHop`] by
//! [`Sink::extensions`](pipeline::Sink::extensions).

mod births;
pub mod discovery;
pub mod floors;
pub mod ledgers;
pub mod limits;
pub mod outlet;
pub mod refusals;
pub mod routing;
pub mod senders;
pub mod tenants;

pub use discovery::{Seat, SeatBoard};
pub use floors::FloorBoard;
pub use ledgers::LedgerBoard;
pub use limits::LimitBoard;
pub use outlet::{DeadLettered, NextHop, OutletBoard};
pub use refusals::{RefusalBoard, RefusalReason, RefusedPeers};
pub use routing::{Dispute, RoutingBoard};
pub use senders::{Sender, SenderBoard};
pub use tenants::TenantBoard;
