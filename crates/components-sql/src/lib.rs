//! The SQL components, with the clients of the databases.
//!
//! ```text
//!   database    the connection settings: address and user
//!   connection  one of four clients: PostgreSQL, MySQL or MariaDB, SQLite, and ODBC for all others
//!   odbc        the ODBC client, with a thread for each connection
//!   dialect     differences between databases
//!   error       database errors, and whether a retry helps
//!   value       a value, and its form in a body; meaning: how to interpret its text
//!   mysql       converts values of the MySQL client and of a binary log
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

/// All components, for a program's catalogue.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("sql"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
