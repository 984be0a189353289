//! The columns of a row and their types.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the encoding of rows.
const VERSION: u32 = 1;
/// Maximum number of columns.
const COLUMNS_MAX: usize = 4096;
/// Maximum length of a schema as text.
const TEXT_MAX: usize = 1 << 20;
/// Maximum number of digits of a decimal.
const DIGITS_MAX: u8 = 38;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        /// Total number of digits, 1 to 38.
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
}

impl Type {
    /// Examples of all types.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Float32,
        Self::Float64,
        Self::Decimal { precision: 12, scale: 2 },
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::TimestampUtc,
        Self::Uuid,
        Self::Text,
        Self::Bytes,
        Self::Json,
    ];
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
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
    /// Fails if there are no or too many columns, a name occurs twice, or a decimal has an invalid
    /// number of digits.
    pub fn new(columns: Vec<Column>) -> Result<Self, InvalidSchema> {
        let invalid = |problem: String| Err(InvalidSchema(problem));
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            return invalid(format!("must have 1 to {COLUMNS_MAX} columns, not {}", columns.len()));
        }
        let mut names = HashSet::with_capacity(columns.len());
        for Column { name, kind } in &columns {
            if !names.insert(&**name) {
                return invalid(format!("has two columns `{name}`"));
            }
            if let Type::Decimal { precision, scale } = kind
                && (!(1..=DIGITS_MAX).contains(precision) || scale > precision)
            {
                return invalid(format!("has an invalid number of digits in the column `{name}`"));
            }
        }
        Ok(Self { columns })
    }

    /// Parses the value of the header.
    ///
    /// # Errors
    /// Fails if it is not a schema, or is of a newer version.
    pub fn parse(text: &str) -> Result<Self, InvalidSchema> {
        if text.len() > TEXT_MAX {
            return Err(InvalidSchema(format!("has more than {TEXT_MAX} bytes")));
        }
        let malformed = |error: serde_json::Error| InvalidSchema(format!("is malformed: {error}"));
        let Version { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(InvalidSchema(format!(
                "has version {version}, but this program reads version {VERSION}; update it"
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

    /// Returns the number of bytes with the NULL bits of a row.
    pub(crate) fn null_bytes(&self) -> usize {
        self.columns.len().div_ceil(8)
    }
}
