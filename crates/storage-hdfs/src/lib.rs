//! HDFS by its own protocol, as a store: `hdfs://` and `viewfs://` URLs.
//!
//! | module | contents |
//! |---|---|
//! | `client` | the calls of a store, each with a time limit |
//! | `access` | checks of the settings, the principal and its ticket cache |
//! | `reachability` | checks whether the NameNode is reachable |
//! | `explain`, `remedy` | the meaning of an error, and its remedy |
//! | `delayed_close` | a pause that saves `close` from a wait of 500 ms |

mod access;
mod client;
mod delayed_close;
mod explain;
mod reachability;
mod remedy;

use std::sync::Arc;

use pipeline::Env;
use storage::hdfs::HdfsAccess;
use storage::{FileSystem, FsError, StoreUrl};

pub use client::Hdfs;

/// Opens the HDFS of an `hdfs://` or `viewfs://` URL. The first call connects.
///
/// # Errors
/// The configuration cannot be read or does not know the name service, or the keytab cannot be
/// read.
pub fn open(
    url: &StoreUrl,
    access: &HdfsAccess,
    env: &Env,
) -> Result<Arc<dyn FileSystem>, FsError> {
    Ok(Arc::new(Hdfs::connect(&url.store(), access, env)?))
}
