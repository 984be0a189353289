//! The sources that request events from an HTTP server.
//!
//! ```text
//!   client    requests: headers, tokens, TLS; errors from responses
//!   backoff   pauses after failures, by kind (pure)
//!   sse       bytes ↔ server-sent events (pure)
//!   progress  the position of the source, and the ids of recent events (pure)
//!   round     the events of a put
//!   stream    the source `http_stream`
//!   poll      the source `http_poll`
//! ```

mod backoff;
mod client;
pub mod poll;
mod progress;
mod round;
mod sse;
pub mod stream;

use pipeline::component::entry;
use pipeline::{Entry, Group, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<poll::Config>(), entry::<stream::Config>()];

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("http_stream"),
    sources: SOURCES,
    ..Group::EMPTY
};
