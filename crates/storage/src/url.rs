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
    /// `host:port`, a name service, or a bucket; empty for `file`.
    authority: String,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    File,
    Hdfs,
    Viewfs,
    S3,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hdfs => "hdfs",
            Self::Viewfs => "viewfs",
            Self::S3 => "s3",
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
            "s3" => Scheme::S3,
            _ => return Err(unusable("the schemes are file, hdfs, viewfs and s3")),
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
            Scheme::S3 if authority.is_empty() => {
                return Err(unusable("the bucket is missing: write s3://bucket/logs"));
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

    /// `host:port`, a name service, or a bucket; empty for a directory of this host.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Its first part: `file`, `hdfs`, `viewfs` or `s3`.
    pub fn scheme(&self) -> &'static str {
        self.scheme.name()
    }

    /// The file system that the URL names, of a scheme that this crate has itself; `access` is for
    /// HDFS. A network is reached with the first call only.
    ///
    /// # Errors
    /// The client's own set-up is wrong, or another crate has the scheme.
    pub fn connect(&self, access: &HdfsAccess, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
        match self.scheme {
            Scheme::File => Ok(Arc::new(Local::new(env.clone()))),
            Scheme::Hdfs | Scheme::Viewfs => {
                Ok(Arc::new(Hdfs::connect(&self.store(), access, env)?))
            }
            Scheme::S3 => Err(FsError::Unusable {
                url: self.to_string(),
                problem: "this program has no object stores; use one built with the feature `s3`"
                    .into(),
            }),
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
        for url in [
            "file:///data/logs",
            "hdfs://nn:8020/logs/%Y-%m-%d/%{host}",
            "hdfs://cluster/logs",
            "s3://bucket/a/%Y",
        ] {
            assert_eq!(StoreUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(StoreUrl::parse("hdfs://nn:8020/logs/").unwrap().path(), "/logs");
    }

    #[test]
    fn a_url_that_cannot_be_a_store_is_refused() {
        for url in [
            "/data/logs",
            "s4://bucket/logs",
            "s3:///logs",
            "s3://bucket",
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
