//! The settings, and their validation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::MetricSpec;
use pipeline::deliver::{Options as RequestOptions, Requests};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Component, Sink, SinkBoard};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::StoreUrl;

use super::layout::Layout;
use super::{Connect, Files, METRICS, Measures, Shared};
use crate::hdfs::access::mode;
use crate::hdfs::store::{self, Access};
use crate::reach::{KerberosConfig, OtherStores, reach_of};

/// Settings of the `files` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Destination directory. Each file keeps its path relative to its source directory. Examples:
    /// `hdfs://namenode:8020/landing`, `webhdfs://namenode:9870/landing` by HTTP,
    /// `file:///data/landing`, `s3://bucket/landing`, `gs://bucket/landing` or
    /// `abfss://container@account.dfs.core.windows.net/landing`. All collectors that may receive
    /// pieces of one file need the same directory.
    url: String,
    /// Handling of a file whose name exists already.
    #[serde(default)]
    taken_name: TakenName,
    /// Time for which a stored transfer is remembered. Pieces that are resent later create the file
    /// a second time.
    #[serde(default = "pipeline::units::seconds::<604800>")]
    keep_done: Period,
    /// Limit of batches in flight.
    #[serde(default = "pipeline::units::number::<8>")]
    in_flight_max: usize,
    /// Timeout for storing a batch.
    #[serde(default = "default_timeout")]
    timeout: Period,
    /// Kerberos identity. Its ticket is renewed automatically. Without it: the ticket cache of the
    /// process, or the keytab in `KRB5_CLIENT_KTNAME`.
    #[serde(default)]
    kerberos: Option<KerberosConfig>,
    /// User that owns the files, if it is not the user of the login. With Kerberos the NameNode
    /// must allow it in `hadoop.proxyuser.…`.
    #[serde(default)]
    proxy_user: Option<String>,
    /// Directory with `core-site.xml` and `hdfs-site.xml`. Default: the directory in
    /// `HADOOP_CONF_DIR`.
    #[serde(default)]
    conf_dir: Option<String>,
    /// Permissions of files in HDFS, in octal digits; `"644"` lets everyone read them.
    #[serde(default = "default_file_mode")]
    file_mode: String,
    /// Permissions of new directories in HDFS, in octal digits. Existing directories keep their
    /// permissions.
    #[serde(default = "default_directory_mode")]
    directory_mode: String,
    /// Access to other stores than HDFS by its own protocol.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    others: OtherStores,
}

/// Handling of a file whose name exists already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TakenName {
    /// The file gets a number: `report.2.csv`.
    #[default]
    Number,
    /// The file replaces the existing one atomically. Not in a bucket.
    Replace,
    /// The file waits in `_aqueduct/files/whole` until the name is free.
    Hold,
}

fn default_timeout() -> Period {
    Period(Duration::from_secs(2 * 60))
}

fn default_file_mode() -> String {
    "640".into()
}

fn default_directory_mode() -> String {
    "750".into()
}

/// Options of the sink.
pub(super) struct Options {
    pub(super) taken_name: TakenName,
    pub(super) keep_done: Duration,
    /// Whether names may contain a colon, which HDFS rejects.
    pub(super) takes_colons: bool,
    /// The directory in its store, for messages and comparisons.
    pub(super) shown: String,
}

impl Config {
    fn access(&self, url: &StoreUrl, cx: &BuildContext) -> Result<Access, BuildError> {
        let file_mode = mode("file_mode", &self.file_mode, 0o600)?;
        let directory_mode = mode("directory_mode", &self.directory_mode, 0o700)?;
        let reach = reach_of!(self, (file_mode, directory_mode));
        let access = reach.access(url)?;
        reach.name_plain_text(url, cx);
        Ok(access)
    }

    /// Creates a sink for the store that `connect` opens.
    pub(super) fn sink(
        self,
        url: &StoreUrl,
        cx: &BuildContext,
        connect: Connect,
    ) -> Result<Requests<Files>, BuildError> {
        if self.in_flight_max == 0 {
            return Err(BuildError::invalid("in_flight_max", "must be at least 1"));
        }
        if url.path().contains('%') {
            let problem =
                "must not have escapes, because files keep their paths; write it without `%`";
            return Err(BuildError::invalid("url", problem));
        }
        let is_bucket = ["s3", "gs", "abfs", "abfss"].contains(&url.scheme());
        if is_bucket && self.taken_name == TakenName::Replace {
            let problem = "is not supported on a bucket, which cannot replace a file by a rename; \
                           write \"number\" or \"hold\"";
            return Err(BuildError::invalid("taken_name", problem));
        }
        let options = Options {
            taken_name: self.taken_name,
            keep_done: self.keep_done.0,
            takes_colons: !matches!(url.scheme(), "hdfs" | "viewfs" | "webhdfs" | "swebhdfs"),
            shown: self.url.trim_end_matches('/').to_owned(),
        };
        let shared = Arc::new(Shared {
            name: cx.name.clone(),
            env: cx.env.clone(),
            options,
            layout: Layout::new(url.path()),
            directory: cx.directory.clone(),
            measures: Measures::new(&cx.scope::<Self>())?,
            board: SinkBoard::default(),
        });
        let requests = RequestOptions {
            in_flight_max: self.in_flight_max,
            in_order: false,
            timeout: self.timeout.0,
        };
        Ok(Requests::new(Files { shared, connect, session: Mutex::default() }, requests))
    }
}

impl Component for Config {
    const KIND: &'static str = "files";
    const LETTERS: &[&str] = &["no_piece", "unusable_name", "damaged_piece", "other_file"];
    const EXAMPLE: &str = r#"url = "webhdfs://127.0.0.1:9870/out""#;
    const METRICS: &'static [MetricSpec] = METRICS;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let url = StoreUrl::parse(&self.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        let access = self.access(&url, cx)?;
        let (at, env) = (url.clone(), cx.env.clone());
        let connect = Box::new(move || store::open(&at, &access, &env));
        Ok(Box::new(self.sink(&url, cx, connect)?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn rejects_invalid_settings_by_name() {
        let refused = |settings: &Value| {
            let cx = formats::alone("files", "unused".as_ref(), env::real());
            pipeline::testkit::build::<Config>(settings, &cx).err().unwrap().path
        };
        for (setting, settings) in [
            ("url", json!({ "url": "ftp://x/y" })),
            ("url", json!({ "url": "file:///in/%Y" })),
            ("in_flight_max", json!({ "url": "file:///in", "in_flight_max": 0 })),
            ("file_mode", json!({ "url": "hdfs://nn:8020/in", "file_mode": "888" })),
            ("proxy_user", json!({ "url": "file:///in", "proxy_user": "me" })),
        ] {
            assert_eq!(refused(&settings), setting, "{settings}");
        }
        #[cfg(feature = "objects")]
        assert_eq!(refused(&json!({ "url": "s3://b/in", "taken_name": "replace" })), "taken_name");
    }
}
