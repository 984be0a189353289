//! Errors of a metastore.

use formats::thrift::Malformed;
use thiserror::Error;

/// Why a metastore call failed.
#[derive(Debug, Error)]
pub(crate) enum MetastoreError {
    /// The metastore is unreachable.
    #[error("no connection to the metastore {address}: start it, or correct `hive.metastore`")]
    Connect {
        /// Its address.
        address: String,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke during a call.
    #[error("the connection to the metastore {address} broke")]
    Broken {
        /// Its address.
        address: String,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// It requires a SASL login.
    #[error(
        "the metastore {address} answers as one with Kerberos (`hive.metastore.sasl.enabled`), \
         which this sink cannot log in to: name one without it in `hive.metastore`, or remove \
         `hive` and add partitions by a job of your own"
    )]
    Sasl {
        /// Its address.
        address: String,
    },
    /// Its response is not a valid message.
    #[error(
        "the answer of the metastore {address} cannot be read; if it frames its messages, set \
         `hive.framed = true`, or else `false`"
    )]
    Malformed {
        /// Its address.
        address: String,
        /// The error in the message.
        #[source]
        source: Malformed,
    },
    /// It does not support the call.
    #[error("the metastore {address} has no call `{call}`: it is older than Hive 2.2")]
    NoCall {
        /// Its address.
        address: String,
        /// The call.
        call: &'static str,
    },
    /// The call failed there.
    #[error("`{call}` failed in the metastore: {text}")]
    Failed {
        /// The call.
        call: &'static str,
        /// Its message.
        text: String,
    },
    /// A `MetaException`: an error of the metastore itself.
    #[error("the metastore fails in `{call}`: {text}; its own log says more")]
    Meta {
        /// The call.
        call: &'static str,
        /// Its message.
        text: String,
    },
    /// A `NoSuchObjectException`.
    #[error("the metastore knows no such thing in `{call}`: {text}")]
    NoSuchObject {
        /// The call.
        call: &'static str,
        /// Its message.
        text: String,
    },
    /// An `AlreadyExistsException`.
    #[error("it is in the metastore already: {text}")]
    AlreadyExists {
        /// Its message.
        text: String,
    },
    /// An `InvalidObjectException`.
    #[error("the metastore takes no such object in `{call}`: {text}")]
    InvalidObject {
        /// The call.
        call: &'static str,
        /// Its message.
        text: String,
    },
    /// The table does not exist.
    #[error("there is no table `{table}` in the metastore: create it, or set `hive.create = true`")]
    NoTable {
        /// Database and name.
        table: String,
    },
    /// The table has other partition columns.
    #[error(
        "the table `{table}` is partitioned by ({found}) and the path of `url` by ({wanted}): \
         change one of the two, or name another table in `hive.table`"
    )]
    OtherKeys {
        /// Database and name.
        table: String,
        /// The columns of the table.
        found: String,
        /// The columns of the path.
        wanted: String,
    },
    /// The table is transactional, and rejects files from outside.
    #[error(
        "the table `{table}` is transactional, and such a table takes no files from outside: \
         name an external one in `hive.table`"
    )]
    Transactional {
        /// Database and name.
        table: String,
    },
}

impl MetastoreError {
    /// Returns whether another metastore of the same database may succeed.
    pub(super) fn is_of_one(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Sasl { .. }
            | Self::Malformed { .. }
            | Self::NoCall { .. }
            | Self::Meta { .. } => true,
            Self::Failed { .. }
            | Self::NoSuchObject { .. }
            | Self::AlreadyExists { .. }
            | Self::InvalidObject { .. }
            | Self::NoTable { .. }
            | Self::OtherKeys { .. }
            | Self::Transactional { .. } => false,
        }
    }
}
