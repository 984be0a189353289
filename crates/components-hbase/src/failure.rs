//! Errors, and the meaning of HBase exceptions.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Classify, ErrorClass};
use thiserror::Error;

/// Why a request failed.
#[derive(Debug, Error)]
pub(crate) enum HbaseError {
    /// The connection failed.
    #[error(
        "cannot connect to {address}; check that the server is running and reachable from this host"
    )]
    Connect {
        address: Arc<str>,
        #[source]
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("no answer from {address} within {limit:?}: check the server and the network")]
    Silent { address: Arc<str>, limit: Duration },
    /// The connection broke: the last request may or may not have taken effect.
    #[error(
        "lost the connection to {address}: {problem}; reconnecting; the batch is resent. If this \
         repeats, see the log of the server"
    )]
    Broken { address: Arc<str>, problem: String },
    /// The server rejected a call, or its content.
    #[error("{address} returned {exception}{}; see the log of that server", exception.help())]
    Refused { address: Arc<str>, exception: Exception },
    /// HBase rejected a counter from the settings.
    #[error("HBase cannot increment a column of `counters`, so events wait in the channel: \
             {exception}{}", exception.help())]
    Counter { exception: Exception },
    /// No server has a row now: its region is moving, or its server has died.
    #[error(
        "no region server serves a row of table `{table}`, so the batch is resent: {problem}; if \
         this lasts, check the table in the HBase master's page"
    )]
    Nowhere { table: Arc<str>, problem: String },
    /// The location of `hbase:meta` is unknown.
    #[error(
        "{address} does not return the location of the table hbase:meta, so batches wait: \
         {problem}; if this lasts, see the log of the HBase master"
    )]
    NoMeta { address: Arc<str>, problem: String },
    /// The table does not exist.
    #[error("table `{table}` does not exist: create it in HBase, or correct `table`")]
    NoTable { table: Arc<str> },
}

impl Classify for HbaseError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connect { .. } | Self::Nowhere { .. } | Self::NoMeta { .. } => {
                ErrorClass::Transient
            }
            Self::Silent { .. } | Self::Broken { .. } => ErrorClass::Indeterminate,
            Self::NoTable { .. } | Self::Counter { .. } => ErrorClass::Blocked,
            Self::Refused { exception, .. } => match exception.means() {
                Means::Moved | Means::Busy | Means::Passing => ErrorClass::Transient,
                // A rejected row becomes a dead letter; here it was not a row of an event.
                Means::Row | Means::Blocked => ErrorClass::Blocked,
            },
        }
    }
}

/// An exception sent by a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exception {
    /// Its class name, without packages.
    class: String,
    /// Its message, without the stack trace.
    message: String,
}

/// The meaning of an exception for the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// The region has moved, or is not open yet: look it up again.
    Moved,
    /// The server accepts no more requests now.
    Busy,
    /// It concerns a row, and a retry does not help.
    Row,
    /// Only an operator can help.
    Blocked,
    /// A retry may help.
    Passing,
}

/// Exceptions by meaning; all others are [`Means::Passing`].
const MEANINGS: &[(Means, &[&str])] = &[
    (
        Means::Moved,
        &[
            "NotServingRegionException",
            "RegionMovedException",
            "RegionOpeningException",
            "RegionServerStoppedException",
            "RegionServerAbortedException",
            "ServerNotRunningYetException",
            "WrongRegionException",
            "UnknownRegionException",
        ],
    ),
    (
        Means::Busy,
        &[
            "RegionTooBusyException",
            "CallQueueTooBigException",
            "CallDroppedException",
            "RpcThrottlingException",
            "PleaseHoldException",
        ],
    ),
    (Means::Row, &["NoSuchColumnFamilyException", "FailedSanityCheckException"]),
    (
        Means::Blocked,
        &[
            "AccessDeniedException",
            "BadAuthException",
            "DoNotRetryIOException",
            "FatalConnectionException",
            "NamespaceNotFoundException",
            "SpaceLimitingException",
            "TableNotEnabledException",
            "TableNotFoundException",
            "UnknownServiceException",
            "WrongVersionException",
        ],
    ),
];

/// Part of the message for a row larger than `hbase.server.keyvalue.maxsize`, whose class is used
/// for many failures.
const TOO_LARGE: &str = "exceeds limit of";

impl Exception {
    /// Creates an exception from its class name and its text with a stack trace.
    pub(crate) fn new(class: &str, text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix(class).unwrap_or(first).trim_start_matches(':').trim();
        let class = class.rsplit(['.', '$']).next().unwrap_or(class).to_owned();
        Self { class, message: message.to_owned() }
    }

    pub(crate) fn means(&self) -> Means {
        if self.class == "DoNotRetryIOException" && self.message.contains(TOO_LARGE) {
            return Means::Row;
        }
        let known = MEANINGS.iter().find(|(_, classes)| classes.contains(&&*self.class));
        known.map_or(Means::Passing, |(means, _)| *means)
    }

    /// Returns a hint for the class.
    fn help(&self) -> &'static str {
        match &*self.class {
            "AccessDeniedException" => {
                "; grant the user of `user` write access, or set another `user`"
            }
            "BadAuthException" => {
                "; the cluster requires Kerberos, which this sink does not support"
            }
            "TableNotEnabledException" => "; enable the table in HBase",
            "NoSuchColumnFamilyException" => "; add the family to the table in HBase",
            _ => "",
        }
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { class, message } = self;
        if message.is_empty() { f.write_str(class) } else { write!(f, "{class}: {message}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_SERVING: &str = "org.apache.hadoop.hbase.NotServingRegionException";

    #[test]
    fn classifies_exceptions_by_class_and_shows_their_first_line() {
        let text = format!("{NOT_SERVING}: t,,1.a. is not online\n\tat a.b.C(D.java:1)\n");
        let exception = Exception::new(NOT_SERVING, &text);
        assert_eq!(exception.to_string(), "NotServingRegionException: t,,1.a. is not online");
        assert_eq!(exception.means(), Means::Moved);
        assert_eq!(Exception::new(NOT_SERVING, "").to_string(), "NotServingRegionException");
    }

    #[test]
    fn each_kind_of_failure_has_its_class() {
        for (class, text, means, error_class) in [
            ("RegionTooBusyException", "", Means::Busy, ErrorClass::Transient),
            ("java.io.IOException", "", Means::Passing, ErrorClass::Transient),
            ("AccessDeniedException", "", Means::Blocked, ErrorClass::Blocked),
            ("a.DoNotRetryIOException", "read only", Means::Blocked, ErrorClass::Blocked),
            (
                "a.DoNotRetryIOException",
                "a.DoNotRetryIOException: Cell[x] with size 9 exceeds limit of 8 bytes",
                Means::Row,
                ErrorClass::Blocked,
            ),
            ("NoSuchColumnFamilyException", "", Means::Row, ErrorClass::Blocked),
        ] {
            let exception = Exception::new(class, text);
            assert_eq!(exception.means(), means, "{class}");
            let error = HbaseError::Refused { address: "a:1".into(), exception };
            assert_eq!(error.class(), error_class, "{class}");
        }
    }
}
