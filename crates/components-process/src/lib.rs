//! Plug-ins: sources, interceptors, selectors, sinks and encoders of a user, in any language. Each
//! is a child process of the agent.
//!
//! ```text
//!   agent                                             plug-in
//!   interceptor ─► Plugin: one call at a time ─┐
//!   selector ────► Plugin ─────────────────────┤
//!   sink, encoder ► Plugin ────────────────────┼─► Running ◄─ frames over a Unix socket ─► process
//!   source ────────────────────────────────────┘      │
//!                                                     └─ lines that it prints ─► log of the agent
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `config` | the settings that all of them share |
//! | `frame` | a message with its length, within bounds |
//! | [`v1`] | messages of `proto/plugin/v1/plugin.proto`; generated |
//! | `running` | one process: start, handshake, request and answer, stop |
//! | `plugin` | a process that is restarted after a failure, with a back-off |
//! | `events` | events as messages, and back |
//! | `answers` | checks of an answer (pure) |
//! | `error` | what a plug-in did wrong, and the remedy |
//! | [`source`], [`interceptor`], [`selector`], [`sink`], [`encoder`] | the components |
//!
//! # Invariants
//!
//! 1. A plug-in acknowledges nothing. The agent has the identities, the positions, the limits and
//!    the dead letters.
//! 2. An answer is used only after all of it was checked. After an unusable answer the process is
//!    killed, and the request is sent to the next one.
//! 3. A process whose answer was not read to its end is never used again. A dropped call therefore
//!    kills it.
//! 4. An event that a sink reported as delivered or refused is not sent to it again while the agent
//!    runs.
//! 5. The position of a source is stored in the same write as the events before it, and the next
//!    request is sent after that write.
//! 6. A file of an encoder is continued only by the process that has begun it.
//!
//! Every batch is copied into a message, sent to the process, and copied back. This costs memory
//! and time for each event (docs/plugins.md has figures); a component in Rust has no such cost.

mod answers;
mod config;
pub mod encoder;
mod error;
mod events;
mod frame;
#[cfg(feature = "testkit")]
pub mod fuzzed;
pub mod interceptor;
mod plugin;
mod running;
pub mod selector;
pub mod sink;
pub mod source;
#[cfg(test)]
mod tests;

use pipeline::component::entry;
use pipeline::{ChannelSelector, Encoder, Entry, Group, Interceptor, Sink, Source};

/// The schema `aqueduct.plugin.v1`, generated from `proto/plugin/v1/plugin.proto`;
/// `crates/wire/tests/schemas.rs` writes it again.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod v1 {
    include!("generated/aqueduct.plugin.v1.rs");
}

/// Version of the contract.
pub const VERSION: u32 = 1;

/// The environment variable with the path of the socket.
pub const SOCKET: &str = "AQUEDUCT_PLUGIN_SOCKET";

static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

static INTERCEPTORS: &[Entry<dyn Interceptor>] = &[entry::<interceptor::Config>()];

static SELECTORS: &[Entry<dyn ChannelSelector>] = &[entry::<selector::Config>()];

static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

static ENCODERS: &[Entry<dyn Encoder>] = &[entry::<encoder::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("process"),
    sources: SOURCES,
    interceptors: INTERCEPTORS,
    selectors: SELECTORS,
    sinks: SINKS,
    encoders: ENCODERS,
    ..Group::EMPTY
};
