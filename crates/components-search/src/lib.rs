//! The sinks that write documents into search engines.
//!
//! ```text
//!   setup     what their settings have in common
//!   index     the name of the index or collection that an event goes to (pure)
//!   events    where the events of a batch go, and by which ids (pure)
//!   document  an event as a document (pure)
//!   flat      an event as a flat document, for Solr (pure)
//!   bulk      requests of the bulk API, and what their answers say of each document (pure)
//!   client    the nodes of a cluster: one answers, or the next one is asked
//!   sink      the sink `elasticsearch`
//!   solr      the sink `solr`
//! ```

mod bulk;
mod client;
mod document;
mod events;
mod flat;
mod index;
mod setup;
pub mod sink;
pub mod solr;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink};

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>(), entry::<solr::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("search"),
    sinks: SINKS,
    ..Group::EMPTY
};
