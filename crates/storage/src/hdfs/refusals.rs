//! Refusals of a NameNode that an operator can resolve, with the remedy for each.
//!
//! The NameNode returns the same reasons to both clients: over its own protocol (the crate
//! `storage-hdfs`) and over HTTP (`storage-webhdfs`). The texts are from Hadoop 3.4.

/// The meaning of an error of HDFS or Kerberos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No KDC is reachable: a retry may succeed.
    Away,
    /// This identity lacks the right.
    Denied,
    /// The store or the client is not set up for the call.
    Unusable,
    /// A quota or the disks are full.
    NoRoom,
    /// The NameNode is in safe mode.
    Safe,
}

use Kind::{Denied, NoRoom, Safe};

/// Part of the text of a refusal, its kind and the remedy.
const REFUSALS: &[(&str, Kind, &str)] = &[
    (
        "NSQuotaExceededException",
        NoRoom,
        "raise the name quota with `hdfs dfsadmin -setQuota N DIRECTORY`, or delete files there: \
         `hdfs dfs -count -q -v DIRECTORY` shows the usage",
    ),
    (
        "DSQuotaExceededException",
        NoRoom,
        "raise the space quota with `hdfs dfsadmin -setSpaceQuota N DIRECTORY`, or delete files \
         there: `hdfs dfs -count -q -v DIRECTORY` shows the usage. An open file counts as a whole \
         block in each copy: a smaller `block_size` needs less",
    ),
    (
        "QuotaByStorageTypeExceededException",
        NoRoom,
        "raise the quota with `hdfs dfsadmin -setSpaceQuota N -storageType TYPE DIRECTORY`, or \
         delete files there",
    ),
    (
        "Permission denied: user=",
        Denied,
        "grant this user the directory with `hdfs dfs -chown`, or write permission with `hdfs dfs \
         -chmod` or `-setfacl`; each parent directory needs execute permission (x)",
    ),
    (
        "could only be written to",
        NoRoom,
        "DataNodes are dead, full or excluded: `hdfs dfsadmin -report` shows live DataNodes and \
         their free space",
    ),
    (
        "SafeModeException",
        Safe,
        "it ends automatically when the DataNodes have reported enough blocks; if an operator or a \
         full NameNode disk started it, run `hdfs dfsadmin -safemode leave`",
    ),
];

/// Returns the kind and the remedy of a refusal that an operator can lift: a quota, a right, safe
/// mode, DataNodes without room. `text` is the name of the NameNode's exception, and its message.
pub fn refusal(text: &str) -> Option<(Kind, &'static str)> {
    let known = REFUSALS.iter().find(|(part, ..)| text.contains(part))?;
    Some((known.1, known.2))
}
