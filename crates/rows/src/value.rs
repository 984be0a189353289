//! A value of each type.

use crate::{NANOS, Nested, Wide};

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value, for a column of any type.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed integer of 32 bits.
    Int32(i32),
    /// A signed integer of 64 bits.
    Int64(i64),
    /// A floating-point number of 32 bits.
    Float32(f32),
    /// A floating-point number of 64 bits.
    Float64(f64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// Days since 1970-01-01. The largest and smallest number are the infinities.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// A date and time without a zone.
    Timestamp(Moment),
    /// A point in time.
    TimestampUtc(Moment),
    /// A UUID.
    Uuid([u8; 16]),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// JSON.
    Json(&'a str),
    /// An unsigned integer of 8 bits.
    Uint8(u8),
    /// An unsigned integer of 16 bits.
    Uint16(u16),
    /// An unsigned integer of 32 bits.
    Uint32(u32),
    /// An unsigned integer of 64 bits.
    Uint64(u64),
    /// An exact decimal number with 39 to 76 digits.
    LargeDecimal(LargeDecimal),
    /// A list.
    List(Nested<'a>),
    /// Values with names.
    Struct(Nested<'a>),
    /// Pairs.
    Map(Nested<'a>),
}

/// A decimal number: digits without their point, and the number of digits after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// The digits, with the sign.
    pub digits: i128,
    /// Digits after the point.
    pub scale: u8,
}

impl Decimal {
    /// Digits of NaN.
    pub const NAN: i128 = i128::MIN;

    /// Returns whether it is NaN.
    pub fn is_nan(self) -> bool {
        self.digits == Self::NAN
    }
}

/// The same with 39 to 76 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeDecimal {
    /// The digits, with the sign.
    pub digits: Wide,
    /// Digits after the point.
    pub scale: u8,
}

impl LargeDecimal {
    /// Returns whether it is NaN.
    pub fn is_nan(self) -> bool {
        self.digits == Wide::MIN
    }
}

/// A date and time: seconds since 1970-01-01T00:00:00, and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds, rounded down. The largest and smallest number are the infinities.
    pub seconds: i64,
    /// Nanoseconds, less than a second.
    pub nanos: u32,
}

impl Moment {
    /// `infinity`.
    pub const INFINITY: Self = Self { seconds: i64::MAX, nanos: 0 };
    /// `-infinity`.
    pub const NEG_INFINITY: Self = Self { seconds: i64::MIN, nanos: 0 };

    /// Creates it from microseconds since 1970.
    pub fn from_micros(micros: i64) -> Self {
        let nanos = micros.rem_euclid(1_000_000) as u32 * 1000;
        Self { seconds: micros.div_euclid(1_000_000), nanos }
    }

    /// Returns it in nanoseconds since 1970; `None` for an infinity.
    pub fn to_nanos(self) -> Option<i128> {
        let is_finite = self != Self::INFINITY && self != Self::NEG_INFINITY;
        is_finite.then(|| i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanos))
    }

    /// Creates it from nanoseconds since 1970; `None` outside of the range.
    pub fn from_nanos(nanos: i128) -> Option<Self> {
        let seconds = i64::try_from(nanos.div_euclid(NANOS.into())).ok()?;
        let within = nanos.rem_euclid(NANOS.into()) as u32;
        let is_infinity = seconds == i64::MAX || seconds == i64::MIN;
        (!is_infinity).then_some(Self { seconds, nanos: within })
    }
}

impl Value<'_> {
    /// Returns a noun for messages.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Bool(_) => "a boolean",
            Self::Int32(_) | Self::Int64(_) => "an integer",
            Self::Uint8(_) | Self::Uint16(_) | Self::Uint32(_) | Self::Uint64(_) => {
                "an unsigned integer"
            }
            Self::Float32(_) => "a 32-bit floating-point number",
            Self::Float64(_) => "a 64-bit floating-point number",
            Self::Decimal(_) => "a decimal",
            Self::LargeDecimal(_) => "a decimal with more than 38 digits",
            Self::List(_) => "a list",
            Self::Struct(_) => "a struct",
            Self::Map(_) => "a map",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time of day",
            Self::Timestamp(_) => "a time without a zone",
            Self::TimestampUtc(_) => "a time",
            Self::Uuid(_) => "a UUID",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Json(_) => "JSON",
        }
    }
}
