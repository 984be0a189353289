//! A gateway (HttpFS of Hadoop), which ignores the options of a commit.
//!
//! | option | behaviour | handling |
//! |---|---|---|
//! | `renameoptions=NONE` | the rename of old HDFS: one step, never replacing, but *into* an existing directory; `false` for every refusal | names are checked before, and after a `false`; directories that race contain a name like their own ([`storage::FileSystem::rename`]) |
//! | `createparent=false` | creates the directories | its directory is checked first; a directory that is deleted at that very moment is recreated, with a file that no entry names |
//! | `createflag=create,sync_block` | leaves the end of a file in page caches | refused, unless the configuration states that the cluster syncs files on close |
//!
//! `GETSERVERDEFAULTS` succeeds only for an HDFS and not for other file systems: only HDFS is known
//! to rename in this way.

use hyper::Method;
use storage::FsError;

use crate::calls::{Call, Calls};

/// The remedy if the configuration does not state that closed files are durable.
const UNSYNCED: &str = "the server is a gateway such as HttpFS, not a NameNode, so files are not \
                        synced when they are closed. If the DataNodes sync on close \
                        (dfs.datanode.synconclose = true), set `webhdfs.synconclose = true` in the \
                        sink, or --synconclose in `aqueduct ledger`; otherwise use the web server \
                        of the NameNode (port 9870 by default) or an hdfs:// `url`";

/// The remedy for a gateway without HDFS.
const NO_HDFS: &str = "the gateway does not report an HDFS (GETSERVERDEFAULTS), and renames in \
                       other file systems are not safe for commits; use HttpFS of Hadoop 3.4 or \
                       later with one HDFS, or the URL of the store itself";

/// Checks that files can be stored through this gateway.
///
/// # Errors
/// The reason and the remedy; or it did not answer.
pub(crate) async fn accept(calls: &Calls, path: &str, synconclose: bool) -> Result<(), FsError> {
    if !synconclose {
        return Err(Call::new("create", path).unfit(UNSYNCED));
    }
    let asked = Call::new("create", "/");
    match calls.ask(asked, Method::GET, &[("op", "GETSERVERDEFAULTS")]).await {
        Ok(_) => Ok(()),
        Err(FsError::Unfit { source, .. }) => Err(asked.unfit(&format!("{source}; {NO_HDFS}"))),
        Err(error) => Err(error),
    }
}

/// Checks that a rename can be requested, given whether the old and the new name exist.
///
/// # Errors
/// As for a rename.
pub(crate) fn fit(from: &str, to: &str, seen: (bool, bool)) -> Result<(), FsError> {
    match seen {
        (false, _) => Err(FsError::NotFound { path: from.into() }),
        (true, true) => Err(FsError::AlreadyExists { path: to.into() }),
        (true, false) => Ok(()),
    }
}
