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
