//! ODBC: one connection to whatever database has a driver.
//!
//! ```text
//!   components-sql ──► Session ──► odbc-api ──► libodbc ──► driver ──► database
//!     dialects,          values,     the C        the manager of the system,
//!     positions, ledger  types       interface    linked with the feature `unixodbc` alone
//! ```
//!
//! What this crate knows is how values cross the C interface, and nothing of SQL: statements are
//! texts that are given, with `?` for each parameter. Every call blocks its thread, and a driver
//! may block for as long as it likes: the caller waits elsewhere, and no longer than it wants to.
//!
//! Invariants:
//!
//! - A text is UTF-16 at the interface, in both directions: what a driver makes of bytes depends
//!   on the locale of the process.
//! - A decimal number, a date and a time are texts, as the driver writes them: no digit is lost.
//! - Memory is bounded: columns of known and small sizes are fetched in blocks of [`BLOCK_BYTES`];
//!   a row with any other column is fetched by itself, its values in pieces of 4 KiB, up to
//!   [`VALUE_BYTES_MAX`] for all of them.
//! - A password is part of the text that connects, and of no message.
//!
//! | module | what it does |
//! |---|---|
//! | `types` | values, columns and problems |
//! | `driver` | the connection, with the feature `unixodbc` |
//! | `absent` | the same in a build without it: each connection is refused, with the remedy |

#[cfg(not(feature = "unixodbc"))]
mod absent;
#[cfg(feature = "unixodbc")]
mod driver;
mod types;

#[cfg(not(feature = "unixodbc"))]
pub use absent::Session;
#[cfg(feature = "unixodbc")]
pub use driver::Session;
pub use types::{Column, Kind, Problem, Value};

/// Bytes of a block of rows at most, about.
pub const BLOCK_BYTES: usize = 4 << 20;
/// Bytes of the values of a row at most.
pub const VALUE_BYTES_MAX: usize = 256 << 20;
