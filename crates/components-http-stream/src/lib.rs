//! The sources that ask a server of HTTP for its events.
//!
//! ```text
//!   client    requests: headers, tokens, TLS; what an answer other than 200 means
//!   backoff   how long to wait after what kind of failure (pure)
//!   sse       bytes ↔ events of a stream of server-sent events (pure)
//!   progress  where the source stands, and the ids that it knows again (pure)
//!   round     what is put at once
//!   storing   one put after the other, with the position in the same write
//!   stream    the source `http_stream`
//!   poll      the source `http_poll`
//! ```

mod backoff;
mod client;
pub mod poll;
mod progress;
mod round;
mod sse;
mod storing;
pub mod stream;

use pipeline::component::entry;
use pipeline::{Entry, Group, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<poll::Config>(), entry::<stream::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("http_stream"),
    sources: SOURCES,
    ..Group::EMPTY
};
