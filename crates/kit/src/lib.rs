//! The shared code of sources and sinks. It knows no component.
//!
//! ```text
//!   clients   ─► listening ─► tenants ─► decoding ─► serve ──┐
//!   datagrams ─► gathered ───────────────────────────────────┤
//!   brokers   ─► messages ─► consume ────────────────────────┼─► channels
//!   positions ─► follow ─────────────────────────────────────┘
//!
//!   channels ─► places, record, refused, http ─► a server
//! ```
//!
//! | module | of sources that listen |
//! |---|---|
//! | `listening` | the accept loop: connections, TLS, handshakes, refused peers |
//! | `tenants` | rates, shares, turns and backlogs of the senders of a source |
//! | `datagrams` | sockets of UDP and their queue |
//! | `decoding` | messages ─► events, within the memory of their tenant |
//! | `http::body` | bodies of requests, read within their limits |
//! | `serve` | the adapter for clients that connect |
//! | `storing` | a batch that a client waits for ─► the channels |
//! | `repeats` | calls that are sent again, recognised |
//! | `gathered` | events without positions ─► batches ─► the channels |
//! | `multiline` | lines ─► events of several lines |
//! | `command_errors` | what a command prints on its standard error |
//!
//! | module | of sources that read |
//! |---|---|
//! | `messages` | messages of a broker ─► events of one put |
//! | `broker` | errors of connections to brokers |
//! | `consume` | the adapter for messages that are acknowledged when they are stored |
//! | `follow` | the adapter for peers with positions, which the channels store |
//! | `puts` | one put of both adapters, and its retries |
//!
//! | module | of sinks |
//! |---|---|
//! | `places` | connections, one for each batch in flight |
//! | `record` | batches of an origin that are applied |
//! | `refused` | events that are refused one by one |
//! | `http` | URLs, headers and answers of HTTP |
//!
//! `plug_in` is shared by plug-ins of each kind. `bounds` limits nested values from outside,
//! `waits` waits for what may not be there, `first` tries several addresses. A form of bytes
//! belongs into the crate `formats`; what only one component needs stays with it.

pub mod bounds;
pub mod broker;
pub mod command_errors;
pub mod consume;
pub mod datagrams;
pub mod decoding;
pub mod first;
pub mod follow;
pub mod gathered;
pub mod http;
pub mod listening;
pub mod messages;
pub mod multiline;
pub mod places;
pub mod plug_in;
mod puts;
pub mod record;
pub mod refused;
pub mod repeats;
pub mod serve;
pub mod storing;
pub mod tenants;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod waits;
