//! The sinks that write documents into search engines.
//!
//! ```text
//!   index     the name of the index that an event goes to (pure)
//!   document  an event as a document (pure)
//!   bulk      requests of the bulk API, and what their answers say of each document (pure)
//!   client    the nodes of a cluster: one answers, or the next one is asked
//!   sink      the sink `elasticsearch`
//! ```

mod bulk;
mod client;
mod document;
mod index;
pub mod sink;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink};

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("search"),
    sinks: SINKS,
    ..Group::EMPTY
};
