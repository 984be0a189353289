//! Errors of a metastore.

use formats::thrift::Malformed;
use thiserror::Error;

/// The settings that access a metastore, as messages name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingNames {
    /// `hive`: partitions of a table.
    Hive,
    /// `iceberg`: an Iceberg table.
    Iceberg,
}

impl SettingNames {
    /// Returns the section of the settings.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Hive => "hive",
            Self::Iceberg => "iceberg",
        }
    }

    /// Returns the setting with the addresses.
    fn metastore(self) -> &'static str {
        match self {
            Self::Hive => "hive.metastore",
            Self::Iceberg => "iceberg.catalog",
        }
    }

    /// Returns the settings with the name of the table.
    fn table(self) -> &'static str {
        match self {
            Self::Hive => "`hive.database` and `hive.table`",
            Self::Iceberg => "`iceberg.table`",
        }
    }

    /// Returns what to do about a metastore that requires a login.
    fn without_login(self) -> &'static str {
        match self {
            Self::Hive => {
                "set `hive.metastore` to one without Kerberos, or remove `hive` and add partitions \
                 with your own job"
            }
            Self::Iceberg => {
                "set `iceberg.catalog` to one without Kerberos, or to a REST catalog of the same \
                 tables"
            }
        }
    }
}

/// Why a metastore call failed.
#[derive(Debug, Error)]
pub(crate) enum MetastoreError {
    /// The metastore is unreachable.
    #[error(
        "cannot connect to the metastore {address}: start it, or correct `{}`",
        names.metastore()
    )]
    Connect {
        /// Its address.
        address: String,
        /// The settings.
        names: SettingNames,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke during a call.
    #[error("lost the connection to the metastore {address}; retrying; see its log")]
    Broken {
        /// Its address.
        address: String,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// It requires a SASL login.
    #[error(
        "the metastore {address} requires Kerberos (`hive.metastore.sasl.enabled`), which this \
         sink does not support: {}",
        names.without_login()
    )]
    Sasl {
        /// Its address.
        address: String,
        /// The settings.
        names: SettingNames,
    },
    /// Its response is not a valid message.
    #[error(
        "cannot decode the response of the metastore {address}; set `{}.framed = true` if it uses \
         the framed transport, and `false` otherwise",
        names.section()
    )]
    Malformed {
        /// Its address.
        address: String,
        /// The settings.
        names: SettingNames,
        /// The error in the message.
        #[source]
        source: Malformed,
    },
    /// It does not support the call.
    #[error("the metastore {address} does not support `{call}`: use Hive 2.2 or later")]
    NoCall {
        /// Its address.
        address: String,
        /// The call.
        call: &'static str,
    },
    /// The call failed there.
    #[error("the call `{call}` failed in the metastore: {text}; see the log of the metastore")]
    Failed {
        /// The call.
        call: &'static str,
        /// Its message.
        text: String,
    },
    /// A `MetaException`: an error of the metastore itself.
    #[error("the call `{call}` failed in the metastore: {text}; see the log of the metastore")]
    Meta {
        /// The call.
        call: &'static str,
        /// Its message.
        text: String,
    },
    /// A `NoSuchObjectException`.
    #[error(
        "the call `{call}` failed in the metastore, because a database, table or partition does \
         not exist: {text}; create it, or correct {}",
        names.table()
    )]
    NoSuchObject {
        /// The call.
        call: &'static str,
        /// The settings.
        names: SettingNames,
        /// Its message.
        text: String,
    },
    /// A `NoSuchLockException`.
    #[error("the metastore has removed the lock of the table: {text}; retrying")]
    NoSuchLock {
        /// Its message.
        text: String,
    },
    /// An `AlreadyExistsException`.
    #[error("the table or partition already exists in the metastore: {text}; no action needed")]
    AlreadyExists {
        /// Its message.
        text: String,
    },
    /// An `InvalidObjectException`.
    #[error(
        "the metastore rejects the table or partition of `{call}` as invalid: {text}; compare the \
         table with the settings of `{}`",
        names.section()
    )]
    InvalidObject {
        /// The call.
        call: &'static str,
        /// The settings.
        names: SettingNames,
        /// Its message.
        text: String,
    },
    /// The table does not exist.
    #[error(
        "the table `{table}` does not exist in the metastore: create it, or set `hive.create = \
         true`"
    )]
    NoTable {
        /// Database and name.
        table: String,
    },
    /// The table has other partition columns.
    #[error(
        "the partition columns of table `{table}` are ({found}), but those in the path of `url` \
         are ({wanted}): change one of them, or set `hive.table` to another table"
    )]
    OtherKeys {
        /// Database and name.
        table: String,
        /// The columns of the table.
        found: String,
        /// The columns of the path.
        wanted: String,
    },
    /// The table has another directory.
    #[error(
        "the table `{table}` has its files in {found}, but the rows go to {wanted}: use another \
         table, drop this one, or write the rows into its directory"
    )]
    OtherPlace {
        /// Database and name.
        table: String,
        /// The directory of the table.
        found: String,
        /// The directory of the rows.
        wanted: String,
    },
    /// The table is transactional, and rejects files from outside.
    #[error(
        "the table `{table}` is transactional, so Hive does not read files that others add: set \
         `hive.table` to an external table"
    )]
    Transactional {
        /// Database and name.
        table: String,
    },
}

impl MetastoreError {
    /// Returns whether the call was answered or never sent, so that it is not executed later.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self, Self::Broken { .. } | Self::Malformed { .. })
    }

    /// Returns whether another metastore of the same database may succeed.
    pub(crate) fn is_of_one(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Sasl { .. }
            | Self::Malformed { .. }
            | Self::NoCall { .. }
            | Self::Meta { .. } => true,
            Self::Failed { .. }
            | Self::NoSuchLock { .. }
            | Self::NoSuchObject { .. }
            | Self::AlreadyExists { .. }
            | Self::InvalidObject { .. }
            | Self::NoTable { .. }
            | Self::OtherKeys { .. }
            | Self::OtherPlace { .. }
            | Self::Transactional { .. } => false,
        }
    }
}
