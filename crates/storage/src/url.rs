//! The URL of a store: which file system, and which path in it.

use std::fmt;
use std::sync::Arc;

use pipeline::Env;

use crate::local::Local;
use crate::{FileSystem, FsError};

/// The URL of a store, parsed but not connected. `%` has no special meaning: the path is used as it
/// is written, so that it may contain escapes of other layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    scheme: Scheme,
    /// `host:port`, a name service, a bucket, or `container@host`; empty for `file`.
    authority: String,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    File,
    Hdfs,
    Viewfs,
    Webhdfs,
    Swebhdfs,
    S3,
    Gs,
    Abfs,
    Abfss,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hdfs => "hdfs",
            Self::Viewfs => "viewfs",
            Self::Webhdfs => "webhdfs",
            Self::Swebhdfs => "swebhdfs",
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Abfs => "abfs",
            Self::Abfss => "abfss",
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
            unusable("begin with a scheme, as in file:///data/logs or hdfs://namenode:8020/logs")
        })?;
        let scheme = match scheme {
            "file" => Scheme::File,
            "hdfs" => Scheme::Hdfs,
            "viewfs" => Scheme::Viewfs,
            "webhdfs" => Scheme::Webhdfs,
            "swebhdfs" => Scheme::Swebhdfs,
            "s3" => Scheme::S3,
            "gs" => Scheme::Gs,
            "abfs" => Scheme::Abfs,
            "abfss" => Scheme::Abfss,
            other => return Err(unusable(&absent(other))),
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        match scheme {
            Scheme::File if !authority.is_empty() => {
                return Err(unusable("write file with three slashes, as in file:///data/logs"));
            }
            Scheme::Hdfs | Scheme::Viewfs if authority.is_empty() => {
                return Err(unusable(
                    "the host or name service is missing; write hdfs://namenode:8020/path, or \
                     hdfs://NAMESERVICE/path",
                ));
            }
            Scheme::Webhdfs | Scheme::Swebhdfs if !names_a_port(authority) => {
                return Err(unusable(
                    "write host and port of the NameNode's web server, as in \
                     webhdfs://namenode:9870/logs or swebhdfs://namenode:9871/logs",
                ));
            }
            Scheme::S3 if authority.is_empty() => {
                return Err(unusable("the bucket is missing: write s3://bucket/logs"));
            }
            Scheme::Gs if authority.is_empty() => {
                return Err(unusable("the bucket is missing: write gs://bucket/logs"));
            }
            Scheme::Abfs | Scheme::Abfss if !names_a_container(authority) => {
                return Err(unusable(
                    "write container and account, as in \
                     abfss://container@account.dfs.core.windows.net/logs",
                ));
            }
            _ => {}
        }
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err(unusable("the path is missing; append one, such as /logs"));
        }
        if path.split('/').skip(1).any(|name| matches!(name, "" | "." | "..")) {
            return Err(unusable(
                "the path contains an empty name, `.` or `..`; write it without them",
            ));
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

    /// `host:port`, a name service, a bucket, or `container@host`; empty for a directory of this
    /// host.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Its first part: `file`, `hdfs`, `viewfs`, `webhdfs`, `swebhdfs`, `s3`, `gs`, `abfs` or
    /// `abfss`.
    pub fn scheme(&self) -> &'static str {
        self.scheme.name()
    }

    /// Returns the error for a scheme whose client this program does not have.
    fn lacks(&self, what: &str, feature: &str) -> FsError {
        let problem = format!(
            "this program does not support {what}; use `aqueduct` or `aqueduct-collector`, built \
             with the feature `{feature}`"
        );
        FsError::Unusable { url: self.to_string(), problem }
    }

    /// Opens the file system of a `file://` URL: the only scheme without a separate crate.
    ///
    /// # Errors
    /// The URL has another scheme, whose crate this program is built without.
    pub fn connect(&self, env: &Env) -> Result<Arc<dyn FileSystem>, FsError> {
        match self.scheme {
            Scheme::File => Ok(Arc::new(Local::new(env.clone()))),
            Scheme::Hdfs | Scheme::Viewfs => Err(self.lacks("HDFS", "hdfs")),
            Scheme::Webhdfs | Scheme::Swebhdfs => Err(self.lacks("WebHDFS", "webhdfs")),
            Scheme::S3 | Scheme::Gs | Scheme::Abfs | Scheme::Abfss => {
                Err(self.lacks("object stores", "objects"))
            }
        }
    }
}

