//! The components that speak SQL, with the clients of the databases.
//!
//! ```text
//!   database    the settings of a connection: where it leads, as which user
//!   connection  one of four: PostgreSQL, MySQL or MariaDB, SQLite, and ODBC for all others
//!   odbc        the last of them, a thread for each connection
//!   dialect     what databases say in different words
//!   error       what went wrong, and whether another attempt helps
//!   value       a value, and how it stands in a body; meaning: what its text means
//!   mysql       values of the client of MySQL, and of a binary log, as those
//!   source      pages of rows ──► events, with the position in the same write
//!   changes     the log of PostgreSQL, MySQL or MariaDB ──► events, the position in the same write
//!   sink        events ──► rows, with the identity of their batch in the same transaction
//! ```

pub mod changes;
mod connection;
mod database;
mod dialect;
mod error;
mod meaning;
mod mysql;
mod odbc;
pub mod sink;
pub mod source;
#[cfg(test)]
mod testing;
mod value;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>(), entry::<changes::Config>()];

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
