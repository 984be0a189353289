//! Makes a directory a Hive table, or one partition of a table. For programs that write the files
//! of one directory and end; a sink registers the partitions of its path by itself.

use formats::format::Format;
use pipeline::{BuildContext, Settings};
use serde_json::json;
use storage::StoreUrl;

use super::Config;
use super::table::HiveConfig;
use crate::hive::{Keys, Metastore, Partition, Places, Registry, SettingNames};

/// A table for the files of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedTable {
    /// Metastores of one database: `thrift://host:9083`, separated by commas.
    pub metastore: String,
    /// Name of the database, which is created if it is missing.
    pub database: String,
    /// Name of the table, which is created if it is missing.
    pub table: String,
    /// Name and value of a partition column: the last directory of the sink's `url`, `name=value`.
    pub partition: Option<(String, String)>,
}

/// Creates the external table over the directory of these sink settings unless it exists, and adds
/// the partition. Can be repeated.
///
/// # Errors
/// A setting is wrong, the metastore does not answer, or the table has another directory or other
/// partition columns: the reason and the remedy.
pub async fn publish(
    sink: &Settings,
    table: &PublishedTable,
    cx: &BuildContext,
) -> Result<(), String> {
    let sink: Config = sink.read().map_err(|error| error.to_string())?;
    let format = Format::new(&sink.encoder, &sink.codec, cx).map_err(|error| error.to_string())?;
    let url = StoreUrl::parse(&sink.url).map_err(|error| error.to_string())?;
    let directory = table.partition.as_ref().map(|(name, value)| format!("{name}={value}"));
    let suffix = directory.as_ref().map_or(String::new(), |it| format!("/{it}"));
    let Some(prefix) = url.path().strip_suffix(&*suffix) else {
        return Err(format!("{} must end with {suffix}, the directory of the partition", sink.url));
    };
    let names = table.partition.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let hive = json!({
        "metastore": table.metastore, "database": table.database, "table": table.table,
        "create": true,
    });
    let hive: HiveConfig = serde_json::from_value(hive).map_err(|error| error.to_string())?;
    let spec = hive.spec(&url, prefix, Keys::fixed(names), &format);
    let spec = spec.map_err(|error| error.to_string())?;
    let places = Places {
        addresses: hive.addresses().map_err(|error| error.to_string())?,
        framed: false,
        user: sink.proxy_user,
        timeout: hive.timeout(),
        names: SettingNames::Hive,
    };
    let partition = table.partition.clone().zip(directory);
    let partition =
        partition.map(|((_, value), directory)| Partition { directory, values: vec![value] });
    let metastore = Metastore::new(cx.env.clone(), places, spec);
    let added = metastore.add(partition.as_slice()).await;
    added.map_err(|error| support::causes::chain(&error))
}
