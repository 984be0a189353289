//! The sinks for search engines.
//!
//! ```text
//!   setup     shared settings
//!   index     the name of an event's index or collection (pure)
//!   events    indexes and ids of the events of a batch (pure)
//!   document  converts an event to a document (pure)
//!   flat      converts an event to a flat document, for Solr (pure)
//!   bulk      requests of the bulk API, and the results in their responses (pure)
//!   client    the nodes of a cluster, with failover
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

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("search"),
    sinks: SINKS,
    ..Group::EMPTY
};