/// Returns the error for an unsupported scheme.
fn absent(scheme: &str) -> String {
    let instead = match scheme {
        "s3a" | "s3n" => "use s3:// for an S3 bucket",
        "gcs" => "use gs:// for a Google bucket",
        "wasb" | "wasbs" | "az" | "adl" => {
            "use abfss://container@account.dfs.core.windows.net for an Azure container"
        }
        _ => "",
    };
    let between = if instead.is_empty() { "" } else { "; " };
    format!(
        "the scheme must be file, hdfs, viewfs, webhdfs, swebhdfs, s3, gs, abfs or \
         abfss{between}{instead}"
    )
}

/// As `container@account.dfs.core.windows.net`.
fn names_a_container(authority: &str) -> bool {
    let (container, host) = authority.split_once('@').unwrap_or_default();
    let (account, suffix) = host.split_once('.').unwrap_or_default();
    ![container, account].contains(&"") && suffix.starts_with("dfs.") && !suffix.contains(':')
}

fn names_a_port(authority: &str) -> bool {
    let (host, port) = authority.rsplit_once(':').unwrap_or_default();
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
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
    fn prints_a_parsed_url_unchanged() {
        for url in [
            "file:///data/logs",
            "hdfs://nn:8020/logs/%Y-%m-%d/%{host}",
            "hdfs://cluster/logs",
            "s3://bucket/a/%Y",
            "gs://bucket/a/%Y",
            "abfs://logs@account.dfs.core.windows.net/a/%Y",
            "abfss://logs@account.dfs.core.chinacloudapi.cn/a",
            "webhdfs://nn:9870/logs/%Y",
            "swebhdfs://nn:9871/logs",
        ] {
            assert_eq!(StoreUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(StoreUrl::parse("hdfs://nn:8020/logs/").unwrap().path(), "/logs");
    }

    #[test]
    fn a_store_that_has_no_client_is_refused_by_its_name() {
        for (url, says) in [
            ("gcs://bucket/logs", "use gs://"),
            ("wasbs://c@a.blob.core.windows.net/logs", "use abfss://"),
            ("s3a://bucket/logs", "use s3://"),
        ] {
            let problem = StoreUrl::parse(url).unwrap_err().to_string();
            assert!(problem.contains(says) && problem.contains("the scheme must be"), "{problem}");
        }
    }

    #[test]
    fn names_the_feature_of_a_scheme_without_a_client() {
        for (url, feature) in [
            ("hdfs://nn:8020/logs", "`hdfs`"),
            ("viewfs://cluster/logs", "`hdfs`"),
            ("webhdfs://nn:9870/logs", "`webhdfs`"),
            ("s3://bucket/logs", "`objects`"),
        ] {
            let error = StoreUrl::parse(url).unwrap().connect(&env::real()).err().unwrap();
            let text = error.to_string();
            assert!(text.contains(feature) && text.contains("`aqueduct-collector`"), "{text}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_a_store_is_refused() {
        for url in [
            "/data/logs",
            "s4://bucket/logs",
            "s3:///logs",
            "s3://bucket",
            "gs:///logs",
            "abfss://container/logs",
            "abfss://container@account.blob.core.windows.net/logs",
            "abfss://@account.dfs.core.windows.net/logs",
            "webhdfs://nn/logs",
            "webhdfs://:9870/logs",
            "swebhdfs://cluster/logs",
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
