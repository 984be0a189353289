//! Tables as described in the log before their rows.
//!
//! With `binlog_row_metadata=FULL`, the log has the types, names, keys, charsets and labels of the
//! columns at the time of the change. The database is not queried, because its tables may have
//! changed since.

use std::collections::HashMap;

use mysql_async::binlog::events::{OptionalMetaExtractor, OptionalMetadataField, TableMapEvent};
use mysql_async::consts::ColumnType;

use super::super::assemble::{Column, Table};
use super::flavour::Flavour;
use crate::connection::MYSQL_BINARY;
use crate::meaning::Meaning;

/// The encoding of a text column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    /// Bytes instead of text.
    Binary,
    Utf8,
    /// Windows-1252, which MySQL calls latin1.
    Latin1,
}

impl Charset {
    /// Returns the charset of this name; `None` if it is not supported.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "binary" => Some(Self::Binary),
            "utf8" | "utf8mb3" | "utf8mb4" | "ascii" => Some(Self::Utf8),
            "latin1" => Some(Self::Latin1),
            _ => None,
        }
    }
}

/// The charsets of a server, by collation number, and its list of columns with a charset.
#[derive(Debug)]
pub(super) struct Charsets {
    names: HashMap<u64, String>,
    flavour: Flavour,
}

impl Charsets {
    pub(super) fn new(
        flavour: Flavour,
        collations: impl IntoIterator<Item = (u64, String)>,
    ) -> Self {
        Self { names: collations.into_iter().collect(), flavour }
    }

    /// Returns whether the log lists a charset for columns of this type. MariaDB also lists one
    /// for each geometry.
    fn lists(&self, kind: ColumnType) -> bool {
        kind.is_character_type() || self.flavour == Flavour::MariaDb && kind.is_geometry_type()
    }

    fn charset(&self, collation: u16) -> Result<Charset, String> {
        // The server does not list the numbers of UCA 14 collations; they are in blocks.
        let name = match collation >> 8 {
            8 => "utf8mb3",
            9 => "utf8mb4",
            _ => self.names.get(&collation.into()).map_or("unknown", String::as_str),
        };
        Charset::named(name).ok_or_else(|| format!("the charset {name} (collation {collation})"))
    }
}

/// A column, as it is for the following rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    /// Type metadata: lengths, digits.
    pub(super) meta: [u8; 2],
    pub(super) is_unsigned: bool,
    pub(super) charset: Charset,
    /// Choices of `ENUM` and `SET`, in the column's charset.
    pub(super) labels: Vec<Vec<u8>>,
    pub(super) is_key: bool,
}

/// A captured table, as it is for the following rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MappedTable {
    /// Index among the captured tables.
    pub(super) index: u64,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) shapes: Vec<Shape>,
}

/// Returns the message for a part of the log that cannot be decoded.
pub(super) fn undecodable(what: &str, error: &dyn std::fmt::Display) -> String {
    format!(
        "cannot decode {what} of the binary log: {error}; check it with `mysqlbinlog`; if that can \
         read it, report this as a bug"
    )
}

impl MappedTable {
    /// Parses a table map.
    ///
    /// # Errors
    /// The map is incomplete, or has a column of an unsupported type.
    pub(super) fn read(
        map: &TableMapEvent<'_>,
        index: u64,
        charsets: &Charsets,
    ) -> Result<Self, String> {
        let (schema, name) = (map.database_name().into_owned(), map.table_name().into_owned());
        let shapes =
            shapes(map, charsets).map_err(|problem| format!("table {schema}.{name}: {problem}"));
        Ok(Self { index, shapes: shapes?, schema, name })
    }

    /// Returns the table as events use it.
    pub(super) fn table(&self) -> Table {
        let column = |shape: &Shape| Column {
            name: shape.name.clone(),
            is_key: shape.is_key,
            meaning: Meaning::Native,
        };
        let columns = self.shapes.iter().map(column).collect();
        Table::new(self.schema.clone(), self.name.clone(), columns)
    }
}

/// Returns the names of the values of each `enum` column, and of each `set` column.
fn labels(map: &TableMapEvent<'_>) -> std::io::Result<[Vec<Vec<Vec<u8>>>; 2]> {
    let (mut enums, mut sets) = (Vec::new(), Vec::new());
    for field in map.iter_optional_meta() {
        match field? {
            OptionalMetadataField::EnumStrValue(of) => {
                for labels in of.iter_values() {
                    let labels = labels?;
                    let raw = labels.values().iter().map(|it| it.value_raw().to_vec());
                    enums.push(raw.collect());
                }
            }
            OptionalMetadataField::SetStrValue(of) => {
                for labels in of.iter_values() {
                    let labels = labels?;
                    let raw = labels.values().iter().map(|it| it.value_raw().to_vec());
                    sets.push(raw.collect());
                }
            }
            _ => {}
        }
    }
    Ok([enums, sets])
}

fn shapes(map: &TableMapEvent<'_>, charsets: &Charsets) -> Result<Vec<Shape>, String> {
    let odd = |error: std::io::Error| undecodable("the column types", &error);
    let meta = OptionalMetaExtractor::new(map.iter_optional_meta()).map_err(odd)?;
    let (mut names, mut signs) = (meta.iter_column_name(), meta.iter_signedness());
    let (mut texts, mut choices) = (meta.iter_charset(), meta.iter_enum_and_set_charset());
    // In key order, which may differ from the column order.
    let key: Vec<u64> = meta.iter_primary_key().collect::<Result<_, _>>().map_err(odd)?;
    let [mut enums, mut sets] = labels(map).map_err(odd)?.map(Vec::into_iter);
    let mut shapes = Vec::new();
    for at in 0..map.columns_count() as usize {
        let Some(name) = names.next().transpose().map_err(odd)? else {
            return Err(
                "the binary log has no column names; run `SET GLOBAL binlog_row_metadata = 'FULL'`"
                    .to_owned(),
            );
        };
        let name = name.name().into_owned();
        let kind = map.get_column_type(at).map_err(|error| format!("`{name}`: {error}"))?;
        let kind = kind.ok_or_else(|| {
            format!("the column `{name}` has no type in the binary log; report this as a bug")
        })?;
        let mut meta = [0; 2];
        let written = map.get_column_metadata(at).unwrap_or_default();
        meta.iter_mut().zip(written).for_each(|(to, from)| *to = *from);
        let (charset, labels) = match kind {
            ColumnType::MYSQL_TYPE_ENUM => (Some(choices.next()), enums.next()),
            ColumnType::MYSQL_TYPE_SET => (Some(choices.next()), sets.next()),
            kind if charsets.lists(kind) => (Some(texts.next()), None),
            _ => (None, None),
        };
        let charset = match charset {
            None => MYSQL_BINARY,
            Some(listed) => {
                let listed = listed.transpose().map_err(odd)?;
                listed.ok_or_else(|| {
                    format!(
                        "the binary log has no charset of the column `{name}`; run `SET GLOBAL \
                         binlog_row_metadata = 'FULL'`"
                    )
                })?
            }
        };
        let charset = charsets.charset(charset).map_err(|charset| {
            format!(
                "the column `{name}` has {charset}, which is not supported; convert it to utf8mb4"
            )
        })?;
        shapes.push(Shape {
            is_unsigned: kind.is_numeric_type() && signs.next().unwrap_or(false),
            is_key: key.contains(&(at as u64)),
            labels: labels.unwrap_or_default(),
            name,
            kind,
            meta,
            charset,
        });
    }
    Ok(shapes)
}
