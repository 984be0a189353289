//! The settings of the sink `hdfs`.

#[cfg(feature = "testkit")]
use std::sync::Arc;
use std::time::Duration;

use pipeline::units::{ByteSize, Period};
#[cfg(feature = "testkit")]
use pipeline::{BuildContext, BuildError, Sink};
use pipeline::{Choice, Codec, Encoder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
#[cfg(feature = "testkit")]
use storage::{FileSystem, StoreUrl};

use super::announce::OpenLineageConfig;
use super::append::IcebergConfig;
use super::roll::Boundary;
use super::table::HiveConfig;
use crate::reach::{KerberosConfig, OtherStores};

/// Settings of the `hdfs` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Destination of the files: `hdfs://namenode:8020/logs/%Y-%m-%d/%{app}`,
    /// `webhdfs://namenode:9870/…` by HTTP, `file:///data/logs`, `s3://bucket/logs/%Y-%m-%d`,
    /// `gs://bucket/logs/…` or `abfss://container@account.dfs.core.windows.net/logs/…`. The escapes
    /// are those of Flume: time (`%Y %m %d %H %M %S` …), `%{header}`, and this host
    /// `%[localhost] %[IP] %[FQDN]`.
    pub(super) url: String,
    /// Time zone of the times in the path: a name of the time zone database, or an offset such as
    /// `+02:00`. The database is part of the program: a name means the same on every host.
    #[serde(default = "default_zone")]
    pub(super) zone: String,
    /// Unit to which times in the path are rounded down, such as `10m`: whole seconds that divide a
    /// minute, whole minutes that divide an hour, or whole hours that divide a day. `%t` is not
    /// rounded.
    #[serde(default)]
    pub(super) round: Option<Period>,
    /// Time in the path.
    #[serde(default)]
    pub(super) time_from: TimeFrom,
    /// Handling of an event without a readable time: `arrival` uses its time of arrival, `reject`
    /// makes it a dead letter, and a path such as `/undated` is prepended to the path of the event,
    /// with the time of arrival.
    #[serde(default = "default_without_time")]
    pub(super) without_time: String,
    /// Age at which events are late: they are written below `late_path`, with their time of
    /// arrival, and counted. Default: no event is late.
    #[serde(default)]
    pub(super) late_after: Option<Period>,
    /// Path prefix of late events, below the fixed part of the URL.
    #[serde(default = "default_late_path")]
    pub(super) late_path: String,
    /// Empty marker file in each complete directory. No file is added to a marked directory. Needs
    /// `late_after`, or `time_from = "arrival"`.
    #[serde(default)]
    pub(super) success_marker: Option<MarkerConfig>,
    /// Receipt in each complete directory: a file `_receipt.json` with its edges, once every edge
    /// has sent all that it read before the end of the directory's time. Files that come later are
    /// recorded next to it. Not together with `success_marker` or `compact`.
    #[serde(default)]
    pub(super) complete: Option<CompleteConfig>,
    /// Merges small files into large ones after the end of the time in their path. On `hdfs://`,
    /// and on `file://` of a local disk; with an `encoder` and a `codec` whose files can be
    /// concatenated: `text`, `json`, `header_and_text`, and `csv` without `names`; `none`, `gzip`
    /// and `zstd`.
    #[serde(default)]
    pub(super) compact: Option<CompactConfig>,
    /// External Hive table whose partitions are the directories. Each partition is added with its
    /// first file. Directories have the form `name=value`, such as `day=%Y-%m-%d`.
    #[serde(default)]
    pub(super) hive: Option<HiveConfig>,
    /// Iceberg table that all files are appended to, exactly once. Needs the encoder `parquet`.
    #[serde(default)]
    pub(super) iceberg: Option<IcebergConfig>,
    /// Prefix of file names. Default: the name of this host. The names of the sink and of the
    /// ledger entry follow.
    #[serde(default)]
    pub(super) file_prefix: Option<String>,
    /// Suffix of file names, instead of the suffixes of encoder and codec: `.txt`.
    #[serde(default)]
    pub(super) file_suffix: Option<String>,
    /// Encoder of the events, such as `text`, `json`, `avro` or `parquet`; a table with `type` if
    /// it has settings.
    #[serde(default = "default_encoder")]
    pub(super) encoder: Choice<dyn Encoder>,
    /// Compression of a file: `none`, `deflate`, `gzip`, `lz4`, `snappy` or `zstd`; a table with
    /// `type` if it has settings.
    #[serde(default = "default_codec")]
    pub(super) codec: Choice<dyn Codec>,
    /// Conditions at which a file is closed and becomes visible.
    #[serde(default)]
    pub(super) roll: RollConfig,
    /// Block size of the files. Default: the block size of the store.
    #[serde(default)]
    pub(super) block_size: Option<ByteSize>,
    /// Replicas of each block. Default: the replication of the store.
    #[serde(default)]
    pub(super) replication: Option<u32>,
    /// Guarantee for delivered events.
    #[serde(default)]
    pub(super) guarantee: Promise,
    /// Limit of open files. If it is reached, the least recently written rolls are closed. A batch
    /// with more paths than this is written in rounds, up to 16 times as many; events of further
    /// paths are written to `_overflow` below the prefix, counted and logged.
    #[serde(default = "default_buckets_max")]
    pub(super) buckets_max: usize,
    /// Age of unchanged files that another collector has staged, after which this collector deletes
    /// them. No event is lost if that collector is still running; it writes them again.
    #[serde(default = "pipeline::units::seconds::<21600>")]
    pub(super) sweep_after: Period,
    /// Kerberos identity. Its ticket is renewed automatically. Without it: the ticket cache of the
    /// process, or the keytab in `KRB5_CLIENT_KTNAME`.
    #[serde(default)]
    pub(super) kerberos: Option<KerberosConfig>,
    /// User that owns the files, if it is not the user of the login. With Kerberos the NameNode
    /// must allow it in `hadoop.proxyuser.…`.
    #[serde(default)]
    pub(super) proxy_user: Option<String>,
    /// Directory with `core-site.xml` and `hdfs-site.xml`. Default: the directory in
    /// `HADOOP_CONF_DIR`.
    #[serde(default)]
    pub(super) conf_dir: Option<String>,
    /// Permissions of files in HDFS, in octal digits; `"644"` lets everyone read them.
    #[serde(default = "default_file_mode")]
    pub(super) file_mode: String,
    /// Permissions of new directories in HDFS, in octal digits. Existing directories keep their
    /// permissions.
    #[serde(default = "default_directory_mode")]
    pub(super) directory_mode: String,
    /// Access to other stores than HDFS by its own protocol.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    pub(super) others: OtherStores,
}

