//! `aqueduct demo table`: the demo with an Iceberg table instead of text files.
//!
//! ```text
//!   log ─► edge ─┬► collector-1 ✗ ─┬► Parquet files ─► versions of the table ─► rows, counted
//!                └► collector-2  ──┘
//! ```
//!
//! The table has no catalog server: its metadata is in its directory. The demo reads it like any
//! reader: from the metadata to the manifests, to the files that they list, to their rows.

use std::path::{Path, PathBuf};

use clap::Args;
use components_parquet::rows;
use demo::{DemoArgs, DemoError, Layout, grouped};
use iceberg::TableError;
use iceberg::manifest::{ListedFile, data_files};
use iceberg::metadata::Table;
use iceberg::versions::{HINT, name};
use pipeline::env::OpenMode;
use pipeline::settings::Settings;
use pipeline::{BatchBuilder, BuildContext, Component, Decoder, Env, Message};
use serde::Deserialize;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  aqueduct demo table                          a log that the demo writes
  aqueduct demo table /var/log/nginx/*.log     your own files, in UTF-8; the demo only reads them

The exit code is 0 only if the table has every line exactly once. The demo needs no catalog server.
At the end it prints how PyIceberg, DuckDB and Spark query the table.";

/// Arguments of the demo with a table.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(super) struct TableArgs {
    #[command(flatten)]
    pub(super) main: DemoArgs,
}

/// The table, in the folder of the demo.
pub(super) struct DemoTable;

/// A row.
#[derive(Deserialize)]
struct Row {
    line: String,
}

/// Directory of the tables, below the folder of the demo.
const WAREHOUSE: &str = "warehouse";
/// Namespace and name of the table.
const TABLE: (&str, &str) = ("logs", "access");

impl DemoTable {
    fn directory(root: &Path) -> PathBuf {
        root.join(WAREHOUSE).join(TABLE.0).join(TABLE.1)
    }

    /// Reads the newest version; `None` if the table does not exist yet.
    fn table(env: &Env, root: &Path) -> Result<Option<Table>, DemoError> {
        let metadata = Self::directory(root).join("metadata");
        if env.disk.stat(&metadata.join(HINT)).is_err() {
            return Ok(None);
        }
        let hint = String::from_utf8_lossy(&read(env, &metadata.join(HINT))?).into_owned();
        let mut version: u64 = hint.trim().parse().map_err(DemoError::unreadable)?;
        while env.disk.stat(&metadata.join(name(version + 1))).is_ok() {
            version += 1;
        }
        let content = read(env, &metadata.join(name(version)))?;
        Ok(Some(Table::from_metadata(&content).map_err(DemoError::unreadable)?))
    }

    /// Returns the files that readers see.
    fn files(env: &Env, root: &Path) -> Result<Vec<ListedFile>, DemoError> {
        let Some(table) = Self::table(env, root)? else { return Ok(Vec::new()) };
        let listed = data_files(&table, |url| read(env, &path_of(url)).map_err(Unread::Demo));
        listed.map_err(|error| match error {
            Unread::Demo(error) => error,
            Unread::Table(error) => DemoError::unreadable(error),
        })
    }
}

/// Why the files of a table are not known.
enum Unread {
    Demo(DemoError),
    Table(TableError),
}

impl From<TableError> for Unread {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

impl Layout for DemoTable {
    fn summary(&self) -> &'static str {
        "append them to an Iceberg table"
    }

    fn files(&self, root: &Path) -> PathBuf {
        Self::directory(root).join("data")
    }

    fn folders(&self) -> &'static str {
        "day=%Y-%m-%d"
    }

    fn settings(&self, root: &Path) -> Vec<(&'static str, Settings)> {
        let columns = json!([{"name": "line", "type": "string", "from": "body"}]);
        let encoder = json!({"type": "parquet", "columns": columns});
        let iceberg = json!({
            "catalog": format!("file://{}", root.join(WAREHOUSE).display()),
            "table": format!("{}.{}", TABLE.0, TABLE.1),
            "create": true,
        });
        vec![("encoder", Settings::from_json(&encoder)), ("iceberg", Settings::from_json(&iceberg))]
    }

    fn visible_lines(&self, env: &Env, root: &Path) -> Result<Option<u64>, DemoError> {
        Ok(Some(Self::files(env, root)?.iter().map(|file| file.rows).sum()))
    }

    fn read(&self, env: &Env, root: &Path, each: &mut dyn FnMut(&[u8])) -> Result<bool, DemoError> {
        let cx = BuildContext::alone("demo", root, env.clone());
        let config: Result<rows::Config, _> = Settings::empty().read();
        let decoder = config.map_err(DemoError::unreadable)?.build(&cx);
        let decoder = decoder.map_err(DemoError::unreadable)?;
        for file in Self::files(env, root)? {
            read_rows(&*decoder, env, &file, each)?;
        }
        Ok(true)
    }

    fn hint(&self, root: &Path) -> String {
        let (directory, warehouse) = (Self::directory(root), root.join(WAREHOUSE));
        let (directory, warehouse) = (directory.display(), warehouse.display());
        let (namespace, table) = TABLE;
        format!(
            "query the table with one of these programs:\n  \
             PyIceberg: python3 -c 'from pyiceberg.table import StaticTable; \
             print(StaticTable.from_metadata(\"{directory}\").scan().to_arrow().num_rows)'\n  \
             DuckDB: duckdb -c \"INSTALL iceberg; LOAD iceberg; \
             SELECT day, count(*) FROM iceberg_scan('{directory}') GROUP BY day\"\n  \
             Spark: spark-sql --packages org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0 \
             --conf spark.sql.catalog.demo=org.apache.iceberg.spark.SparkCatalog \
             --conf spark.sql.catalog.demo.type=hadoop \
             --conf spark.sql.catalog.demo.warehouse=file://{warehouse} \
             -e \"SELECT day, count(*) FROM demo.{namespace}.{table} GROUP BY day\"\n"
        )
    }
}

/// Calls `each` with the lines of a data file, which must be as many as the table states.
fn read_rows(
    decoder: &dyn Decoder,
    env: &Env,
    file: &ListedFile,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), DemoError> {
    let bytes = read(env, &path_of(&file.url))?;
    let message = Message { bytes: &bytes, charset: None, headers: &[] };
    let mut rows = BatchBuilder::default();
    decoder.decode(&message, &mut rows).map_err(DemoError::unreadable)?;
    let rows = rows.finish();
    if (rows.len() as u64, bytes.len() as u64) != (file.rows, file.bytes) {
        return Err(DemoError::unreadable(format!(
            "{} has {} rows and {} bytes, but {} and {} in the table",
            file.url,
            grouped(rows.len() as u64),
            grouped(bytes.len() as u64),
            grouped(file.rows),
            grouped(file.bytes)
        )));
    }
    for row in rows.events.iter() {
        let row: Row = serde_json::from_slice(row.body()).map_err(DemoError::unreadable)?;
        each(row.line.as_bytes());
    }
    Ok(())
}

/// Returns the path of a `file://` URL.
fn path_of(url: &str) -> PathBuf {
    url.strip_prefix("file://").unwrap_or(url).into()
}

fn read(env: &Env, path: &Path) -> Result<Vec<u8>, DemoError> {
    let read = || {
        let file = env.disk.open(path, OpenMode::default())?;
        let length = usize::try_from(file.stat()?.len).unwrap_or(usize::MAX);
        file.read(0, length)
    };
    read().map_err(|source| DemoError::File { path: path.to_owned(), source })
}
