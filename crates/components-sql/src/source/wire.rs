//! Values of PostgreSQL in the binary format of its protocol.
//!
//! Types without an entry here are cast to text by the server.

use ::rows::{Decimal, Moment, Value as Typed};
use tokio_postgres::types::Type;

use super::kind::Kind;

/// How the server sends the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// Cast to text by the server.
    Cast,
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// A decimal with these digits after the point.
    Numeric(u8),
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    Bytea,
    Json,
    Jsonb,
    Text,
}

/// Types whose binary format is read, besides `numeric`.
const TYPES: [(Type, Wire); 19] = [
    (Type::BOOL, Wire::Bool),
    (Type::INT2, Wire::Int2),
    (Type::INT4, Wire::Int4),
    (Type::INT8, Wire::Int8),
    (Type::OID, Wire::Oid),
    (Type::FLOAT4, Wire::Float4),
    (Type::FLOAT8, Wire::Float8),
    (Type::DATE, Wire::Date),
    (Type::TIME, Wire::Time),
    (Type::TIMESTAMP, Wire::Timestamp),
    (Type::TIMESTAMPTZ, Wire::TimestampTz),
    (Type::UUID, Wire::Uuid),
    (Type::BYTEA, Wire::Bytea),
    (Type::JSON, Wire::Json),
    (Type::JSONB, Wire::Jsonb),
    (Type::TEXT, Wire::Text),
    (Type::VARCHAR, Wire::Text),
    (Type::BPCHAR, Wire::Text),
    (Type::NAME, Wire::Text),
];

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_SECONDS: i64 = EPOCH_DAYS as i64 * 86_400;
/// Signs of a `numeric`.
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;

impl Wire {
    /// Returns how to select a column of this type.
    pub(super) fn of(of: &Type, kind: Kind) -> Self {
        if let (&Type::NUMERIC, Kind::Decimal { scale, .. }) = (of, kind) {
            return u8::try_from(scale).map_or(Self::Cast, Self::Numeric);
        }
        TYPES.iter().find(|(known, _)| known == of).map_or(Self::Cast, |(_, wire)| *wire)
    }

    /// Returns the type of the value in a row; `None` for a text of the server, whose type depends
    /// on its meaning.
    pub(super) fn kind(self, kind: Kind) -> Option<::rows::Type> {
        Some(match self {
            Self::Cast => return None,
            Self::Timestamp => ::rows::Type::Timestamp,
            Self::Time => ::rows::Type::Time,
            Self::Uuid => ::rows::Type::Uuid,
            Self::Bytea => ::rows::Type::Bytes,
            _ => kind.in_row(),
        })
    }

    /// Reads a value; `None` if the bytes are not in the format. `scratch` holds the text of JSON.
    pub(super) fn value<'a>(self, bytes: &'a [u8], scratch: &'a mut String) -> Option<Typed<'a>> {
        Some(match self {
            Self::Bool => match bytes {
                [0] => Typed::Bool(false),
                [1] => Typed::Bool(true),
                _ => return None,
            },
            Self::Int2 => Typed::Int32(i16::from_be_bytes(bytes.try_into().ok()?).into()),
            Self::Int4 => Typed::Int32(i32::from_be_bytes(bytes.try_into().ok()?)),
            Self::Int8 => Typed::Int64(i64::from_be_bytes(bytes.try_into().ok()?)),
            Self::Oid => Typed::Int64(u32::from_be_bytes(bytes.try_into().ok()?).into()),
            Self::Float4 => Typed::Float32(f32::from_be_bytes(bytes.try_into().ok()?)),
            Self::Float8 => Typed::Float64(f64::from_be_bytes(bytes.try_into().ok()?)),
            Self::Numeric(scale) => {
                Typed::Decimal(Decimal { digits: numeric(bytes, scale)?, scale })
            }
            Self::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
                infinity @ (i32::MAX | i32::MIN) => Typed::Date(infinity),
                day => Typed::Date(day.checked_add(EPOCH_DAYS)?),
            },
            Self::Time => {
                Typed::Time(i64::from_be_bytes(bytes.try_into().ok()?).checked_mul(1000)?)
            }
            Self::Timestamp => Typed::Timestamp(moment(bytes)?),
            Self::TimestampTz => Typed::TimestampUtc(moment(bytes)?),
            Self::Uuid => Typed::Uuid(bytes.try_into().ok()?),
            Self::Bytea => Typed::Bytes(bytes),
            Self::Json | Self::Jsonb => {
                let text = match (self, bytes) {
                    (Self::Jsonb, [1, text @ ..]) => text,
                    (Self::Jsonb, _) => return None,
                    _ => bytes,
                };
                *scratch = crate::value::compact(std::str::from_utf8(text).ok()?);
                Typed::Json(scratch)
            }
            Self::Text | Self::Cast => Typed::Text(std::str::from_utf8(bytes).ok()?),
        })
    }
}

