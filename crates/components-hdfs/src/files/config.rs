//! The settings, and their validation.

use std::sync::Arc;

use formats::compression::Compression;
use pipeline::units::ByteSize;
use pipeline::{BuildContext, BuildError, Choice, Decoder};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::StoreUrl;
use storage::hdfs::HdfsAccess;

use super::pattern::Pattern;
use crate::hdfs::store::Access;
use crate::reach::{KerberosConfig, OtherStores, Reach, reach_of};

/// Settings of the `hdfs` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files to read: a directory with its subdirectories, one file, or a pattern with `*` and `?`,
    /// as in `hdfs://namenode:8020/shop/orders`, `webhdfs://namenode:9870/shop/orders/day=2026-*`,
    /// `file:///data/orders`, `s3://bucket/orders`, `gs://bucket/orders` or
    /// `abfss://container@account.dfs.core.windows.net/orders`. Names that begin with `_` or `.`
    /// are skipped.
    url: String,
    /// Decoder of the files that reads in pieces, such as `lines`, `delimited`, `avro`,
    /// `avro_rows`, `parquet_rows` or `sequence_file`; a table with `type` if it has settings.
    #[serde(default = "default_decoder")]
    decoder: Choice<dyn Decoder>,
    /// Compression of the files.
    #[serde(default)]
    compression: Compression,
    /// Header for the path of the file in its store. Default: none.
    #[serde(default)]
    file_header: Option<String>,
    /// Limit of the bytes of bodies in a batch.
    #[serde(default = "pipeline::units::mib::<1>")]
    batch_bytes: ByteSize,
    /// Kerberos identity. Its ticket is renewed automatically. Without it: the ticket cache of the
    /// process, or the keytab in `KRB5_CLIENT_KTNAME`.
    #[serde(default)]
    kerberos: Option<KerberosConfig>,
    /// User that reads, if it is not the user of the login. With Kerberos the NameNode must allow
    /// it in `hadoop.proxyuser.…`.
    #[serde(default)]
    proxy_user: Option<String>,
    /// Directory with `core-site.xml` and `hdfs-site.xml`. Default: the directory in
    /// `HADOOP_CONF_DIR`.
    #[serde(default)]
    conf_dir: Option<String>,
    /// Access to other stores than HDFS by its own protocol.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    others: OtherStores,
}

fn default_decoder() -> Choice<dyn Decoder> {
    Choice::from_kind("lines")
}

/// Options of the source.
pub(super) struct Options {
    pub(super) url: StoreUrl,
    pub(super) pattern: Pattern,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) compression: Compression,
    pub(super) file_header: Option<String>,
    pub(super) batch_bytes: usize,
    pub(super) access: Access,
    /// Digest of the settings: positions are only valid for the same digest.
    pub(super) of: u64,
}

impl Config {
    pub(super) fn options(self, cx: &BuildContext) -> Result<Arc<Options>, BuildError> {
        let url = StoreUrl::parse(&self.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        let pattern = Pattern::parse(url.path());
        let pattern = pattern.map_err(|problem| BuildError::invalid("url", problem))?;
        if self.batch_bytes.0 == 0 || self.batch_bytes > ByteSize::mib(64) {
            return Err(BuildError::invalid("batch_bytes", "must be from 1B to 64MiB"));
        }
        if self.file_header.as_ref().is_some_and(String::is_empty) {
            return Err(BuildError::invalid(
                "file_header",
                "must not be empty; remove it, or set a header name",
            ));
        }
        let decoder = self.decoder.build("decoder", cx)?;
        if decoder.by_parts().is_some() {
            if !matches!(self.compression, Compression::Auto | Compression::None) {
                let problem = "does not apply to this `decoder`: its files are compressed \
                               internally; remove it";
                return Err(BuildError::invalid("compression", problem));
            }
        } else if decoder.begin_file().is_none() {
            let problem = "must be a decoder that reads files in pieces, such as `lines`, \
                           `delimited` or `avro`";
            return Err(BuildError::invalid("decoder", problem));
        }
        let reach = self.reach();
        let access = reach.access(&url)?;
        reach.name_plain_text(&url, cx);
        let of = xxhash_rust::xxh3::xxh3_64(self.url.as_bytes());
        Ok(Arc::new(Options {
            pattern,
            decoder,
            compression: self.compression,
            file_header: self.file_header,
            batch_bytes: self.batch_bytes.0 as usize,
            access,
            of,
            url,
        }))
    }

    fn reach(&self) -> Reach<'_> {
        let HdfsAccess { file_mode, directory_mode, .. } = HdfsAccess::default();
        reach_of!(self, (file_mode, directory_mode))
    }
}
