//! Validates the settings `hive`: the table of the files.

mod registration;

use formats::format::Format;
use pipeline::units::Period;
use pipeline::{BuildError, TableForm, TableStorage};
use schemars::JsonSchema;
use serde::Deserialize;
use storage::StoreUrl;

use crate::hive::{Column, Keys, Reader, TableSpec, addresses, is_name};

/// The external table that the directories of a sink are partitions of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HiveConfig {
    /// Hive metastore: `thrift://host:9083`. With several of one database, separated by commas, the
    /// next one is tried after a failure. Kerberos is not supported.
    metastore: String,
    /// Database.
    #[serde(default = "default_database")]
    database: String,
    /// Table.
    table: String,
    /// Whether missing databases and tables are created. Neither the sink nor `DROP TABLE` deletes
    /// the files: the table is external.
    #[serde(default)]
    create: bool,
    /// Columns of a table that is created, `{ name = "id", type = "bigint" }`, in Hive's types.
    /// Default: the columns of the encoder, such as `line` of `text`.
    #[serde(default)]
    columns: Vec<ColumnConfig>,
    /// Column delimiter in a line of `text`: one character. Needs `columns`.
    #[serde(default)]
    delimiter: Option<String>,
    /// SerDe class of a table that is created. Default: the class for the files of the encoder.
    #[serde(default)]
    serde: Option<String>,
    /// Fixed part of `url`, before the first escape, as readers of the table need it. Default: as
    /// in `url`, with `s3a` instead of `s3`.
    #[serde(default)]
    location: Option<String>,
    /// User for the metastore. Default: `proxy_user`.
    #[serde(default)]
    user: Option<String>,
    /// Whether messages are framed (`metastore.thrift.framed.transport.enabled`).
    #[serde(default)]
    framed: bool,
    /// Timeout for a connection, and for a response.
    #[serde(default = "pipeline::units::seconds::<30>")]
    timeout: Period,
}

/// A column of a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ColumnConfig {
    /// Name of the column.
    name: String,
    /// Type of the column, such as `string`, `bigint` or `decimal(10,2)`.
    #[serde(rename = "type")]
    kind: String,
}

fn default_database() -> String {
    "default".to_owned()
}

fn invalid<T>(setting: &str, problem: impl std::fmt::Display) -> Result<T, BuildError> {
    let setting = if setting.is_empty() { "hive".to_owned() } else { format!("hive.{setting}") };
    Err(BuildError::invalid(setting, problem))
}

impl HiveConfig {
    /// Returns the timeout for a connection, and for a response.
    pub(super) fn timeout(&self) -> std::time::Duration {
        self.timeout.0
    }

    /// Returns the addresses of the metastores.
    pub(super) fn addresses(&self) -> Result<Vec<String>, BuildError> {
        addresses(&self.metastore).or_else(|problem| invalid("metastore", problem))
    }

    /// Describes the table of the files below `prefix` of `url`.
    pub(super) fn spec(
        &self,
        url: &StoreUrl,
        prefix: &str,
        keys: Keys,
        format: &Format,
    ) -> Result<TableSpec, BuildError> {
        for (setting, name) in [("database", &self.database), ("table", &self.table)] {
            if !is_name(name) {
                let problem = "must have 1 to 128 letters, digits and `_`";
                return invalid(setting, problem);
            }
        }
        if self.timeout.0.is_zero() {
            return invalid("timeout", "must be greater than 0");
        }
        let form = self.form(format)?;
        let scheme = if url.scheme() == "s3" { "s3a" } else { url.scheme() };
        let location = self.location.as_ref().map_or_else(
            || format!("{scheme}://{}{prefix}", url.authority()),
            |given| given.trim_end_matches('/').to_owned(),
        );
        if !location.contains(":/") {
            let problem = "must begin with a scheme, such as hdfs://nameservice1/logs";
            return invalid("location", problem);
        }
        let small = |name: &str| name.to_ascii_lowercase();
        let columns: Vec<Column> = form
            .columns
            .iter()
            .map(|(name, kind)| Column { name: small(name), kind: kind.clone() })
            .collect();
        let mut names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        names.extend(keys.names().iter().map(|name| &**name));
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            let problem = format!(
                "`{twice}` appears twice among the columns and the partition columns of `url`; \
                 Hive ignores case"
            );
            return invalid("columns", problem);
        }
        Ok(TableSpec {
            database: small(&self.database),
            table: small(&self.table),
            create: self.create,
            location,
            keys,
            reader: Reader::for_form(&form, self.serde.as_deref()),
            columns,
        })
    }

    /// Returns the table format of the files, with the settings applied.
    fn form(&self, format: &Format) -> Result<TableForm, BuildError> {
        let form = format.encoder().table();
        // An existing table knows its own format.
        let Some(mut form) =
            form.or_else(|| (!self.create).then(|| TableForm::new(TableStorage::Text, &[])))
        else {
            let problem = "must not be set with this `encoder`, for which Hive has no table \
                           format: remove it, and create the table yourself";
            return invalid("create", problem);
        };
        if let Some(delimiter) = &self.delimiter {
            let mut letters = delimiter.chars();
            let (Some(_), None) = (letters.next(), letters.next()) else {
                return invalid("delimiter", "must be one character, such as `\\t`");
            };
            if form.storage != TableStorage::Text || self.columns.is_empty() {
                let problem = "applies only to the encoder `text` with `hive.columns`: set those, \
                               or remove it";
                return invalid("delimiter", problem);
            }
            form.serde_properties = ["field.delim", "serialization.format"]
                .map(|name| (name.to_owned(), delimiter.clone()))
                .to_vec();
        }
        let mut columns = Vec::new();
        for (index, ColumnConfig { name, kind }) in self.columns.iter().enumerate() {
            if name.is_empty() || kind.is_empty() {
                return invalid(&format!("columns.{index}"), "must have a name and a type");
            }
            columns.push((name.clone(), kind.clone()));
        }
        if !columns.is_empty() {
            form.columns = columns;
        }
        if self.create && form.columns.is_empty() {
            let problem = "must list the columns, because the schema of the encoder has no \
                           columns, or a type that Hive lacks";
            return invalid("columns", problem);
        }
        Ok(form)
    }
}
