//! The components that speak SQL, with the clients of the databases.
//!
//! ```text
//!   database    the settings of a connection: where it leads, as which user
//!   connection  one of three: PostgreSQL, MySQL or MariaDB, SQLite
//!   error       what went wrong, and whether another attempt helps
//!   source      pages of rows ──► events, with the position in the same write
//!   sink        events ──► rows, with the identity of their batch in the same transaction
//! ```

mod connection;
mod database;
mod error;
pub mod sink;
pub mod source;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("sql"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
