//! A column: its validated settings, and its entry in the file schema.

use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::schema::types::{Type, TypePtr};
use pipeline::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One column.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnConfig {
    /// Name of the column in the file.
    name: String,
    /// Type of the values.
    #[serde(rename = "type")]
    kind: ColumnType,
    /// Source of a value: a path in the body (`user.id`), which has the format `format`;
    /// `header:NAME`; or `body`, the whole body. In a path, `\` escapes the next character.
    /// Default: the key, field or value `name` of the body.
    #[serde(default)]
    from: Option<String>,
    /// Whether an event without a value is rejected. Otherwise the value is null.
    #[serde(default)]
    required: bool,
    /// With `decimal`: number of digits, 1 to 38.
    #[serde(default)]
    precision: Option<u8>,
    /// With `decimal`: number of digits after the decimal point. Default: 0.
    #[serde(default)]
    scale: Option<u8>,
    /// Id of the column in the file, as an existing Iceberg table has it. Default: the position of
    /// the column, starting at 1.
    #[serde(default)]
    field_id: Option<i32>,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ColumnType {
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number, rounded to 32 bits.
    Float,
    /// A number, rounded to 64 bits.
    Double,
    /// An exact number of `precision` digits: in JSON a number, or its text as a string.
    Decimal,
    /// UTF-8 text.
    String,
    /// Bytes of the body, a header, or a JSON string.
    Bytes,
    /// The text of any JSON value, as it is written.
    Json,
    /// JSON in a text: in JSON a string that contains JSON, so that JSON `null` differs from NULL.
    JsonText,
    /// A day: `2026-11-25`.
    Date,
    /// A time: RFC 3339 with an offset, or a whole number of milliseconds since 1970.
    TimestampMillis,
    /// The same in microseconds.
    TimestampMicros,
}

impl ColumnType {
    /// All types without parameters.
    pub(super) const PLAIN: [Self; 12] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Float,
        Self::Double,
        Self::String,
        Self::Bytes,
        Self::Json,
        Self::JsonText,
        Self::Date,
        Self::TimestampMillis,
        Self::TimestampMicros,
    ];
}

/// A type with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A type named in the settings.
    Plain(ColumnType),
    /// Total digits, and digits after the point.
    Decimal { precision: u8, scale: u8 },
}

/// Source of a column's values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The header of this name.
    Header(String),
    /// The whole body.
    Body,
    /// A path of keys in the body's object.
    Path(Vec<String>),
}

/// A validated column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) source: Source,
    pub(super) required: bool,
    /// Its id in the file.
    pub(super) id: i32,
}

/// Digits that fit into 4 and 8 bytes; longer decimals take [`FIXED`] bytes.
const DIGITS_INT32: u8 = 9;
const DIGITS_INT64: u8 = 18;
const DIGITS_MAX: u8 = 38;
/// Bytes of a long decimal.
pub(super) const FIXED: usize = 16;

impl Kind {
    /// Returns the storage type.
    pub(super) fn physical(self) -> Physical {
        match self {
            Self::Decimal { precision: ..=DIGITS_INT32, .. } => Physical::INT32,
            Self::Decimal { precision: ..=DIGITS_INT64, .. } => Physical::INT64,
            Self::Decimal { .. } => Physical::FIXED_LEN_BYTE_ARRAY,
            Self::Plain(kind) => match kind {
                ColumnType::Bool => Physical::BOOLEAN,
                ColumnType::Int32 | ColumnType::Date => Physical::INT32,
                ColumnType::Float => Physical::FLOAT,
                ColumnType::Double => Physical::DOUBLE,
                ColumnType::String
                | ColumnType::Bytes
                | ColumnType::Json
                | ColumnType::JsonText => Physical::BYTE_ARRAY,
                ColumnType::Int64
                | ColumnType::TimestampMillis
                | ColumnType::TimestampMicros
                | ColumnType::Decimal => Physical::INT64,
            },
        }
    }

    /// Returns whether values have a variable length.
    pub(super) fn is_bytes(self) -> bool {
        self.physical() == Physical::BYTE_ARRAY
    }

    /// Returns an upper bound of a value's size in memory and in a file, without its text: a
    /// length, a level, and its dictionary index.
    pub(super) fn cost(self) -> u64 {
        let value = match self.physical() {
            Physical::BOOLEAN => 1,
            Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
            Physical::FIXED_LEN_BYTE_ARRAY => FIXED as u64,
            Physical::INT64 | Physical::DOUBLE | Physical::INT96 => 8,
        };
        value + 5
    }

    /// Returns the Hive name of the type.
    pub(super) fn in_table(self) -> String {
        let name = match self {
            Self::Decimal { .. } => return self.to_string(),
            Self::Plain(plain) => match plain {
                ColumnType::Bool => "boolean",
                ColumnType::Int32 => "int",
                ColumnType::Int64 => "bigint",
                ColumnType::Float => "float",
                ColumnType::Double => "double",
                // Decimals are never plain.
                ColumnType::Decimal => "decimal",
                ColumnType::String | ColumnType::Json | ColumnType::JsonText => "string",
                ColumnType::Bytes => "binary",
                ColumnType::Date => "date",
                ColumnType::TimestampMillis | ColumnType::TimestampMicros => "timestamp",
            },
        };
        name.to_owned()
    }

