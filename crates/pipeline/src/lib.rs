//! The vocabulary of Aqueduct: the types that every part speaks and the traits that join them.
//!
//! ```text
//! Source ─► Interceptors ─► ChannelSelector ─► Channel ─► SinkProcessor ─► Sink
//!    └────────── one Intake ───────────┘          └────── one sink group ─────┘
//! ```
//!
//! Nothing here does I/O. Everybody depends on this crate, and it depends on nobody.
//!
//! | module | what it holds |
//! |---|---|
//! | [`batch`] | [`Batch`], the unit of I/O, storage, identity and dynamic calls, and its encoding |
//! | [`identity`] | who a batch is: [`Origin`], [`Epoch`], [`Sequence`], and sets of them |
//! | [`account`] | what a channel answers for, for auditors |
//! | [`outlet`] | whether what a channel holds can leave it: [`OutletBoard`] |
//! | [`floors`] | what may be forgotten: [`Floors`], the lowest epoch of each origin that still counts |
//! | [`ledgers`] | the commit ledgers behind a channel, as named upstream: [`LedgerBoard`] |
//! | [`limits`] | the largest batch that the next agents take: [`LimitBoard`] |
//! | [`intervals`] | [`IntervalSet`], sets of numbers that are mostly runs |
//! | [`source`], [`interceptor`], [`selector`], [`channel`], [`processor`], [`sink`], [`encoder`], [`decoder`] | one role each |
//! | [`deliver`] | an adapter for sinks that deliver a batch by a request |
//! | [`catalogue`] | the components that a program knows: [`Catalogue`] |
//! | [`component`] | how a role is built from settings: [`Component`], [`Entry`], [`BuildContext`] |
//! | [`discovery`] | members of a group that are looked up: [`SeatBoard`] |
//! | [`settings`] | configuration values that know the line they stand on |
//! | [`file_position`] | where the reading of a file stands, as it is stored |
//! | [`env`](mod@env) | the world, injected: clock, randomness, network, disk |
//! | [`resource`] | what only one component can have: an address to listen on |
//! | [`error`], [`backoff`], [`trouble`], [`compression`], [`pool`] | shared by all of them |
//! | [`metrics`], [`notice`], [`units`] | shared by all of them |
//! | [`mutants`] | bugs that are planted to show that they are found; none in a release |

pub mod account;
pub mod address;
pub mod backoff;
pub mod batch;
mod births;
pub mod catalogue;
pub mod channel;
pub mod component;
pub mod compression;
pub mod decoder;
pub mod deliver;
pub mod discovery;
pub mod encoder;
pub mod env;
pub mod error;
pub mod file_position;
pub mod floors;
pub mod identity;
pub mod interceptor;
pub mod intervals;
pub mod ledgers;
pub mod limits;
pub mod log_rate;
pub mod metrics;
pub mod mutants;
pub mod notice;
pub mod outlet;
pub mod pool;
pub mod processor;
pub mod resource;
pub mod routing;
pub mod selector;

pub mod settings;
pub mod sink;
pub mod source;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod trouble;
pub mod units;

pub use account::{Account, AccountError};
pub use batch::{Batch, BatchBuilder, BatchSize, DecodeError, EventRef, Existing};
pub use catalogue::{Catalogue, Elsewhere, Group, Role};
pub use channel::{
    Channel, ChannelError, ChannelStatus, PutTransaction, SourcePosition, TakeTransaction, Taken,
    Ticket,
};
pub use component::{BuildContext, BuildError, Choice, Component, Entry, FlumeKey, Unit};
pub use decoder::{Decoder, MalformedMessage, Message};
pub use discovery::{Seat, SeatBoard, SeatView};
pub use encoder::{Codec, Compressor, Encoder, FileEncoder, Unwritable};
pub use env::Env;
pub use error::{Class, Classify};
pub use floors::{FloorBoard, Floors};
pub use identity::{Epoch, Identity, KeySet, Origin, Sequence};
pub use interceptor::Interceptor;
pub use intervals::IntervalSet;
pub use ledgers::{LedgerBoard, LedgerId, LedgerState};
pub use limits::LimitBoard;
pub use metrics::Metrics;
pub use outlet::{NextHop, Outage, OutletBoard};
pub use processor::{Failure, MemberView, Report, Selection, SinkProcessor};
pub use resource::Resource;
pub use routing::{Dispute, Routing, RoutingBoard};
pub use selector::ChannelSelector;

pub use settings::{Settings, SettingsError};
pub use sink::{Guarantee, Letter, Outcome, Reach, Settlement, Sink, SinkError};
pub use source::{Intake, IntakeError, Known, Permit, Source, SourceContext, SourceError};