fn moment(bytes: &[u8]) -> Option<Moment> {
    match i64::from_be_bytes(bytes.try_into().ok()?) {
        i64::MAX => Some(Moment::INFINITY),
        i64::MIN => Some(Moment::NEG_INFINITY),
        micros => {
            let since_2000 = Moment::from_micros(micros);
            Some(Moment { seconds: since_2000.seconds + EPOCH_SECONDS, ..since_2000 })
        }
    }
}

/// Reads the digits of a `numeric`: groups of four, the first with the weight 10000^`weight`.
fn numeric(bytes: &[u8], scale: u8) -> Option<i128> {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (count, weight) = (words.next()?, words.next()? as i16);
    let (sign, _scale) = (words.next()?, words.next()?);
    if sign == NAN {
        return Some(Decimal::NAN);
    }
    if bytes.len() != 8 + 2 * usize::from(count) || !matches!(sign, 0 | NEGATIVE) {
        return None;
    }
    // Groups from the point: each has four digits, and the last one may have more than the scale.
    let mut digits: i128 = 0;
    let mut exponent = (i32::from(weight) + 1) * 4;
    for group in words {
        exponent -= 4;
        let group = i128::from(group);
        let places = i32::from(scale) + exponent;
        let shifted = match u32::try_from(places) {
            Ok(places) => group.checked_mul(10_i128.checked_pow(places)?)?,
            Err(_) => {
                let unit = 10_i128.checked_pow(places.unsigned_abs())?;
                if group % unit != 0 {
                    return None;
                }
                group / unit
            }
        };
        digits = digits.checked_add(shifted)?;
    }
    Some(if sign == NEGATIVE { -digits } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are from `SELECT encode(numeric_send($1::numeric(p, s)), 'hex')`.
    #[test]
    fn digits_of_a_numeric_are_exact() {
        for (bytes, scale, expected) in [
            (&[0, 0, 0, 0, 0, 0, 0, 2][..], 2, Some(0)),
            (&[0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88], 2, Some(150)),
            (&[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 123, 0x11, 0x94], 2, Some(-12_345)),
            (&[0, 1, 0xff, 0xff, 0, 0, 0, 3, 0, 10], 3, Some(1)),
            (&[0, 1, 0, 2, 0, 0, 0, 0, 0, 1], 0, Some(100_000_000)),
            (&[0, 0, 0, 0, 0xc0, 0, 0, 0], 2, Some(Decimal::NAN)),
            (&[0, 1, 0xff, 0xff, 0, 0, 0, 4, 0, 1], 2, None),
            (&[0, 1, 0x7f, 0xff, 0, 0, 0, 4, 0, 1], 2, None),
            (&[0, 2, 0, 0, 0, 0, 0, 2, 0, 1], 2, None),
            (&[0, 0], 2, None),
        ] {
            assert_eq!(numeric(bytes, scale), expected, "{bytes:?}");
        }
    }

    #[test]
    fn times_count_from_2000() {
        let at = |micros: i64| moment(&micros.to_be_bytes());
        assert_eq!(at(0), Some(Moment { seconds: 946_684_800, nanos: 0 }));
        assert_eq!(at(-1), Some(Moment { seconds: 946_684_799, nanos: 999_999_000 }));
        assert_eq!(at(i64::MAX), Some(Moment::INFINITY));
        // 294276-12-31 23:59:59.999999, PostgreSQL's last time.
        let last = Moment { seconds: 9_224_318_015_999, nanos: 999_999_000 };
        assert_eq!(at(9_223_371_331_199_999_999), Some(last));
        let mut scratch = String::new();
        let mut read = |wire: Wire, bytes: &[u8]| {
            let text = wire.value(bytes, &mut scratch).map(|value| format!("{value:?}"));
            text.unwrap_or_default()
        };
        assert_eq!(read(Wire::Date, &i32::MIN.to_be_bytes()), format!("Date({})", i32::MIN));
        assert_eq!(read(Wire::Date, &0_i32.to_be_bytes()), "Date(10957)");
        assert_eq!(read(Wire::Jsonb, b"\x01{\"a\": 1}"), "Json(\"{\\\"a\\\":1}\")");
        assert_eq!(read(Wire::Jsonb, b"\x02{}"), "");
        assert_eq!(read(Wire::Int8, &[0; 4]), "");
        assert_eq!(read(Wire::Text, b"\xff"), "");
    }
}