/// The file that marks a directory as complete.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkerConfig {
    /// Name of the marker, which begins with `_` or `.`, so that readers skip it.
    #[serde(default = "default_marker")]
    pub(super) name: String,
    /// Delay between the end of the time in a path and the marker; greater than `late_after`. Half
    /// of the difference covers clock differences between collectors, the other half the start of a
    /// file.
    pub(super) after: Period,
}

/// When a directory gets a receipt.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteConfig {
    /// Hosts whose edges must have sent everything. Default: every edge with a batch in the
    /// dataset.
    #[serde(default)]
    pub(super) edges: Vec<String>,
    /// Silence after which an edge is not waited for any more; receipts then name it as left.
    /// Default: an edge is waited for until an operator waives it.
    #[serde(default)]
    pub(super) leave_after: Option<Period>,
    /// Maximum time from the time in an event until its line is in the file, and maximum difference
    /// between the clocks of the collectors. Later events are late.
    #[serde(default = "default_grace")]
    pub(super) grace: Period,
    /// Name of an empty file in each directory with a receipt, such as `_SUCCESS`. It begins with
    /// `_` or `.`. Default: no such file.
    #[serde(default)]
    pub(super) marker: Option<String>,
    /// Server of OpenLineage that gets an event for each receipt, and for late files. Default:
    /// none.
    #[serde(default)]
    pub(super) open_lineage: Option<OpenLineageConfig>,
}

