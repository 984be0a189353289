//! The URL of a store: which file system, and which path in it.

use std::fmt;
use std::sync::Arc;

use pipeline::Env;

use crate::hdfs::{Hdfs, HdfsAccess};
use crate::local::Local;
use crate::{FileSystem, FsError};

/// The URL of a store, parsed but not connected. `%` has no meaning here: the path is as it is
/// written, so that it may hold escapes for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    scheme: Scheme,
    /// `host:port`, or a name service; empty for `file`.
    authority: String,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    File,
    Hdfs,
    Viewfs,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hdfs => "hdfs",
            Self::Viewfs => "viewfs",
        }
    }
}

impl StoreUrl {
    /// Takes a URL apart, without any I/O.
    ///
    /// # Errors
    /// The scheme is not known, or host or path do not fit it.
    pub fn parse(url: &str) -> Result<Self, FsError> {
        let unusable =
            |problem: &str| FsError::Unusable { url: url.into(), problem: problem.into() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| {
            unusable("write for example file:///data/logs or hdfs://namenode:8020/logs")
        })?;
        let scheme = match scheme {
            "file" => Scheme::File,
            "hdfs" => Scheme::Hdfs,
            "viewfs" => Scheme::Viewfs,
            _ => return Err(unusable("the schemes are file, hdfs and viewfs")),
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        match scheme {
            Scheme::File if !authority.is_empty() => {
                return Err(unusable("three slashes follow file: as in file:///data/logs"));
            }
            Scheme::Hdfs | Scheme::Viewfs if authority.is_empty() => {
                return Err(unusable("the host, or the name service, is missing"));
            }
            _ => {}
        }
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err(unusable("the path is missing"));
        }
        if path.split('/').skip(1).any(|name| matches!(name, "" | "." | "..")) {
            return Err(unusable("the path holds an empty name, `.` or `..`"));
        }
        Ok(Self { scheme, authority: authority.into(), path: path.into() })
    }

    /// The path, absolute, without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The store without a path in it: `hdfs://namenode:8020`, `file://`.
    pub fn store(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority)
    }

    /// Whether it is a directory of this host, and not of HDFS.
    pub fn is_local(&self) -> bool {
        self.scheme == Scheme::File
    }

    /// The file system that the URL names; `access` is for HDFS. A network is reached with the
    /// first call only.
    ///
    /// # Errors
    /// The client's own set-up is wrong.
    pub fn connect(&self, access: &HdfsAccess, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
        match self.scheme {
            Scheme::File => Ok(Arc::new(Local::new(env.clone()))),
            Scheme::Hdfs | Scheme::Viewfs => {
                Ok(Arc::new(Hdfs::connect(&self.store(), access, env)?))
            }
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_printed_again() {
        for url in
            ["file:///data/logs", "hdfs://nn:8020/logs/%Y-%m-%d/%{host}", "hdfs://cluster/logs"]
        {
            assert_eq!(StoreUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(StoreUrl::parse("hdfs://nn:8020/logs/").unwrap().path(), "/logs");
    }

    #[test]
    fn a_url_that_cannot_be_a_store_is_refused() {
        for url in [
            "/data/logs",
            "s3://bucket/logs",
            "file://data/logs",
            "hdfs:///logs",
            "hdfs://nn:8020",
            "file:///",
            "file:///data/../etc",
            "file:///data//logs",
        ] {
            assert!(matches!(StoreUrl::parse(url), Err(FsError::Unusable { .. })), "{url}");
        }
    }
}
