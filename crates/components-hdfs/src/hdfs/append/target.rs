//! Validates the settings `iceberg`: the table of the files.

mod kinds;

use std::sync::Arc;

use formats::format::Format;
use hyper::Uri;
use iceberg::location::{family, split};
use iceberg::manifest::DataFile;
use iceberg::metadata::Table;
use iceberg::partition::{Partitioning, new_spec};
use iceberg::schema::{FileColumn, new_schema};
use iceberg::{Evolution, TableError, request, versions};
use ledger::StagedFile;
use metrics::{Counter, FloatGauge};
use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, ColumnStatistics, Env, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use storage::{FileSystem, StoreUrl};
use tls::ClientTls;
use tokio::sync::Notify;
use web::oauth::OAuth;

use super::super::Config;
use super::super::bucket::Rules;
use super::super::config::Promise;
use crate::hive::TableEntry;
use crate::iceberg::{
    Access, Catalog, DirectoryCatalog, MetastoreCatalog, RestCatalog, Stores, TableName,
};
use kinds::CatalogKind;

/// The Iceberg table that the files are appended to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IcebergConfig {
    /// URL of the REST catalog, without `/v1`: `https://catalog:8181`. Or a Hive metastore:
    /// `thrift://host:9083`, without Kerberos; with several of one database, separated by commas,
    /// the next one is tried after a failure. For trials, a directory of tables in the store of
    /// `url`, such as `file:///data/warehouse`.
    catalog: String,
    /// Warehouse of the REST catalog, if it has several.
    #[serde(default)]
    warehouse: Option<String>,
    /// Table with its namespace: `logs.web`.
    table: String,
    /// Whether a missing namespace and table are created. The table gets the columns of the
    /// encoder, and a partition column of type `string` for each directory `name=value` of `url`.
    #[serde(default)]
    create: bool,
    /// Whether missing columns are added to the table, and columns with a wider type in the encoder
    /// are widened: `int` to `long`, `float` to `double`, a decimal to more digits. Without it, the
    /// sink appends nothing to a table whose columns differ.
    #[serde(default)]
    evolve_schema: bool,
    /// Fixed part of `url`, before the first escape, as readers of the table need it, such as
    /// `hdfs://nameservice1/logs/data`. Default: as in `url`; with a metastore, `s3a` instead of
    /// `s3`. A table that is created by a catalog server is located there, or in its parent if the
    /// last directory is `data`.
    #[serde(default)]
    location: Option<String>,
    /// Token for the catalog, sent as `Authorization: Bearer`. Use a reference, such as
    /// `"${file:/run/secrets/catalog}"`.
    #[serde(default)]
    token: Option<Secret>,
    /// OAuth 2 client credentials that fetch a token, instead of `token`.
    #[serde(default)]
    oauth: Option<OAuth>,
    /// TLS of an `https://` catalog. Default: the certificate authorities of the host.
    #[serde(default)]
    tls: Option<ClientTls>,
    /// User for the metastore. Default: `proxy_user`.
    #[serde(default)]
    user: Option<String>,
    /// Whether messages to the metastore are framed (`metastore.thrift.framed.transport.enabled`).
    #[serde(default)]
    framed: bool,
    /// Timeout for a response of a catalog server, and for a connection to a metastore.
    #[serde(default = "default_timeout")]
    timeout: Period,
}

fn default_timeout() -> Period {
    Period(std::time::Duration::from_secs(30))
}

fn invalid<T>(setting: &str, problem: impl std::fmt::Display) -> Result<T, BuildError> {
    let setting = if setting.is_empty() { "iceberg".into() } else { format!("iceberg.{setting}") };
    Err(BuildError::invalid(setting, problem))
}

/// The catalog of a table.
pub(crate) enum Reach {
    /// A server.
    Server(Arc<dyn Catalog>),
    /// Hive's metastore, and the store.
    Metastore(Arc<TableEntry>),
    /// The store: the table has this URL, and this path.
    Directory { url: String, path: String },
}

/// The table, and how to reach it.
pub(crate) struct Target {
    /// Its name, for messages.
    pub(crate) name: String,
    reach: Reach,
    /// Whether it is created if it is missing.
    pub(crate) creates: bool,
    /// Whether its schema is changed for the files.
    evolves: bool,
    columns: Vec<FileColumn>,
    /// Names of the directories `name=value`.
    from_path: Vec<String>,
    /// Directory of the sink, as readers need it.
    location: String,
    /// The names of the store.
    stores: Stores,
    /// Number of commits to the table.
    pub(crate) commits: Counter,
    /// Failed attempts.
    pub(crate) failed: Counter,
    /// Entries of the ledger that the table lacks.
    pub(crate) due: FloatGauge,
    /// Signals new entries.
    pub(crate) news: Notify,
}

