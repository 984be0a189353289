//! Appends to Apache Iceberg tables (format version 2), without clock and I/O.
//!
//! ```text
//!  entries of a commit ledger ─► Appender: which ones does the table lack?
//!        │ files                      │ Append { base, from, to }
//!        ▼                            ▼
//!   manifest ─► manifest list ─► commit request: snapshot + number of the next entry
//!   (Avro)      (Avro, with the     (JSON, with the requirements that the base is unchanged)
//!                manifests of the base)
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`appender`] | decides the next step to get entries into a table |
//! | [`metadata`] | the metadata of a table, as a catalog returns it |
//! | [`schema`] | the schema of a table, and of a new one |
//! | `evolution` | compares the columns of files with a table; changes its schema |
//! | [`partition`] | partition values of a file |
//! | [`position`] | how far a ledger got in a table, and with how many rows |
//! | [`location`] | URLs of a table and its files |
//! | [`manifest`] | manifests and manifest lists |
//! | [`request`] | the requests to a REST catalog |
//! | [`versions`] | the same in numbered files, without a catalog server |

pub mod appender;
mod avro;
mod evolution;
pub mod location;
pub mod manifest;
pub mod metadata;
pub mod partition;
pub mod position;
pub mod request;
pub mod schema;
mod transform;
pub mod versions;

pub use evolution::Evolution;

/// Why a table cannot be appended to. Every message explains what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The answer of the catalog, or a file of the table, is malformed.
    #[error("the table has invalid metadata: {problem}; check the catalog")]
    Malformed {
        /// The problem.
        problem: String,
    },
    /// The table needs a feature that is not supported.
    #[error("the table {problem}")]
    Unsupported {
        /// The feature, and what to do.
        problem: String,
    },
    /// The columns of the files are not the columns of the table.
    #[error("the columns of the encoder do not match the table: {problem}")]
    Columns {
        /// The difference, and what to do.
        problem: String,
    },
}

impl TableError {
    /// Creates an error for malformed metadata.
    pub(crate) fn malformed(problem: impl std::fmt::Display) -> Self {
        Self::Malformed { problem: problem.to_string() }
    }
}
