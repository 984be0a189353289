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

use super::table::HiveConfig;
use crate::reach::KerberosConfig;

/// Settings of the `hdfs` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the files go: `hdfs://namenode:8020/logs/%Y-%m-%d/%{app}`, `webhdfs://namenode:9870/…`
    /// by HTTP, `file:///data/logs`, `s3://bucket/logs/%Y-%m-%d`, `gs://bucket/logs/…` or
    /// `abfss://container@account.dfs.core.windows.net/logs/…`. The escapes are Flume's: those of
    /// time (`%Y %m %d %H %M %S` …), `%{header}`, and of this host `%[localhost] %[IP] %[FQDN]`.
    pub(super) url: String,
    /// Zone of the times in the path, by its name in the time zone database, or an offset such as
    /// `+02:00`. The database is in the program: the name means the same on every host.
    #[serde(default = "default_zone")]
    pub(super) zone: String,
    /// What times in the path are rounded down to, such as `10m`: whole seconds within a minute,
    /// whole minutes within an hour, or whole hours within a day. `%t` is not rounded.
    #[serde(default)]
    pub(super) round: Option<Period>,
    /// Which time the path shows.
    #[serde(default)]
    pub(super) time_from: TimeFrom,
    /// What becomes of an event without a time that can be read: `arrival` takes the time of its
    /// arrival, `reject` puts it into the dead letters, and a path such as `/undated` stands in
    /// front of the event's own, with the time of arrival.
    #[serde(default = "default_without_time")]
    pub(super) without_time: String,
    /// Events older than this are late: they go below `late_path`, with the time of their arrival,
    /// and are counted. By default none is late.
    #[serde(default)]
    pub(super) late_after: Option<Period>,
    /// What stands in front of the path of a late event, below the prefix.
    #[serde(default = "default_late_path")]
    pub(super) late_path: String,
    /// An empty file that marks each directory that is complete: with it no file is added there.
    /// It needs `late_after`, or `time_from = "arrival"`.
    #[serde(default)]
    pub(super) success_marker: Option<MarkerConfig>,
    /// Small files become large ones, once the time that their path shows is over. On `hdfs://`,
    /// and on `file://` of a local disk; with an `encoder` and a `codec` whose files can be put
    /// together: `text`, `json`, `header_and_text`, and `csv` without `names`; `none`, `gzip` and
    /// `zstd`.
    #[serde(default)]
    pub(super) compact: Option<CompactConfig>,
    /// An external table of Hive whose partitions are the directories: each is added to it with its
    /// first file. Its folders are `name=value` then, as in `day=%Y-%m-%d`.
    #[serde(default)]
    pub(super) hive: Option<HiveConfig>,
    /// How the names of files begin: the name of this host by default. The names of the sink and of
    /// the ledger entry follow.
    #[serde(default)]
    pub(super) file_prefix: Option<String>,
    /// How the names of files end, in place of what encoder and codec give: `.txt`.
    #[serde(default)]
    pub(super) file_suffix: Option<String>,
    /// What the events look like in a file: an encoder, such as `text`, `json`, `avro` or
    /// `parquet`; with settings of its own as a table with `type`.
    #[serde(default = "default_encoder")]
    pub(super) encoder: Choice<dyn Encoder>,
    /// How a file is compressed: `none`, `deflate`, `gzip`, `lz4`, `snappy` or `zstd`; with
    /// settings as a table with `type`.
    #[serde(default = "default_codec")]
    pub(super) codec: Choice<dyn Codec>,
    /// When a file is closed and becomes visible.
    #[serde(default)]
    pub(super) roll: RollConfig,
    /// Bytes of a block of the files; the store's own by default.
    #[serde(default)]
    pub(super) block_size: Option<ByteSize>,
    /// Copies of each block; the store's own by default.
    #[serde(default)]
    pub(super) replication: Option<u32>,
    /// What is promised about an event that is delivered.
    #[serde(default)]
    pub(super) guarantee: Promise,
    /// Files that may be open at once. One more ends the rolls that were written to least recently.
    /// A batch with more paths than this is written in rounds, up to 16 times as many; the events
    /// of further paths go to `_overflow` below the prefix, are counted and logged.
    #[serde(default = "default_buckets_max")]
    pub(super) buckets_max: usize,
    /// How long files that another collector has staged must lie unchanged until this one clears
    /// them away. No event is lost if that one is alive after all; it only writes again.
    #[serde(default = "default_sweep_after")]
    pub(super) sweep_after: Period,
    /// The identity that is shown to a cluster with Kerberos; its ticket is renewed in time.
    /// Without it: the ticket cache of the process, or the keytab that `KRB5_CLIENT_KTNAME` names.
    #[serde(default)]
    pub(super) kerberos: Option<KerberosConfig>,
    /// User that the files belong to, if it is not the one that logs in. With Kerberos the NameNode
    /// has to allow it, by `hadoop.proxyuser.…`.
    #[serde(default)]
    pub(super) proxy_user: Option<String>,
    /// Directory with `core-site.xml` and `hdfs-site.xml`; by default what `HADOOP_CONF_DIR` names.
    #[serde(default)]
    pub(super) conf_dir: Option<String>,
    /// Rights of the files in HDFS, in octal digits; `"644"` lets everyone read them.
    #[serde(default = "default_file_mode")]
    pub(super) file_mode: String,
    /// Rights of the directories that are made in HDFS, in octal digits. One that is there keeps
    /// its own.
    #[serde(default = "default_directory_mode")]
    pub(super) directory_mode: String,
    /// How the bucket of an `s3://` URL is reached; other URLs pass it over.
    #[cfg(feature = "objects")]
    #[serde(default)]
    pub(super) s3: Option<storage_objects::S3>,
    /// How the bucket of a `gs://` URL is reached; other URLs pass it over.
    #[cfg(feature = "objects")]
    #[serde(default)]
    pub(super) gcs: Option<storage_objects::Gcs>,
    /// How the container of an `abfs://` or `abfss://` URL is reached; other URLs pass it over.
    #[cfg(feature = "objects")]
    #[serde(default)]
    pub(super) azure: Option<storage_objects::Azure>,
    /// How the HDFS of a `webhdfs://` or `swebhdfs://` URL is reached; other URLs pass it over.
    #[cfg(feature = "webhdfs")]
    #[serde(default)]
    pub(super) webhdfs: Option<storage_webhdfs::Access>,
}

