//! Statistics of the columns of a file, for table formats that skip files by them.

use std::cmp::Ordering;

/// Statistics of a column in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnStatistics {
    /// Id of the column in the file.
    pub id: i32,
    /// Stored size in bytes.
    pub bytes: u64,
    /// Number of values, including nulls.
    pub values: u64,
    /// Number of nulls, if known.
    pub nulls: Option<u64>,
    /// Number of values that are NaN, if known; only of numbers with a floating point.
    pub nans: Option<u64>,
    /// A lower and an upper bound of all values except nulls and NaN, if known.
    pub bounds: Option<(BoundValue, BoundValue)>,
}

/// A bound of the values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum BoundValue {
    /// A Boolean.
    Bool(bool),
    /// A whole number of 32 bits, or days since 1970.
    Int(i32),
    /// A whole number of 64 bits, or microseconds since 1970.
    Long(i64),
    /// A number with 32 bits.
    Float(f32),
    /// A number with 64 bits.
    Double(f64),
    /// The digits of a decimal, as a whole number.
    Decimal(i128),
    /// Bytes, or the UTF-8 of a text; possibly cut, and then not a whole character at the end.
    Bytes(Vec<u8>),
}

impl BoundValue {
    /// Compares values of one column; `None` for values of different types, or NaN.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Long(one), Self::Long(other)) => Some(one.cmp(other)),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(other),
            (Self::Decimal(one), Self::Decimal(other)) => Some(one.cmp(other)),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }
}

/// The content of the end of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum FileEnd {
    /// Statistics of its columns.
    Statistics(Vec<ColumnStatistics>),
    /// More bytes are necessary: this many, up to the end.
    Needs(u64),
}
