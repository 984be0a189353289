//! Converts a value of a typed row for its column exactly, or names what does not fit.

use ::rows::{Decimal, LargeDecimal, Moment, Value as Typed};

use super::{
    ColumnType, DIGITS_FIXED16, FINER, Kind, Problem, RANGE, Value, date, decimal, integer,
    json_in, time, whole_number,
};

/// Powers of ten. Computing one for each value would take longer than writing the value.
const POWERS: [i128; DIGITS_FIXED16 as usize + 1] = {
    let mut powers = [1; DIGITS_FIXED16 as usize + 1];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

const NAN: Problem = "NaN, which a decimal of this file cannot be";

/// Returns `value` as a value of type `kind`.
pub(super) fn convert(kind: Kind, value: Typed<'_>) -> Result<Value<'_>, Problem> {
    match (kind, value) {
        (_, Typed::Null) => return Ok(Value::Null),
        // Most values have the type of their column.
        (Kind::Plain(ColumnType::Int64), Typed::Int64(it)) => return Ok(Value::Int64(it)),
        (Kind::Plain(ColumnType::Int32), Typed::Int32(it)) => return Ok(Value::Int32(it)),
        _ => {}
    }
    let plain = match kind {
        Kind::Plain(plain) => plain,
        Kind::Decimal { precision, scale } => {
            return match value {
                Typed::Decimal(it) => rescaled(it, precision, scale),
                Typed::LargeDecimal(it) => rescaled_large(it, precision, scale),
                Typed::Text(text) => decimal(text, kind),
                other => match whole(other) {
                    Some(digits) => rescaled(Decimal { digits, scale: 0 }, precision, scale),
                    None => Err(other.noun()),
                },
            };
        }
    };
    if let Some(number) = whole(value)
        && plain.is_integer()
    {
        return integer(plain, number);
    }
    match (plain, value) {
        (ColumnType::Bool, Typed::Bool(it)) => Ok(Value::Bool(it)),
        (ColumnType::Float, Typed::Float32(it)) => Ok(Value::Float(it)),
        (ColumnType::Double, Typed::Float32(it)) => Ok(Value::Double(it.into())),
        (ColumnType::Double, Typed::Float64(it)) => Ok(Value::Double(it)),
        (ColumnType::Date, Typed::Date(day)) => Ok(Value::Int32(day)),
        (ColumnType::Date, Typed::Text(text)) => date(text),
        (ColumnType::TimestampMillis, Typed::Timestamp(it) | Typed::TimestampUtc(it)) => {
            count(it, 1_000)
        }
        (ColumnType::TimestampMicros, Typed::Timestamp(it) | Typed::TimestampUtc(it)) => {
            count(it, 1_000_000)
        }
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, Typed::Text(text)) => {
            time(plain, text)
        }
        (ColumnType::String | ColumnType::Bytes, Typed::Text(text) | Typed::Json(text)) => {
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        (ColumnType::Bytes, Typed::Bytes(bytes)) => Ok(Value::Bytes(bytes.into())),
        (ColumnType::Bytes, Typed::Uuid(bytes)) => Ok(Value::Bytes(bytes.to_vec().into())),
        (ColumnType::JsonText, Typed::Text(text) | Typed::Json(text)) => json_in(text.into()),
        (ColumnType::Json, value) => {
            if let Typed::Json(text) = value {
                return json_in(text.into());
            }
            Ok(Value::Json(value))
        }
        (
            ColumnType::String,
            Typed::Decimal(_)
            | Typed::LargeDecimal(_)
            | Typed::Date(_)
            | Typed::Time(_)
            | Typed::Timestamp(_)
            | Typed::TimestampUtc(_)
            | Typed::Uuid(_)
            | Typed::Bytes(_),
        ) => Ok(Value::Text(value)),
        (_, other) => Err(other.noun()),
    }
}

/// Returns a whole number.
fn whole(value: Typed<'_>) -> Option<i128> {
    match value {
        Typed::Int32(it) => Some(it.into()),
        Typed::Int64(it) => Some(it.into()),
        Typed::Uint8(it) => Some(it.into()),
        Typed::Uint16(it) => Some(it.into()),
        Typed::Uint32(it) => Some(it.into()),
        Typed::Uint64(it) => Some(it.into()),
        _ => None,
    }
}

/// Returns the column types that accept values of a type, and whether each accepts all of them: for
/// docs/types.md.
pub fn accepted(kind: &::rows::Type) -> Vec<(String, bool)> {
    let plain = ColumnType::PLAIN.map(Kind::Plain);
    let columns = plain.into_iter().chain([
        Kind::Decimal { precision: 38, scale: 10 },
        Kind::Decimal { precision: 76, scale: 10 },
    ]);
    let fits = |column: Kind| -> Vec<bool> {
        let values = Typed::limits(kind).into_iter().skip(1);
        values.map(|value| convert(column, value).is_ok()).collect()
    };
    let fits = columns.map(|column| (column.to_string(), fits(column)));
    let accepted = fits.filter(|(_, fits)| fits.contains(&true));
    accepted.map(|(name, fits)| (name, !fits.contains(&false))).collect()
}

/// Returns a decimal with other digits after the point.
fn rescaled(value: Decimal, precision: u8, scale: u8) -> Result<Value<'static>, Problem> {
    if value.is_nan() {
        return Err(NAN);
    }
    if precision > DIGITS_FIXED16 {
        let digits = value.digits.into();
        return rescaled_large(LargeDecimal { digits, scale: value.scale }, precision, scale);
    }
    let digits = match scale.checked_sub(value.scale) {
        Some(0) => value.digits,
        Some(zeros) => value.digits.checked_mul(POWERS[usize::from(zeros)]).ok_or(RANGE)?,
        None => {
            let unit = POWERS[usize::from(value.scale - scale)];
            if value.digits % unit != 0 {
                return Err("a number with too many fractional digits");
            }
            value.digits / unit
        }
    };
    let fits = digits.abs() < POWERS[usize::from(precision)];
    if fits { Ok(whole_number(digits, precision)) } else { Err(RANGE) }
}

/// Same for a decimal with more than 38 digits.
fn rescaled_large(
    value: LargeDecimal,
    precision: u8,
    scale: u8,
) -> Result<Value<'static>, Problem> {
    if value.is_nan() {
        return Err(NAN);
    }
    let digits = match scale.checked_sub(value.scale) {
        Some(zeros) => value.digits.scaled_up(zeros).ok_or(RANGE)?,
        None => {
            let digits = value.digits.scaled_down(value.scale - scale);
            digits.ok_or("a number with too many fractional digits")?
        }
    };
    if !digits.fits(precision) {
        return Err(RANGE);
    }
    match digits.to_i128().filter(|_| precision <= DIGITS_FIXED16) {
        Some(digits) => Ok(whole_number(digits, precision)),
        None => Ok(Value::Wide(digits)),
    }
}