/// The file that marks a directory as complete.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkerConfig {
    /// Its name, which begins with `_` or `.`, so that readers pass over it.
    #[serde(default = "default_marker")]
    pub(super) name: String,
    /// How long after the end of the time that a path shows its directory may be marked; more than
    /// `late_after`. By half of the difference clocks of collectors may differ, and in the other
    /// half a file has to be begun.
    pub(super) after: Period,
}

/// When small files become large ones.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompactConfig {
    /// How long after the end of the time that a path shows its small files are merged; more than
    /// `late_after`. What comes later stays as it is. A job that has listed a directory before and
    /// opens the files after it does not find them.
    pub(super) after: Period,
}

/// What is promised about an event that is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promise {
    /// It is visible once, whatever fails: every roll is an entry of the commit ledger.
    #[default]
    ExactlyOnce,
    /// It is visible; more than once where a failure hides that it was. No ledger entry is written,
    /// and files are numbered at random. Batches for a directory that refuses files stay in the
    /// channel until it takes them.
    AtLeastOnce,
    /// It may be lost: it counts as delivered when it is written, before its file is closed.
    BestEffort,
}

/// Which time the path of an event shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TimeFrom {
    /// That of its header `timestamp`, in milliseconds since 1970.
    #[default]
    Header,
    /// That of its arrival at this sink, whatever it states.
    Arrival,
}

/// A boundary of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Boundary {
    /// Each full hour of the zone.
    Hour,
    /// Each midnight of the zone.
    Day,
}

/// When a file is closed and becomes visible: whichever comes first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollConfig {
    /// Bytes on disk, after compression; by default the block size less 1 MiB, but at most 127 MiB,
    /// so that a file is one block.
    #[serde(default)]
    pub(super) size_max: Option<ByteSize>,
    /// Events; without limit by default.
    #[serde(default)]
    pub(super) count_max: Option<u64>,
    /// Time since the first event, spread by ±20 %.
    #[serde(default = "default_age_max")]
    pub(super) age_max: Period,
    /// Time since the last event.
    #[serde(default = "default_idle_max")]
    pub(super) idle_max: Period,
    /// The clock passes this boundary, so that no file holds what arrived on both sides of it.
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
    Choice::of("text")
}

fn default_marker() -> String {
    "_SUCCESS".to_owned()
}

fn default_codec() -> Choice<dyn Codec> {
    Choice::of("none")
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

fn default_sweep_after() -> Period {
    Period(Duration::from_secs(6 * 3_600))
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
