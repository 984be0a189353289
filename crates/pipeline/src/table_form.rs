//! Describes files of an encoder as a table, for catalogues such as Hive's.

/// In which form the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStorage {
    /// Lines of text.
    Text,
    /// One JSON object per line.
    Json,
    /// Lines of values, quoted as in CSV.
    Csv,
    /// Avro container files.
    Avro,
    /// Hadoop's SequenceFile.
    SequenceFile,
    /// Parquet.
    Parquet,
}

/// A column of files whose columns have ids, for table formats that identify columns by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableField {
    /// Its id in the files.
    pub id: i32,
    /// Its name in the files.
    pub name: String,
    /// Its type, as Iceberg names it: `long`, `decimal(9,2)`. `None` if Iceberg has no such type.
    pub kind: Option<String>,
    /// Whether it is never null.
    pub required: bool,
}

/// Describes files of an encoder as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableForm {
    /// In which form the rows are.
    pub storage: TableStorage,
    /// Names and types of the columns, in Hive's syntax: `map<string,string>`. Empty if only the
    /// schema in the properties defines them.
    pub columns: Vec<(String, String)>,
    /// The columns of files that have ids; otherwise empty.
    pub fields: Vec<TableField>,
    /// Properties of Hive's SerDe, which reads the rows.
    pub serde_properties: Vec<(String, String)>,
    /// Properties of the table.
    pub table_properties: Vec<(String, String)>,
}

impl TableForm {
    /// A form with these columns, and without properties.
    #[must_use]
    pub fn new(storage: TableStorage, columns: &[(&str, &str)]) -> Self {
        let owned = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
        let columns = columns.iter().map(owned).collect();
        let (fields, serde_properties, table_properties) = Default::default();
        Self { storage, columns, fields, serde_properties, table_properties }
    }

    /// Lines of text: each is one column `line`, with any characters.
    #[must_use]
    pub fn lines() -> Self {
        let mut form = Self::new(TableStorage::Text, &[("line", "string")]);
        let rest = "serialization.last.column.takes.rest";
        form.serde_properties.push((rest.to_owned(), "true".to_owned()));
        form
    }
}
