//! The vocabulary of Aqueduct: the types that all crates share and the traits that connect them.
//!
//! ```text
//! Source ─► Interceptors ─► ChannelSelector ─► Channel ─► SinkProcessor ─► Sink
//!    └────────── one Intake ───────────┘          └────── one sink group ─────┘
//! ```
//!
//! Nothing here does I/O or has state machines: boards are in `aqueduct-peers`, pools, back-off and
//! codings in `aqueduct-support`, metrics in `aqueduct-metrics`.
//!
//! | module | contents |
//! |---|---|
//! | [`batch`] | [`Batch`], the unit of I/O and storage: [`Envelope`], [`Events`], their encoding |
//! | [`identity`] | the identity of a batch: [`Origin`], [`Epoch`], [`Sequence`], and sets of them |
//! | [`account`] | the batches and events of a channel, for auditors |
//! | [`floors`] | [`Floors`]: the lowest epoch of each origin with unfinished batches |
//! | [`intervals`] | [`IntervalSet`], sets of numbers that are mostly runs |
//! | [`source`], [`interceptor`], [`condition`], [`selector`], [`channel`], [`processor`], [`sink`], [`encoder`], [`decoder`], [`framing`] | one role each |
//! | [`intake`] | the path from a source into its channels: [`Intake`] and its two extensions |
//! | [`ledgers`] | the commit ledgers downstream of a channel, as reported upstream |
//! | [`sink_board`] | the status of a sink for status pages |
//! | [`deliver`] | an adapter for sinks that deliver a batch by a request |
//! | [`catalogue`] | the components that a program knows: [`Catalogue`] |
//! | [`component`] | builds roles from settings: [`Component`], [`Entry`], [`BuildContext`] |
//! | [`extensions`] | values that components share by type: [`Extensions`] |
//! | [`routing`] | how events go into datasets, as agents report it to each other: [`Routing`] |
//! | [`settings`] | configuration values with their line in the file |
//! | [`file_position`] | the position of reading in a file, as it is stored |
//! | [`env`](mod@env) | the world, injected: clock, randomness, network, disk |
//! | [`plain_text`](mod@plain_text) | addresses without TLS, as components report them: [`PlainText`] |
//! | [`resource`] | resources that only one component can use: an address to listen on |
//! | [`traces`] | traces of sampled batches: [`Traces`], [`TraceId`](traces::TraceId) |
//! | [`error`], [`units`] | shared by all of them |

pub mod account;
pub mod address;
pub mod batch;
pub mod catalogue;
pub mod channel;
pub mod component;
pub mod condition;
pub mod decoder;
pub mod deliver;
pub mod encoder;
pub mod env;
pub mod error;
pub mod extensions;
pub mod file_board;
pub mod file_position;
pub mod floors;
pub mod framing;
pub mod identity;
pub mod intake;
pub mod interceptor;
pub mod intervals;
pub mod ledgers;
pub mod plain_text;
pub mod processor;
pub mod resource;
pub mod routing;
pub mod secret;
pub mod selector;
pub mod settings;
pub mod sink;
pub mod sink_board;
pub mod source;
pub mod statistics;
pub mod table_form;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod traces;
pub mod units;

pub use account::{Account, AccountError, LetterCount, LetterCounts};
pub use batch::{
    Batch, BatchBuilder, BatchSize, BuilderLimits, DecodeError, Envelope, EventRef, Events, Excess,
    Existing, IndexedEvents, Values,
};
pub use catalogue::{Catalogue, Group, Listed, Role, Unavailable};
pub use channel::{
    Backlog, Channel, ChannelError, ChannelStatus, PutTransaction, SourcePosition, TakeTransaction,
    Taken, Ticket,
};
pub use component::{BuildContext, BuildError, Choice, Component, Entry};
pub use condition::Condition;
pub use decoder::{
    Decoder, Deferred, FileDecoder, FileError, FileFormat, FindEvent, MalformedMessage, Message,
    OneByOne, Parts, PartsDecoder, Piece, PieceLimits, decode_message,
};
pub use encoder::{
    Codec, Compressor, Encoder, FileEncoder, FileKind, RemoteEncoder, RemoteFile, Unwritable,
};
pub use env::Env;
pub use error::{Classify, ErrorClass};
pub use extensions::Extensions;
pub use file_board::{FileBoard, FollowedFiles};
pub use floors::Floors;
pub use framing::{Frame, Framer, Framing, FramingLost};
pub use identity::{Epoch, Identity, KeySet, Origin, OriginName, PartNames, Sequence};
pub use intake::{
    AgentLink, Intake, IntakeError, Known, Outage, Permit, PositionIntake, Reached, RelayIntake,
    Rest, Turn, Unreserved,
};
pub use interceptor::{Interceptor, Reject, Rejects, RemoteInterceptor};
pub use intervals::IntervalSet;
pub use ledgers::{LedgerId, LedgerState};
pub use plain_text::{PlainAddress, PlainText};
pub use processor::{Failure, MemberView, Report, SeatView, Selection, SinkProcessor};
pub use resource::Resource;
pub use routing::Routing;
pub use selector::{ChannelSelector, FreeChoice, RemoteSelector, RequiredChannels, SelectorError};

pub use secret::Secret;
pub use settings::{Place, Settings, SettingsError, SettingsErrorKind};
pub use sink::{DedupeScope, Guarantee, HeldBack, Letter, Outcome, Settlement, Sink, SinkError};
pub use sink_board::{SinkBoard, SinkStatus};
pub use source::{ResendMode, Source, SourceContext, SourceError};
pub use statistics::{BoundValue, ColumnStatistics, FileEnd};
pub use table_form::{TableField, TableForm, TableStorage};
pub use traces::{GivenName, Traces};