    /// Returns the Iceberg name of the type, if Iceberg has it.
    pub(super) fn in_iceberg(self) -> Option<String> {
        match self {
            Self::Plain(ColumnType::TimestampMicros) => Some("timestamptz".to_owned()),
            // Iceberg stores times in microseconds.
            Self::Plain(ColumnType::TimestampMillis) => None,
            Self::Plain(ColumnType::Int64) => Some("long".to_owned()),
            other => Some(other.in_table()),
        }
    }

    fn logical(self) -> Option<LogicalType> {
        let plain = match self {
            Self::Decimal { precision, scale } => {
                return Some(LogicalType::decimal(scale.into(), precision.into()));
            }
            Self::Plain(plain) => plain,
        };
        match plain {
            ColumnType::String => Some(LogicalType::String),
            ColumnType::Json | ColumnType::JsonText => Some(LogicalType::Json),
            ColumnType::Date => Some(LogicalType::Date),
            ColumnType::TimestampMillis => Some(LogicalType::timestamp(true, TimeUnit::MILLIS)),
            ColumnType::TimestampMicros => Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Plain(kind) => kind.serialize(f),
        }
    }
}

/// Validates the columns of the settings.
///
/// # Errors
/// A column is wrong, or a name occurs twice.
pub(super) fn read(configs: Vec<ColumnConfig>) -> Result<Vec<Column>, BuildError> {
    if configs.is_empty() {
        return Err(BuildError::invalid("columns", "must have at least one column"));
    }
    let mut columns: Vec<Column> = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        let invalid = |setting: &str, problem: String| {
            BuildError::invalid(format!("columns.{index}.{setting}"), problem)
        };
        let name = config.name;
        if name.is_empty() || name.contains('\0') {
            return Err(invalid("name", "must not be empty or contain NUL".to_owned()));
        }
        if columns.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            let problem = format!("must be unique, but `{name}` appears twice (Hive ignores case)");
            return Err(invalid("name", problem));
        }
        let kind = match (config.kind, config.precision, config.scale.unwrap_or(0)) {
            (ColumnType::Decimal, Some(precision @ 1..=DIGITS_MAX), scale) => {
                if scale > precision {
                    let problem = "must be at most `precision`".to_owned();
                    return Err(invalid("scale", problem));
                }
                Kind::Decimal { precision, scale }
            }
            (ColumnType::Decimal, ..) => {
                return Err(invalid("precision", "must be from 1 to 38 for a decimal".to_owned()));
            }
            (_, Some(_), _) => {
                return Err(invalid(
                    "precision",
                    "applies only to `decimal`: remove it".to_owned(),
                ));
            }
            (_, None, 1..) => {
                return Err(invalid("scale", "applies only to `decimal`: remove it".to_owned()));
            }
            (kind, None, 0) => Kind::Plain(kind),
        };
        let source = match &config.from {
            None => Source::Path(vec![name.clone()]),
            Some(from) => source(from).ok_or_else(|| {
                let problem = "must be a path such as `user.id`, `header:NAME`, or `body`";
                invalid("from", problem.to_owned())
            })?,
        };
        let id = config.field_id.unwrap_or(index as i32 + 1);
        if id < 1 || columns.iter().any(|other| other.id == id) {
            let problem = format!("must be unique and greater than 0, but is {id}");
            return Err(invalid("field_id", problem));
        }
        columns.push(Column { name, kind, source, required: config.required, id });
    }
    Ok(columns)
}

fn source(from: &str) -> Option<Source> {
    if from == "body" {
        return Some(Source::Body);
    }
    if let Some(header) = from.strip_prefix("header:") {
        return (!header.is_empty()).then(|| Source::Header(header.to_owned()));
    }
    let mut keys = vec![String::new()];
    let mut characters = from.chars();
    while let Some(character) = characters.next() {
        let last = keys.last_mut()?;
        match character {
            '.' => keys.push(String::new()),
            '\\' => last.push(characters.next()?),
            other => last.push(other),
        }
    }
    keys.iter().all(|key| !key.is_empty()).then_some(Source::Path(keys))
}

/// Returns the schema of a file.
pub(super) fn schema(columns: &[Column]) -> TypePtr {
    let fields = columns.iter().map(|column| {
        let repetition = if column.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let physical = column.kind.physical();
        let mut field = Type::primitive_type_builder(&column.name, physical)
            .with_id(Some(column.id))
            .with_repetition(repetition)
            .with_logical_type(column.kind.logical());
        if let Kind::Decimal { precision, scale } = column.kind {
            field = field.with_precision(precision.into()).with_scale(scale.into());
        }
        if physical == Physical::FIXED_LEN_BYTE_ARRAY {
            field = field.with_length(FIXED as i32);
        }
        Arc::new(field.build().expect("types and digits were checked"))
    });
    let schema = Type::group_type_builder("event").with_fields(fields.collect());
    Arc::new(schema.build().expect("a group takes any columns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_path_at_dots_unless_escaped() {
        let path = |keys: &[&str]| Some(Source::Path(keys.iter().map(|&key| key.into()).collect()));
        for (from, expected) in [
            ("a", path(&["a"])),
            ("a.b.c", path(&["a", "b", "c"])),
            (r"a\.b.c\\d", path(&["a.b", r"c\d"])),
            (r"\body", path(&["body"])),
            ("body", Some(Source::Body)),
            ("header:host", Some(Source::Header("host".into()))),
            (r"\header:host", path(&["header:host"])),
            ("header:", None),
            ("", None),
            ("a..b", None),
            (r"a\", None),
        ] {
            assert_eq!(source(from), expected, "{from}");
        }
    }
}
