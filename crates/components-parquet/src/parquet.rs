//! `parquet`: writes Parquet files with the columns declared in the settings.
//!
//! ```text
//!   event ─► each column's value: a path in the body, a header, the body
//!              │ JSON, typed rows, CSV, Avro: one reader each (body)
//!              │ does not fit: unwritable                    (row)
//!              ▼
//!          row group in memory ─full, or account full─► pages, compressed    (file, account)
//!          … until the file is finished ─► footer
//! ```
//!
//! Nothing is inferred: collectors with the same configuration write the same schema. Values are
//! never rounded or truncated. A file's memory counts as part of its size, and all files of an
//! encoder share one memory account.

mod account;
mod body;
mod buffer;
mod column;
mod file;
pub mod infer;
mod kind;
mod nest;
mod paths;
mod row;
mod shape;
mod statistics;
mod value;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use ::parquet::schema::types::TypePtr;
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Encoder, Events, FileEncoder, FileEnd, FileKind,
    TableForm, TableStorage, Unwritable,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::account::Account;
use self::body::{Format, Reading};
use self::column::ColumnConfig;
use self::row::Rows;
use self::shape::Leaf;
pub use self::value::accepted;

/// Maximum size of a row group: the format stores page lengths in 31 bits.
const GROUP_MAX: u64 = 1 << 30;
/// Minimum size of a row group: below that, a file is mostly metadata.
const GROUP_MIN: u64 = 64 << 10;

/// Settings of the `parquet` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Columns in their order: tables with `name`, `type` and the source of the value. An event
    /// that does not match them becomes a dead letter.
    columns: Vec<ColumnConfig>,
    /// Format of a body, if a column has a path in it: `json`, an object; `csv`, a line with the
    /// values in `fields`; `avro`, a datum of a record with the schema in `schema` or named by the
    /// event. Default: `json`. With `json`, a typed row is read by its own schema: see the setting
    /// `format` of the source `sql`.
    #[serde(default)]
    format: Option<Format>,
    /// With `csv`: names of the values of a line, in their order. A value without a name is
    /// skipped.
    #[serde(default)]
    fields: Vec<String>,
    /// With `csv`: delimiter between two values of a line, one ASCII character.
    #[serde(default = "default_delimiter")]
    delimiter: char,
    /// With `csv`: text that means NULL.
    #[serde(default)]
    null: String,
    /// With `avro`: schema of all bodies, in JSON. Use a reference to a file, such as
    /// `"${file:app.avsc}"`. Without it each event names its schema.
    #[serde(default)]
    schema: Option<String>,
    /// With `avro`: URLs of `schema`. An event whose header `flume.avro.schema.url` has another URL
    /// is rejected.
    #[serde(default)]
    schema_urls: Vec<String>,
    /// With `avro`: schemas by the URLs that events name, if `schema` is not set. The URLs are not
    /// fetched: an event with another URL is rejected.
    #[serde(default)]
    schemas: BTreeMap<String, String>,
    /// With `avro`: id of `schema` in a schema registry. If it is set, each body must begin with a
    /// zero byte and this id in four bytes, big-endian.
    #[serde(default)]
    registry_id: Option<u32>,
    /// Size of the rows, before compression, that are buffered and written as one row group; from
    /// 64 KiB to 1 GiB.
    #[serde(default = "pipeline::units::mib::<32>")]
    row_group_size: ByteSize,
    /// Compression of pages: `none`, `snappy`, `gzip` or `zstd`.
    #[serde(default)]
    codec: PageCodec,
    /// Memory limit of the rows that all open files of this sink buffer; at least twice
    /// `row_group_size`. Above half of it, a file that uses more than its share ends its row group
    /// early. Above all of it, every file does.
    #[serde(default = "pipeline::units::mib::<256>")]
    memory_max: ByteSize,
}

/// Compression of the pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PageCodec {
    /// None.
    None,
    /// Snappy, for readers without zstd.
    Snappy,
    /// Gzip, for old readers.
    Gzip,
    /// Zstd, at level 1.
    #[default]
    Zstd,
}

fn default_delimiter() -> char {
    ','
}