/// When small files become large ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompactConfig {
    /// Delay between the end of the time in a path and the merge of its small files; greater than
    /// `late_after`. Later files are not merged. A job that lists a directory before the merge and
    /// opens the files after it does not find them.
    pub(super) after: Period,
}

/// Guarantee for delivered events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promise {
    /// Visible exactly once, whatever fails: every roll is an entry of the commit ledger.
    #[default]
    ExactlyOnce,
    /// Visible at least once; twice if a failure hides that it was visible. No ledger entry is
    /// written, and file names contain random numbers. Batches for a directory that rejects files
    /// stay in the channel until it accepts them.
    AtLeastOnce,
    /// Possibly lost: an event counts as delivered when it is written, before its file is closed.
    BestEffort,
}

/// Which time the path of an event shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TimeFrom {
    /// The time in the header `timestamp`, in milliseconds since 1970.
    #[default]
    Header,
    /// The time of arrival at this sink, whatever the header contains.
    Arrival,
}

/// When a file is closed and becomes visible: whichever comes first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollConfig {
    /// Size on disk, after compression. Default: the block size less 1 MiB, at most 127 MiB, so
    /// that a file is one block.
    #[serde(default)]
    pub(super) size_max: Option<ByteSize>,
    /// Number of events. Default: no limit.
    #[serde(default)]
    pub(super) count_max: Option<u64>,
    /// Time since the first event, randomized by ±20 %.
    #[serde(default = "default_age_max")]
    pub(super) age_max: Period,
    /// Time since the last event. If every source of the agent has ended, files are closed without
    /// it.
    #[serde(default = "default_idle_max")]
    pub(super) idle_max: Period,
    /// Boundary of the clock, so that all events of a file arrive on the same side of it.
    #[serde(default)]
    pub(super) on: Option<Boundary>,
}

impl Default for RollConfig {
    fn default() -> Self {
        let (age_max, idle_max) = (default_age_max(), default_idle_max());
        Self { size_max: None, count_max: None, age_max, idle_max, on: None }
    }
}

fn default_encoder() -> Choice<dyn Encoder> {
    Choice::from_kind("text")
}

fn default_marker() -> String {
    "_SUCCESS".to_owned()
}

fn default_grace() -> Period {
    Period(Duration::from_secs(60))
}

fn default_codec() -> Choice<dyn Codec> {
    Choice::from_kind("none")
}

fn default_zone() -> String {
    "UTC".to_owned()
}

fn default_without_time() -> String {
    "arrival".to_owned()
}

fn default_late_path() -> String {
    "/late".to_owned()
}

fn default_buckets_max() -> usize {
    // With a lower limit, stores with more paths get tiny files. In HDFS, each open file needs a
    // thread on its DataNodes, which by default have 4096.
    2048
}

fn default_age_max() -> Period {
    Period(Duration::from_secs(300))
}

fn default_idle_max() -> Period {
    Period(Duration::from_secs(60))
}

fn default_file_mode() -> String {
    "640".into()
}

fn default_directory_mode() -> String {
    "750".into()
}

#[cfg(feature = "testkit")]
impl Config {
    /// Builds the sink over the caller's store, whatever scheme the URL has. A checkpoint replaces
    /// its ledger entries after `compact_after` of them.
    ///
    /// # Errors
    /// Same as for its own store.
    pub fn build_over(
        self,
        cx: &BuildContext,
        connect: impl Fn() -> Arc<dyn FileSystem> + Send + Sync + 'static,
        compact_after: u64,
    ) -> Result<Box<dyn Sink>, BuildError> {
        let url = StoreUrl::parse(&self.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        let mut sink = self.sink(&url, cx, Box::new(move || Ok(connect())))?;
        sink.keeping.compact_after = compact_after;
        Ok(Box::new(sink))
    }
}
