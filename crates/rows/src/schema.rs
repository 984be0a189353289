//! The columns of a row and their types.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wide::DIGITS_MAX;

/// Version of the encoding of rows.
const VERSION: u32 = 1;
/// Maximum number of columns.
const COLUMNS_MAX: usize = 4096;
/// Maximum length of a schema as text.
const TEXT_MAX: usize = 1 << 20;
/// Maximum number of types in a schema, nested ones included.
const TYPES_MAX: usize = 4096;
/// Maximum depth of nested types. The text of a schema has at most three levels of JSON for each.
const DEPTH_MAX: usize = 32;

/// The type of a column, or of a value within one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A signed integer of 32 bits.
    Int32,
    /// A signed integer of 64 bits.
    Int64,
    /// A floating-point number of 32 bits, NaN and infinities included.
    Float32,
    /// A floating-point number of 64 bits, NaN and infinities included.
    Float64,
    /// An exact decimal number, or NaN.
    Decimal {
        /// Total number of digits, 1 to 76.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// A date, or an infinity.
    Date,
    /// A time of day, up to `24:00:00`.
    Time,
    /// A date and time without a zone, or an infinity.
    Timestamp,
    /// A point in time, or an infinity.
    TimestampUtc,
    /// A UUID.
    Uuid,
    /// Text in UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// JSON; JSON `null` differs from NULL.
    Json,
    /// An unsigned integer of 8 bits.
    Uint8,
    /// An unsigned integer of 16 bits.
    Uint16,
    /// An unsigned integer of 32 bits.
    Uint32,
    /// An unsigned integer of 64 bits.
    Uint64,
    /// A list of values of one type, or NULL.
    List(Box<Self>),
    /// Values with names.
    Struct(Vec<Column>),
    /// Pairs in order. A key is not NULL, and may occur several times.
    Map {
        /// Type of the keys: neither JSON nor a list, struct or map.
        key: Box<Self>,
        /// Type of the values.
        value: Box<Self>,
    },
}

impl Type {
    /// Examples of all types without types in them.
    pub const FLAT: [Self; 19] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Float32,
        Self::Float64,
        Self::Decimal { precision: 12, scale: 2 },
        Self::Decimal { precision: 76, scale: 10 },
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampUtc,
        Self::Uuid,
        Self::Text,
        Self::Bytes,
        Self::Json,
    ];

    /// Returns examples of all types.
    pub fn all() -> Vec<Self> {
        let field = |name: &str, kind| Column { name: name.to_owned(), kind };
        let texts = Self::Map { key: Box::new(Self::Text), value: Box::new(Self::Text) };
        let fields = vec![field("a", Self::Int32), field("b", texts.clone())];
        let nested = [Self::List(Box::new(Self::Int32)), Self::Struct(fields), texts];
        Self::FLAT.into_iter().chain(nested).collect()
    }

    /// Returns whether a value contains values.
    pub fn is_nested(&self) -> bool {
        matches!(self, Self::List(_) | Self::Struct(_) | Self::Map { .. })
    }

    /// Checks a type within the column `column`, and counts it in `types`.
    fn check(&self, column: &str, depth: usize, types: &mut usize) -> Result<(), InvalidSchema> {
        let invalid = |problem: String| Err(InvalidSchema(problem));
        *types += 1;
        if *types > TYPES_MAX {
            return invalid(format!("has more than {TYPES_MAX} types, nested ones included"));
        }
        if depth > DEPTH_MAX {
            let problem =
                format!("has types nested more than {DEPTH_MAX} deep in the column `{column}`");
            return invalid(problem);
        }
        match self {
            Self::Decimal { precision, scale }
                if !(1..=DIGITS_MAX).contains(precision) || scale > precision =>
            {
                invalid(format!("has an invalid number of digits in the column `{column}`"))
            }
            Self::List(item) => item.check(column, depth + 1, types),
            Self::Struct(fields) => {
                if fields.is_empty() {
                    return invalid(format!(
                        "has a struct without fields in the column `{column}`"
                    ));
                }
                check_names(fields, &format!(" in the column `{column}`"))?;
                fields.iter().try_for_each(|field| field.kind.check(column, depth + 1, types))
            }
            Self::Map { key, value } => {
                if key.is_nested() || **key == Self::Json {
                    let problem = format!("has a map in the column `{column}` with keys of {key}");
                    return invalid(problem);
                }
                key.check(column, depth + 1, types)?;
                value.check(column, depth + 1, types)
            }
            _ => Ok(()),
        }
    }
}

fn check_names(columns: &[Column], place: &str) -> Result<(), InvalidSchema> {
    let mut names = HashSet::with_capacity(columns.len());
    match columns.iter().find(|column| !names.insert(&*column.name)) {
        Some(Column { name, .. }) => Err(InvalidSchema(format!("has two columns `{name}`{place}"))),
        None => Ok(()),
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map { key, value } => write!(f, "map({key}, {value})"),
            Self::Struct(fields) => {
                for (at, Column { name, kind }) in fields.iter().enumerate() {
                    write!(f, "{}{name} {kind}", if at == 0 { "struct(" } else { ", " })?;
                }
                f.write_str(")")
            }
            plain => plain.serialize(f),
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
}

/// The columns of a row, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    columns: Vec<Column>,
}

/// Why columns are not a schema; a sentence without its first word, the name of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSchema(String);

impl fmt::Display for InvalidSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidSchema {}

#[derive(Serialize, Deserialize)]
struct Written<C> {
    version: u32,
    columns: C,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Schema {
    /// Creates a schema.
    ///
    /// # Errors
    /// Fails if there are no or too many columns or types, a name occurs twice, a decimal has an
    /// invalid number of digits, or types are nested too deeply.
    pub fn new(columns: Vec<Column>) -> Result<Self, InvalidSchema> {
        let invalid = |problem: String| Err(InvalidSchema(problem));
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            return invalid(format!("must have 1 to {COLUMNS_MAX} columns, not {}", columns.len()));
        }
        check_names(&columns, "")?;
        let mut types = 0;
        for Column { name, kind } in &columns {
            kind.check(name, 1, &mut types)?;
        }
        Ok(Self { columns })
    }

    /// Parses the value of the header.
    ///
    /// # Errors
    /// Fails if it is not a schema, or is of a newer version.
    pub fn parse(text: &str) -> Result<Self, InvalidSchema> {
        if text.len() > TEXT_MAX {
            return Err(InvalidSchema(format!(
                "has more than {TEXT_MAX} bytes; select fewer columns at the source"
            )));
        }
        let malformed = |error: serde_json::Error| {
            InvalidSchema(format!(
                "is malformed: {error}; remove interceptors that change it, and check that both \
                 agents have the same version"
            ))
        };
        let Version { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(InvalidSchema(format!(
                "has version {version}, but this program supports only version {VERSION}: update \
                 this agent"
            )));
        }
        let written: Written<Vec<Column>> = serde_json::from_str(text).map_err(malformed)?;
        Self::new(written.columns)
    }

    /// Returns the value of the header.
    ///
    /// # Panics
    /// Never: names and types are valid JSON.
    pub fn to_text(&self) -> String {
        let written = Written { version: VERSION, columns: &self.columns };
        serde_json::to_string(&written).expect("names and types are valid JSON")
    }

    /// Returns the columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
}
