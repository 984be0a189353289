//! Describes the files of an encoder as a table: SerDe, formats and columns.

use pipeline::{TableForm, TableStorage};

use super::Keys;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its Hive type: `string`, `decimal(10,2)`.
    pub(crate) kind: String,
}

/// The external table of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableSpec {
    /// Its database.
    pub(crate) database: String,
    /// Its name.
    pub(crate) table: String,
    /// Whether to create it and its database if missing.
    pub(crate) create: bool,
    /// Its directory, as readers see it: a URL without a trailing slash.
    pub(crate) location: String,
    /// Its partition columns.
    pub(crate) keys: Keys,
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// The reader of its files.
    pub(crate) reader: Reader,
}

/// The reader of a table's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Class of the SerDe.
    pub(crate) serde: String,
    /// Class of the input format.
    pub(crate) input: &'static str,
    /// Class of the output format.
    pub(crate) output: &'static str,
    /// Properties of the SerDe.
    pub(crate) serde_properties: Vec<(String, String)>,
    /// Properties of the table.
    pub(crate) table_properties: Vec<(String, String)>,
}

const TEXT_INPUT: &str = "org.apache.hadoop.mapred.TextInputFormat";
const TEXT_OUTPUT: &str = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat";
const LAZY: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";

impl TableSpec {
    /// Returns `database.table`.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

impl Reader {
    /// Returns the reader for this format, with `serde` instead of the usual class.
    pub(crate) fn for_form(form: &TableForm, serde: Option<&str>) -> Self {
        let (usual, input, output) = match form.storage {
            TableStorage::Text => (LAZY, TEXT_INPUT, TEXT_OUTPUT),
            TableStorage::Json => {
                ("org.apache.hadoop.hive.serde2.JsonSerDe", TEXT_INPUT, TEXT_OUTPUT)
            }
            TableStorage::Csv => {
                ("org.apache.hadoop.hive.serde2.OpenCSVSerde", TEXT_INPUT, TEXT_OUTPUT)
            }
            TableStorage::Avro => (
                "org.apache.hadoop.hive.serde2.avro.AvroSerDe",
                "org.apache.hadoop.hive.ql.io.avro.AvroContainerInputFormat",
                "org.apache.hadoop.hive.ql.io.avro.AvroContainerOutputFormat",
            ),
            TableStorage::SequenceFile => (
                LAZY,
                "org.apache.hadoop.mapred.SequenceFileInputFormat",
                "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
            ),
            TableStorage::Parquet => (
                "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            ),
        };
        Self {
            serde: serde.unwrap_or(usual).to_owned(),
            input,
            output,
            serde_properties: form.serde_properties.clone(),
            table_properties: form.table_properties.clone(),
        }
    }
}