impl Component for Config {
    const KIND: &'static str = "parquet";
    type Role = dyn Encoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        let columns = column::read(self.columns)?;
        let reading = Reading {
            format: self.format.unwrap_or_default(),
            fields: self.fields,
            delimiter: self.delimiter,
            null: self.null,
            schema: self.schema,
            schema_urls: self.schema_urls,
            schemas: self.schemas,
            registry_id: self.registry_id,
        };
        let is_json = reading.format == Format::Json;
        let body = reading.body(&columns)?;
        if !(GROUP_MIN..=GROUP_MAX).contains(&self.row_group_size.0) {
            let problem = "must be from 64KiB to 1GiB";
            return Err(BuildError::invalid("row_group_size", problem));
        }
        if self.memory_max.0 / 2 < self.row_group_size.0 {
            let problem =
                "must be at least twice `row_group_size`, so that row groups can become full";
            return Err(BuildError::invalid("memory_max", problem));
        }
        let properties = WriterProperties::builder().set_compression(match self.codec {
            PageCodec::None => Compression::UNCOMPRESSED,
            PageCodec::Snappy => Compression::SNAPPY,
            PageCodec::Gzip => Compression::GZIP(Default::default()),
            PageCodec::Zstd => Compression::ZSTD(Default::default()),
        });
        Ok(Box::new(Parquet {
            form: Arc::new(Form {
                schema: shape::schema(&columns),
                properties: Arc::new(properties.build()),
                rows: Rows::new(columns, body),
                group_bytes: self.row_group_size.0,
            }),
            is_json,
            account: Account::new(self.memory_max.0),
        }))
    }
}

/// State shared by all files.
struct Form {
    rows: Rows,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    group_bytes: u64,
}

struct Parquet {
    form: Arc<Form>,
    /// Whether bodies are JSON or typed rows.
    is_json: bool,
    account: Arc<Account>,
}

impl Encoder for Parquet {
    fn file_kind(&self) -> FileKind {
        FileKind {
            extension: "parquet",
            content_type: "application/vnd.apache.parquet",
            is_lines: false,
        }
    }

    fn reads_rows(&self) -> bool {
        self.is_json
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        let mut unwritable = Vec::new();
        self.form.rows.read(events, |index, row| {
            if let Err(misfit) = row.each(|_| {}) {
                unwritable.push(Unwritable { index, reason: misfit.to_string() });
            }
        });
        unwritable
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let rows = events.len() as u64;
        let bytes = self.form.rows.bytes(events);
        // The account may end a row group early, and each one filled by these events starts
        // another.
        let groups = 2 + bytes / self.form.group_bytes;
        self.form.bound(bytes, rows, groups) - self.form.bound(0, 0, 0)
    }

    fn table(&self) -> Option<TableForm> {
        let mut form = TableForm::new(TableStorage::Parquet, &[]);
        form.columns = self.form.rows.table_columns();
        form.fields = self.form.rows.table_fields();
        Some(form)
    }

    fn statistics(&self, end: &[u8]) -> Option<FileEnd> {
        Some(statistics::read(end))
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(file::File::new(Arc::clone(&self.form), self.account.open()))
    }
}

impl Form {
    /// Returns an upper bound of the size of this many row groups and rows, whose values have this
    /// size, and their footer.
    fn bound(&self, bytes: u64, rows: u64, groups: u64) -> u64 {
        /// Size of a page header, and of its index entries with minimum and maximum.
        const AROUND_PAGE: u64 = 320;
        /// Size of a column chunk's footer entry, with minimum and maximum.
        const AROUND_CHUNK: u64 = 768;
        /// Maximum rows and bytes of a page: the library's own limits.
        const PAGE_ROWS: u64 = 20_000;
        const PAGE_BYTES: u64 = 1 << 20;
        let leaves = self.rows.leaves();
        let names: u64 = leaves.iter().map(|leaf| leaf.path_bytes).sum();
        let count = leaves.len() as u64;
        // Counts of each level, in pages and chunks.
        let levels = |leaf: &Leaf| 10 * (leaf.max_def + leaf.max_rep + 2) as u64;
        let levels: u64 = leaves.iter().map(levels).sum();
        let around_page = AROUND_PAGE + levels / count.max(1);
        // The last page of each chunk, and its dictionary.
        let pages = count * (rows / PAGE_ROWS + 2 * groups) + bytes / PAGE_BYTES;
        let chunks = groups * (count * AROUND_CHUNK + names + levels);
        // Incompressible data grows by at most a sixth.
        bytes + bytes / 6 + pages * around_page + chunks + 512 + 2 * names + 64 * count
    }
}

#[cfg(test)]
mod tests;