impl Config {
    /// Returns the table, if one is set.
    pub(in crate::hdfs) fn target(
        &self,
        url: &StoreUrl,
        rules: &Rules,
        format: &Format,
        cx: &BuildContext,
    ) -> Result<Option<Target>, BuildError> {
        let Some(config) = &self.iceberg else { return Ok(None) };
        if self.guarantee != Promise::ExactlyOnce {
            let problem = "needs the commit ledger, which records the files of the table: remove \
                           this setting, or remove `guarantee`";
            return invalid("", problem);
        }
        let columns = columns(format)?;
        let Some(name) = TableName::parse(&config.table) else {
            return invalid("table", "must be a namespace and a table, such as `logs.web`");
        };
        let from_path = rules.template.folders().into_iter();
        let from_path = from_path.filter_map(|it| it.split_once('=')).map(|it| it.0.to_owned());
        let from_path: Vec<String> = from_path.filter(|name| !name.is_empty()).collect();
        let prefix = rules.template.prefix();
        let kind = CatalogKind::of(&config.catalog);
        let own = format!("{}://{}{prefix}", kind.scheme(url.scheme()), url.authority());
        let location = config.location.clone().unwrap_or(own).trim_end_matches('/').to_owned();
        let Some((scheme, authority, _)) = split(&location) else {
            let problem = "must begin with a scheme, such as hdfs://nameservice1/logs/data";
            return invalid("location", problem);
        };
        let own = (family(url.scheme()).to_owned(), url.authority().to_owned());
        let stores = Stores([own, (scheme.to_owned(), authority.to_owned())]);
        let scope = cx.scope::<Self>();
        config.check_kind(kind)?;
        let reach = match kind {
            CatalogKind::Rest => {
                Reach::Server(Arc::new(RestCatalog::new(config.access(cx)?, name, cx)?))
            }
            CatalogKind::Metastore => config.entry(&name, self.proxy_user.as_deref(), cx)?,
            CatalogKind::Directory => config.directory(&name, &stores)?,
        };
        Ok(Some(Target {
            reach,
            name: config.table.clone(),
            creates: config.create,
            evolves: config.evolve_schema,
            columns,
            from_path,
            location,
            stores,
            commits: scope.counter("table_commits")?,
            failed: scope.counter("failed_table_commits")?,
            due: scope.gauge("entries_without_table")?,
            news: Notify::default(),
        }))
    }
}

impl IcebergConfig {
    /// Returns the table in a directory.
    fn directory(&self, name: &TableName, stores: &Stores) -> Result<Reach, BuildError> {
        let warehouse = self.catalog.trim_end_matches('/');
        let found = split(warehouse).filter(|it| stores.has(it.0, it.1));
        let Some((_, _, path)) = found else {
            let problem = "must be an `http://`, `https://` or `thrift://` URL, or a directory in \
                           the store of `url`, such as file:///data/warehouse";
            return invalid("catalog", problem);
        };
        let below = [&*name.namespace.join("/"), &*name.table].join("/");
        let (url, path) = (format!("{warehouse}/{below}"), format!("{path}/{below}"));
        Ok(Reach::Directory { url, path })
    }

    /// Returns the access settings of the catalog.
    fn access(&self, cx: &BuildContext) -> Result<Access, BuildError> {
        let url = self.catalog.trim_end_matches('/').to_owned();
        let uri: Uri = match format!("{url}/v1").parse() {
            Ok(uri) => uri,
            Err(error) => {
                return invalid(
                    "catalog",
                    format!("{error}; write for example https://catalog:8181"),
                );
            }
        };
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let Some(authority) = uri.authority().filter(|_| is_http && uri.query().is_none()) else {
            let problem = "must be an `http://` or `https://` URL without a query";
            return invalid("catalog", problem);
        };
        if authority.as_str().contains('@') {
            let problem = "must not contain a user name, because URLs are shown in logs; use \
                           `iceberg.token`";
            return invalid("catalog", problem);
        }
        if uri.scheme_str() == Some("http") {
            cx.plain_text.speaks("iceberg.catalog", authority.as_str(), "write `https://`");
            if self.tls.is_some() {
                return invalid("tls", "has an effect only with an `https://` catalog");
            }
        }
        if self.token.is_some() && self.oauth.is_some() {
            return invalid("token", "must not be set together with `oauth`: remove one of them");
        }
        if self.timeout.0.is_zero() {
            return invalid("timeout", "must be greater than 0");
        }
        Ok(Access {
            url,
            warehouse: self.warehouse.clone(),
            token: self.token.clone(),
            oauth: self.oauth.clone(),
            tls: self.tls.clone(),
            timeout: self.timeout.0,
        })
    }
}

