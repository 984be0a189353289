//! The sink `hbase`, with a client of HBase's own protocol.
//!
//! ```text
//!   proto      the messages of HBase that are needed
//!   rpc        a connection to a server: one call after the other
//!   failure    what went wrong; what the name of an exception of HBase means
//!   zookeeper  the one read that says where `hbase:meta` is
//!   cluster    where it is by the masters or ZooKeeper; connections
//!   regions    which region has a row, and where it is
//!   writer     actions ──► regions ──► servers, until each is done or refused
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

/// All of them, for the catalogue of a program.
pub static GROUP: Group =
    Group { package: env!("CARGO_PKG_NAME"), feature: Some("hbase"), sinks: SINKS, ..Group::EMPTY };
