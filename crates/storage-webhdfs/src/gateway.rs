//! What a gateway (HttpFS of Hadoop) takes that passes over the options of a commit.
//!
//! | what is asked for | what it does | what is done about it |
//! |---|---|---|
//! | `renameoptions=NONE` | the rename of old HDFS: one step, never replacing, but *into* a directory that is there; `false` for every refusal | names are looked at before, and after a `false`; directories that race hold a name like their own ([`storage::FileSystem::rename`]) |
//! | `createparent=false` | makes the directories | its directory is looked for first; what is deleted at that very moment comes back, with a file that no entry names |
//! | `createflag=create,sync_block` | leaves the end of a file in page caches | refused, unless it is stated that the cluster syncs what it closes |
//!
//! `GETSERVERDEFAULTS` is answered where an HDFS is behind it, and by no other file system: only of
//! HDFS is it known how the old rename does its work.

use hyper::Method;
use storage::FsError;

use crate::calls::{Asked, Calls};

/// What helps where it is not stated that closed files are durable.
const UNSYNCED: &str = "this is a gateway, as HttpFS is, and not a NameNode: it does not ask for a \
     sync when a file is closed. If the DataNodes sync by themselves (dfs.datanode.synconclose = \
     true), say so by `webhdfs.synconclose = true` of the sink, or --synconclose of `aqueduct \
     ledger`; if not, name the web server of the NameNode itself, port 9870 unless set, or write \
     an hdfs:// `url`";

/// What helps where no HDFS is behind it.
const NO_HDFS: &str = "the gateway does not say that an HDFS is behind it (GETSERVERDEFAULTS), and \
     the renames of other file systems are not what a commit needs; use HttpFS of Hadoop 3.4 or \
     later in front of one HDFS, or write the URL of the store itself";

/// That files can be stored by way of this gateway.
///
/// # Errors
/// They cannot, and what helps; or it did not answer.
pub(crate) async fn accept(calls: &Calls, path: &str, synconclose: bool) -> Result<(), FsError> {
    if !synconclose {
        return Err(Asked::of("create", path).unfit(UNSYNCED));
    }
    let asked = Asked::of("create", "/");
    match calls.ask(asked, Method::GET, &[("op", "GETSERVERDEFAULTS")]).await {
        Ok(_) => Ok(()),
        Err(FsError::Unfit { source, .. }) => Err(asked.unfit(&format!("{source}; {NO_HDFS}"))),
        Err(error) => Err(error),
    }
}

/// That a rename can be asked for, where the old and the new name were seen to be there or not.
///
/// # Errors
/// As of a rename.
pub(crate) fn fit(from: &str, to: &str, seen: (bool, bool)) -> Result<(), FsError> {
    match seen {
        (false, _) => Err(FsError::NotFound { path: from.into() }),
        (true, true) => Err(FsError::AlreadyExists { path: to.into() }),
        (true, false) => Ok(()),
    }
}
