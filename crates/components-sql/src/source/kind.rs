//! Types of columns in files.

use std::fmt;

/// The type of a column in a columnar file, with values as in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A 32-bit floating-point number.
    Float,
    /// A 64-bit floating-point number.
    Double,
    /// A decimal number.
    Decimal {
        /// Total number of digits.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// A date.
    Date,
    /// A time in UTC.
    Timestamp,
    /// JSON.
    Json,
    /// Text: everything else.
    Text,
}

impl Kind {
    /// Returns the type of a column of the encoder `parquet`, as settings in TOML.
    pub fn in_parquet(self) -> String {
        let name = match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal { precision, scale } => {
                return format!("type = \"decimal\", precision = {precision}, scale = {scale}");
            }
            Self::Date => "date",
            Self::Timestamp => "timestamp_micros",
            // JSON null is not NULL.
            Self::Json => "json_text",
            Self::Text => "string",
        };
        format!("type = \"{name}\"")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "a boolean",
            Self::Int32 => "a 32-bit integer",
            Self::Int64 => "a 64-bit integer",
            Self::Float => "a 32-bit floating-point number",
            Self::Double => "a 64-bit floating-point number",
            Self::Decimal { precision, scale } => {
                return write!(f, "decimal({precision},{scale})");
            }
            Self::Date => "a date",
            Self::Timestamp => "a timestamp in microseconds",
            Self::Json => "JSON",
            Self::Text => "text",
        })
    }
}
