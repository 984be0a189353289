//! The sink `hbase`, with a client of HBase's native protocol.
//!
//! ```text
//!   proto      the required messages of HBase
//!   rpc        a connection to a server: one call after the other
//!   failure    errors, and the meaning of HBase exceptions
//!   zookeeper  reads the location of `hbase:meta`
//!   cluster    finds it with the masters or ZooKeeper; keeps connections
//!   regions    the region of each row, and its server
//!   writer     actions ──► regions ──► servers, until each is done or rejected
//!   sink       events ──► actions
//! ```

mod cluster;
mod failure;
mod proto;
mod regions;
mod rpc;
pub mod sink;
mod writer;
mod zookeeper;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink};

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All components, for a program's catalogue.
pub static GROUP: Group =
    Group { package: env!("CARGO_PKG_NAME"), feature: Some("hbase"), sinks: SINKS, ..Group::EMPTY };