/// Converts a time to units of 1/`parts` s since 1970. The infinities are the largest and smallest
/// number.
fn count(at: Moment, parts: u32) -> Result<Value<'static>, Problem> {
    match at {
        Moment::INFINITY => return Ok(Value::Int64(i64::MAX)),
        Moment::NEG_INFINITY => return Ok(Value::Int64(i64::MIN)),
        _ => {}
    }
    let unit = 1_000_000_000 / parts;
    if !at.nanos.is_multiple_of(unit) {
        return Err(FINER);
    }
    let count = at.seconds.checked_mul(parts.into());
    let count = count.and_then(|count| count.checked_add((at.nanos / unit).into()));
    let count = count.filter(|count| *count != i64::MAX && *count != i64::MIN);
    count.map(Value::Int64).ok_or("a time out of range")
}

#[cfg(test)]
mod tests {
    use ::rows::Type;

    use super::*;

    fn value(kind: Kind, value: Typed<'_>) -> Result<String, Problem> {
        convert(kind, value).map(|value| format!("{value:?}"))
    }

    #[test]
    fn decimals_and_times_fit_exactly_or_not_at_all() {
        let price = Kind::Decimal { precision: 9, scale: 3 };
        let decimal = |digits, scale| Typed::Decimal(Decimal { digits, scale });
        let micros = Kind::Plain(ColumnType::TimestampMicros);
        let at = |seconds, nanos| Typed::TimestampUtc(Moment { seconds, nanos });
        for (kind, given, expected) in [
            (price, decimal(-150, 2), Ok("Int32(-1500)")),
            (price, decimal(1_500, 4), Ok("Int32(150)")),
            (price, decimal(1_501, 4), Err("a number with too many fractional digits")),
            (price, decimal(1_000_000, 0), Err(RANGE)),
            (price, decimal(i128::MAX / 2, 0), Err(RANGE)),
            (price, decimal(Decimal::NAN, 2), Err(NAN)),
            (price, Typed::Int64(-7), Ok("Int32(-7000)")),
            (micros, at(-1, 999_999_000), Ok("Int64(-1)")),
            (micros, at(0, 1), Err(FINER)),
            (micros, at(9_224_318_015_999, 0), Err("a time out of range")),
            (micros, Typed::TimestampUtc(Moment::INFINITY), Ok("Int64(9223372036854775807)")),
            (Kind::Plain(ColumnType::Int32), Typed::Int64(1 << 31), Err(RANGE)),
        ] {
            let found = value(kind, given);
            assert_eq!(found.as_deref().map_err(|it| *it), expected, "{kind} {given:?}");
        }
    }

    /// A text in a text column is the one that the source `sql` wrote before rows were typed.
    #[test]
    fn each_type_has_a_column_that_takes_all_of_its_values() {
        for kind in &Type::all() {
            let columns: &[ColumnType] = match kind {
                Type::Bool => &[ColumnType::Bool],
                Type::Int32 => &[ColumnType::Int32, ColumnType::Int64],
                Type::Int64 => &[ColumnType::Int64],
                Type::Uint8 => &[ColumnType::Uint8, ColumnType::Uint64, ColumnType::Int32],
                Type::Uint16 => &[ColumnType::Uint16, ColumnType::Int32],
                Type::Uint32 => &[ColumnType::Uint32, ColumnType::Int64],
                Type::Uint64 => &[ColumnType::Uint64],
                Type::List(_) | Type::Struct(_) | Type::Map { .. } => &[ColumnType::Json],
                Type::Float32 => &[ColumnType::Float, ColumnType::Double],
                Type::Float64 => &[ColumnType::Double],
                Type::Date => &[ColumnType::Date, ColumnType::String],
                Type::Decimal { .. } | Type::Time | Type::Timestamp | Type::TimestampUtc => {
                    &[ColumnType::String]
                }
                Type::Uuid | Type::Text | Type::Bytes => &[ColumnType::String, ColumnType::Bytes],
                Type::Json => &[ColumnType::Json, ColumnType::JsonText],
            };
            for (column, given) in
                columns.iter().flat_map(|it| Typed::limits(kind).into_iter().map(move |v| (*it, v)))
            {
                let found = value(Kind::Plain(column), given);
                assert!(found.is_ok(), "{kind} {given:?}: {found:?}");
            }
        }
    }
}
