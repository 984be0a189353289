//! Opens the store of a URL, by its scheme.

use std::sync::Arc;

use pipeline::Env;
use storage::hdfs::HdfsAccess;
use storage::{FileSystem, FsError, StoreUrl};

/// How to access the stores; by default, the environment determines everything.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// An HDFS.
    pub hdfs: HdfsAccess,
    /// Buckets.
    #[cfg(feature = "objects")]
    pub objects: storage_objects::Access,
    /// An HDFS over HTTP.
    #[cfg(feature = "webhdfs")]
    pub webhdfs: storage_webhdfs::Access,
}

/// Opens the store of a URL.
type Opener = fn(&StoreUrl, &Access, &Env) -> Result<Arc<dyn FileSystem>, FsError>;

/// The schemes of stores with their own crate.
static OPENERS: &[(&str, Opener)] = &[
    #[cfg(feature = "hdfs")]
    ("hdfs", hdfs),
    #[cfg(feature = "hdfs")]
    ("viewfs", hdfs),
    #[cfg(feature = "objects")]
    ("s3", bucket),
    #[cfg(feature = "objects")]
    ("gs", bucket),
    #[cfg(feature = "objects")]
    ("abfs", bucket),
    #[cfg(feature = "objects")]
    ("abfss", bucket),
    #[cfg(feature = "webhdfs")]
    ("webhdfs", by_http),
    #[cfg(feature = "webhdfs")]
    ("swebhdfs", by_http),
];

#[cfg(feature = "hdfs")]
fn hdfs(url: &StoreUrl, access: &Access, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
    storage_hdfs::open(url, &access.hdfs, env)
}

#[cfg(feature = "objects")]
fn bucket(url: &StoreUrl, access: &Access, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
    storage_objects::open(url, &access.objects, env)
}

#[cfg(feature = "webhdfs")]
fn by_http(url: &StoreUrl, access: &Access, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
    storage_webhdfs::open(url, &access.hdfs, &access.webhdfs, env)
}

/// Returns the store of the URL. The first call connects.
///
/// # Errors
/// The client's setup is wrong, or this program does not support the scheme.
pub fn open(url: &StoreUrl, access: &Access, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
    match OPENERS.iter().find(|(scheme, _)| *scheme == url.scheme()) {
        Some((_, open)) => open(url, access, env),
        None => url.connect(env),
    }
}
