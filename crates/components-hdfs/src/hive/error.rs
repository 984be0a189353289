//! Why a metastore did not do what it was asked for.

use formats::thrift::Malformed;
use thiserror::Error;

/// Why a metastore did not do what it was asked for.
#[derive(Debug, Error)]
pub(crate) enum MetastoreError {
    /// It is not reached.
    #[error("no connection to the metastore {address}: start it, or correct `hive.metastore`")]
    Connect {
        /// Its address.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke during a call.
    #[error("the connection to the metastore {address} broke")]
    Broken {
        /// Its address.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It asks for a login by SASL.
    #[error(
        "the metastore {address} answers as one with Kerberos (`hive.metastore.sasl.enabled`), \
         which this sink cannot log in to: name one without it in `hive.metastore`, or remove \
         `hive` and add partitions by a job of your own"
    )]
    Sasl {
        /// Its address.
        address: String,
    },
    /// What it answered is no message.
    #[error(
        "the answer of the metastore {address} cannot be read; if it frames its messages, set \
         `hive.framed = true`, or else `false`"
    )]
    Malformed {
        /// Its address.
        address: String,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// It has no such call.
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
        /// What it said.
        text: String,
    },
    /// A `MetaException`: something is wrong with the metastore itself.
    #[error("the metastore fails in `{call}`: {text}; its own log says more")]
    Meta {
        /// The call.
        call: &'static str,
        /// What it said.
        text: String,
    },
    /// A `NoSuchObjectException`.
    #[error("the metastore knows no such thing in `{call}`: {text}")]
    NoSuchObject {
        /// The call.
        call: &'static str,
        /// What it said.
        text: String,
    },
    /// An `AlreadyExistsException`.
    #[error("it is in the metastore already: {text}")]
    AlreadyExists {
        /// What it said.
        text: String,
    },
    /// An `InvalidObjectException`.
    #[error("the metastore takes no such object in `{call}`: {text}")]
    InvalidObject {
        /// The call.
        call: &'static str,
        /// What it said.
        text: String,
    },
    /// There is no such table.
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
        /// Those that it has.
        found: String,
        /// Those of the path.
        wanted: String,
    },
    /// It is a transactional table, which takes no files from outside.
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
    /// Whether another metastore of the same database may do better.
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
