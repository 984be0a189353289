//! The type of a value in a file.

use ::parquet::basic::{LogicalType, TimeUnit, Type as Physical};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// A whole number from 0 to 255.
    Uint8,
    /// A whole number from 0 to 65,535.
    Uint16,
    /// A whole number of 32 bits without a sign.
    Uint32,
    /// A whole number of 64 bits without a sign.
    Uint64,
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
    pub(super) const PLAIN: [Self; 16] = [
        Self::Bool,
        Self::Int32,
        Self::Int64,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
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

impl ColumnType {
    /// Returns whether values are numbers without digits after the point of their own.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Float | Self::Double) || self.is_integer()
    }

    /// Returns whether values are whole numbers.
    pub(super) fn is_integer(self) -> bool {
        use ColumnType::{Int32, Int64, Uint8, Uint16, Uint32, Uint64};
        matches!(self, Int32 | Int64 | Uint8 | Uint16 | Uint32 | Uint64)
    }
}

/// A type with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A type named in the settings.
    Plain(ColumnType),
    /// Total digits, and digits after the point.
    Decimal { precision: u8, scale: u8 },
}

/// Digits that fit into 4, 8 and 16 bytes; longer decimals take 32.
const DIGITS_INT32: u8 = 9;
const DIGITS_INT64: u8 = 18;
pub(super) const DIGITS_FIXED16: u8 = 38;
pub(super) const DIGITS_MAX: u8 = 76;

impl Kind {
    /// Returns the storage type.
    pub(super) fn physical(self) -> Physical {
        match self {
            Self::Decimal { precision: ..=DIGITS_INT32, .. } => Physical::INT32,
            Self::Decimal { precision: ..=DIGITS_INT64, .. } => Physical::INT64,
            Self::Decimal { .. } => Physical::FIXED_LEN_BYTE_ARRAY,
            Self::Plain(kind) => match kind {
                ColumnType::Bool => Physical::BOOLEAN,
                ColumnType::Int32
                | ColumnType::Date
                | ColumnType::Uint8
                | ColumnType::Uint16
                | ColumnType::Uint32 => Physical::INT32,
                ColumnType::Float => Physical::FLOAT,
                ColumnType::Double => Physical::DOUBLE,
                ColumnType::String
                | ColumnType::Bytes
                | ColumnType::Json
                | ColumnType::JsonText => Physical::BYTE_ARRAY,
                ColumnType::Int64
                | ColumnType::Uint64
                | ColumnType::TimestampMillis
                | ColumnType::TimestampMicros
                | ColumnType::Decimal => Physical::INT64,
            },
        }
    }

    /// Returns the length of a value of fixed length.
    pub(super) fn fixed_bytes(self) -> usize {
        match self {
            Self::Decimal { precision: ..=DIGITS_FIXED16, .. } => 16,
            _ => 32,
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
            Physical::FIXED_LEN_BYTE_ARRAY => self.fixed_bytes() as u64,
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
                ColumnType::Int32 | ColumnType::Uint8 | ColumnType::Uint16 => "int",
                ColumnType::Int64 | ColumnType::Uint32 => "bigint",
                ColumnType::Uint64 => "decimal(20,0)",
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
            // Iceberg stores times in microseconds, has signed numbers, and 38 digits.
            Self::Plain(
                ColumnType::TimestampMillis
                | ColumnType::Uint8
                | ColumnType::Uint16
                | ColumnType::Uint32
                | ColumnType::Uint64,
            )
            | Self::Decimal { precision: 39.., .. } => None,
            Self::Plain(ColumnType::Int64) => Some("long".to_owned()),
            other => Some(other.in_table()),
        }
    }

    /// Returns the meaning of the stored values.
    pub(super) fn logical(self) -> Option<LogicalType> {
        let plain = match self {
            Self::Decimal { precision, scale } => {
                return Some(LogicalType::decimal(scale.into(), precision.into()));
            }
            Self::Plain(plain) => plain,
        };
        match plain {
            ColumnType::Uint8 => Some(LogicalType::integer(8, false)),
            ColumnType::Uint16 => Some(LogicalType::integer(16, false)),
            ColumnType::Uint32 => Some(LogicalType::integer(32, false)),
            ColumnType::Uint64 => Some(LogicalType::integer(64, false)),
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