/// Returns the columns of the files.
fn columns(format: &Format) -> Result<Vec<FileColumn>, BuildError> {
    let fields = format.encoder().table().map(|form| form.fields).unwrap_or_default();
    if fields.is_empty() {
        return invalid("", "needs Parquet files: set `encoder = { type = \"parquet\", … }`");
    }
    let mut columns = Vec::new();
    for field in fields {
        let Some(kind) = field.kind else {
            let problem = format!(
                "has no type for the column `{}` of the encoder; for a time, use \
                 `timestamp_micros`",
                field.name
            );
            return invalid("", problem);
        };
        let (id, name, required) = (field.id, field.name, field.required);
        columns.push(FileColumn { id, name, kind, required });
    }
    Ok(columns)
}

#[cfg(test)]
impl Target {
    /// Creates the table of a test, with files below `file:///logs`.
    pub(crate) fn of_test(reach: Reach, columns: Vec<FileColumn>, from_path: &[&str]) -> Self {
        let store = ("file".to_owned(), String::new());
        Self {
            name: "logs.web".to_owned(),
            reach,
            creates: true,
            evolves: true,
            columns,
            from_path: from_path.iter().map(|&name| name.to_owned()).collect(),
            location: "file:///logs".to_owned(),
            stores: Stores([store.clone(), store]),
            commits: Counter::default(),
            failed: Counter::default(),
            due: FloatGauge::default(),
            news: Notify::default(),
        }
    }
}

impl Target {
    /// Returns the catalog; `fs` is the store of the sink.
    pub(crate) fn catalog(&self, fs: &Arc<dyn FileSystem>, env: &Env) -> Arc<dyn Catalog> {
        match &self.reach {
            Reach::Server(catalog) => catalog.clone(),
            Reach::Directory { url, path } => {
                Arc::new(DirectoryCatalog::new(fs.clone(), env.clone(), url, path))
            }
            Reach::Metastore(entry) => {
                let (fs, stores) = (fs.clone(), self.stores.clone());
                Arc::new(MetastoreCatalog::new(fs, env.clone(), entry.clone(), stores))
            }
        }
    }

    /// Checks that the files fit the table. Returns its partitions, and the change of its schema
    /// that it needs first.
    pub(crate) fn check(
        &self,
        table: &Table,
    ) -> Result<(Partitioning, Option<Evolution>), TableError> {
        self.path_of(&table.location)?;
        let evolution = table.fit(&self.columns, &self.from_path, self.evolves)?;
        let (spec, schema) = (&table.spec, &table.schema);
        Ok((Partitioning::new(spec, schema, &self.columns, &self.from_path)?, evolution))
    }

    /// Returns the path of a URL in the store of the sink.
    pub(crate) fn path_of(&self, url: &str) -> Result<String, TableError> {
        self.stores.path_of(url)
    }

    /// Returns a committed file as a file of the table.
    pub(crate) fn data_file(&self, file: &StagedFile, columns: Vec<ColumnStatistics>) -> DataFile {
        DataFile {
            url: format!("{}/{}", self.location, file.target),
            path: file.target.clone(),
            rows: file.events,
            bytes: file.len,
            columns,
        }
    }

    /// Returns the request that creates the table.
    pub(crate) fn create_request(&self) -> Value {
        let schema = new_schema(&self.columns, &self.from_path);
        let spec = new_spec(&schema, &self.from_path);
        let (_, table) = self.name.rsplit_once('.').unwrap_or(("", &self.name));
        match &self.reach {
            Reach::Server(_) => request::create(table, self.parent(), &schema, &spec),
            Reach::Metastore(_) => with_deletes(table, self.parent(), &schema, &spec),
            Reach::Directory { url, .. } => with_deletes(table, url, &schema, &spec),
        }
    }

    /// Returns the location of a table whose files are in the directory of the sink.
    fn parent(&self) -> &str {
        self.location.strip_suffix("/data").unwrap_or(&self.location)
    }
}

/// Returns the request for a table that deletes old versions of its metadata, because each version
/// has all snapshots.
fn with_deletes(table: &str, location: &str, schema: &Value, spec: &Value) -> Value {
    let mut request = request::create(table, location, schema, spec);
    request["properties"][versions::DELETES] = "true".into();
    request
}

#[cfg(test)]
mod tests;
