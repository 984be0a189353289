//! A value of each type.

use crate::{NANOS, Type};

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
            Self::Float32(_) => "a 32-bit floating-point number",
            Self::Float64(_) => "a 64-bit floating-point number",
            Self::Decimal(_) => "a decimal",
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

    /// Returns the largest or smallest values of a type, and values near its limits, for tests.
    pub fn limits(kind: Type) -> Vec<Value<'static>> {
        let moments = [
            Moment { seconds: 0, nanos: 0 },
            Moment { seconds: -1, nanos: 999_999_999 },
            // 9999-12-31 and 294276-12-31, the last second of PostgreSQL.
            Moment { seconds: 253_402_300_799, nanos: 999_999_000 },
            Moment { seconds: 9_224_318_015_999, nanos: 999_999_000 },
            // 4713 BC.
            Moment { seconds: -210_866_803_200, nanos: 0 },
            Moment::INFINITY,
            Moment::NEG_INFINITY,
        ];
        let typed = match kind {
            Type::Bool => vec![Value::Bool(false), Value::Bool(true)],
            Type::Int32 => [0, -1, i32::MIN, i32::MAX].map(Value::Int32).to_vec(),
            Type::Int64 => [0, -1, i64::MIN, i64::MAX].map(Value::Int64).to_vec(),
            Type::Float32 => {
                let numbers = [0.0, -0.0, 0.1, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::NAN];
                let infinities = [f32::INFINITY, f32::NEG_INFINITY];
                numbers.into_iter().chain(infinities).map(Value::Float32).collect()
            }
            Type::Float64 => {
                let numbers = [0.0, -0.0, 0.1, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::NAN];
                let infinities = [f64::INFINITY, f64::NEG_INFINITY];
                numbers.into_iter().chain(infinities).map(Value::Float64).collect()
            }
            Type::Decimal { precision, scale } => {
                let most = 10_i128.pow(precision.into()) - 1;
                let digits = [0, -1, most, -most, Decimal::NAN];
                digits.map(|digits| Value::Decimal(Decimal { digits, scale })).to_vec()
            }
            Type::Date => {
                // 4713 BC, 1970, 9999, 5874897, and the infinities.
                let days = [-2_440_550, 0, 2_932_896, 2_145_042_905, i32::MAX, i32::MIN];
                days.map(Value::Date).to_vec()
            }
            Type::Time => [0, 1, crate::NANOS_OF_DAY].map(Value::Time).to_vec(),
            Type::Timestamp => moments.map(Value::Timestamp).to_vec(),
            Type::TimestampUtc => moments.map(Value::TimestampUtc).to_vec(),
            Type::Uuid => [[0; 16], [0xff; 16]].map(Value::Uuid).to_vec(),
            Type::Text => ["", "null", "\u{1}\"\\\n", "ä€😀"].map(Value::Text).to_vec(),
            Type::Bytes => [&[][..], &[0, 0xff], &[0xc1; 200]].map(Value::Bytes).to_vec(),
            Type::Json => ["null", "\"null\"", "[1.10]", "{}"].map(Value::Json).to_vec(),
        };
        [Value::Null].into_iter().chain(typed).collect()
    }
}
