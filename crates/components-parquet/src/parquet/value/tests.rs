//! Goal: a value is stored exactly, or reported; it is never rounded or truncated.
//!
//! Method: each type gets fitting values, its limits, and values next to these.

use proptest::prelude::*;

use super::*;

fn plain(kind: ColumnType) -> Kind {
    Kind::Plain(kind)
}

/// Converts a JSON value.
fn json(kind: Kind, text: &str) -> Result<Value<'_>, Problem> {
    value(kind, Found::Json(serde_json::from_str(text).unwrap()))
}

fn text(kind: Kind, text: &str) -> Result<Value<'_>, Problem> {
    value(kind, Found::Text(text.as_bytes()))
}

fn bytes(text: &str) -> Result<Value<'_>, Problem> {
    Ok(Value::Bytes(text.as_bytes().into()))
}

#[test]
fn a_whole_number_is_one_within_its_range_and_nothing_else() {
    let (int32, int64) = (plain(ColumnType::Int32), plain(ColumnType::Int64));
    assert_eq!(json(int32, "-2147483648"), Ok(Value::Int32(i32::MIN)));
    assert_eq!(json(int32, "2147483648"), Err(RANGE));
    assert_eq!(json(int64, "9223372036854775807"), Ok(Value::Int64(i64::MAX)));
    assert_eq!(json(int64, "9223372036854775808"), Err(RANGE));
    assert_eq!(json(int32, "1.0"), Err("a number with a fraction or an exponent"));
    assert_eq!(json(int64, "1e3"), Err("a number with a fraction or an exponent"));
    for (other, problem) in
        [("\"1\"", "a string"), ("true", "a boolean"), ("[1]", "an array"), ("{}", "an object")]
    {
        assert_eq!(json(int64, other), Err(problem));
        assert_eq!(json(plain(ColumnType::Double), other), Err(problem));
    }
    assert_eq!(text(int32, "-7"), Ok(Value::Int32(-7)));
    assert_eq!(text(int32, "seven"), Err("text that is not a number"));
    assert_eq!(text(int32, " 7"), Err("text that is not a number"));
}

#[test]
fn a_number_with_a_fraction_is_the_nearest_one_to_its_text() {
    let double = plain(ColumnType::Double);
    // By default, `serde_json` would return neighbours of these numbers.
    for number in ["0.1", "9.5367431640625e-7", "122.416294033786585", "1.7976931348623157e308"] {
        assert_eq!(json(double, number), Ok(Value::Double(number.parse().unwrap())));
    }
    assert_eq!(json(double, "1e309"), Err(RANGE));
    assert_eq!(json(plain(ColumnType::Float), "0.1"), Ok(Value::Float(0.1)));
    assert_eq!(json(plain(ColumnType::Float), "3.5e38"), Err(RANGE));
    for number in ["nan", "inf", ""] {
        assert_eq!(text(double, number), Err("text that is not a number"));
        assert_eq!(json(double, &format!("{number:?}")), Err("a string"));
    }
    for (number, value) in [("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)] {
        let raw = format!("{number:?}");
        assert_eq!(json(double, &raw), Ok(Value::Double(value)));
        assert_eq!(json(plain(ColumnType::Float), &raw), Ok(Value::Float(value as f32)));
        assert_eq!(text(double, number), Ok(Value::Double(value)));
        assert_eq!(json(plain(ColumnType::Int64), &raw), Err("a string"));
    }
    let nan = json(double, "\"NaN\"");
    assert!(matches!(nan, Ok(Value::Double(number)) if number.is_nan()), "{nan:?}");
}

#[test]
fn text_is_text_with_its_escapes_read_and_json_is_kept_as_it_was_written() {
    let (string, json_type) = (plain(ColumnType::String), plain(ColumnType::Json));
    assert_eq!(json(string, "\"\u{e9}\""), bytes("\u{e9}"));
    assert_eq!(json(string, r#""a\n\u00e9\ud83d\ude00""#), bytes("a\n\u{e9}\u{1f600}"));
    assert_eq!(json(string, r#""\ud83d""#), Err(NO_UTF8));
    assert_eq!(json(string, "1"), Err("a number"));
    assert_eq!(json(json_type, r#"{"b":1.10, "a":[]}"#), bytes(r#"{"b":1.10, "a":[]}"#));
    assert_eq!(json(json_type, "null"), Ok(Value::Null));
    assert_eq!(text(json_type, "[1"), Err("text that is not JSON"));
    let json_text = plain(ColumnType::JsonText);
    assert_eq!(json(json_text, "null"), Ok(Value::Null));
    assert_eq!(json(json_text, r#""null""#), bytes("null"));
    assert_eq!(json(json_text, r#""{\"a\": 1.10}""#), bytes(r#"{"a": 1.10}"#));
    assert_eq!(json(json_text, r#""a""#), Err("text that is not JSON"));
    assert_eq!(json(json_text, "{}"), Err("an object"));
    assert_eq!(text(json_text, "null"), bytes("null"));
    let latin = Found::Text(b"\xe9");
    assert_eq!(value(string, latin), Err(NO_UTF8));
    assert_eq!(value(plain(ColumnType::Bytes), latin), Ok(Value::Bytes(b"\xe9"[..].into())));
    assert_eq!(json(plain(ColumnType::Bool), "true"), Ok(Value::Bool(true)));
    assert_eq!(json(plain(ColumnType::Bool), "0"), Err("a number"));
    assert_eq!(text(plain(ColumnType::Bool), "TRUE"), Err("text other than `true` or `false`"));
    for kind in [string, json_type, plain(ColumnType::Bool), plain(ColumnType::Date)] {
        assert_eq!(value(kind, Found::Missing), Ok(Value::Null));
        assert_eq!(json(kind, "null"), Ok(Value::Null));
    }
}

#[test]
fn times_and_days_are_exact_or_refused() {
    let (millis, micros) = (plain(ColumnType::TimestampMillis), plain(ColumnType::TimestampMicros));
    assert_eq!(json(millis, "1764072000123"), Ok(Value::Int64(1_764_072_000_123)));
    assert_eq!(
        json(millis, r#""2025-11-25T13:00:00.123+01:00""#),
        Ok(Value::Int64(1_764_072_000_123))
    );
    assert_eq!(json(micros, r#""1969-12-31T23:59:59.999999Z""#), Ok(Value::Int64(-1)));
    assert_eq!(json(millis, r#""1969-12-31T23:59:59.999999Z""#), Err(FINER));
    assert_eq!(json(micros, r#""2025-11-25T12:00:00.0000001Z""#), Err(FINER));
    assert_eq!(json(millis, "1.5"), Err("a number with a fraction or an exponent"));
    assert_eq!(json(millis, "[]"), Err("an array"));
    for other in ["2025-11-25T12:00:00", "2025-11-25", "2016-12-31T23:59:60Z", "noon"] {
        let problem = text(millis, other).unwrap_err();
        assert!(
            problem.starts_with("text that is not a time with an offset"),
            "{other}: {problem}"
        );
    }
    assert_eq!(text(millis, "1764072000123"), Ok(Value::Int64(1_764_072_000_123)));
    let date = plain(ColumnType::Date);
    assert_eq!(json(date, r#""1970-01-02""#), Ok(Value::Int32(1)));
    assert_eq!(json(date, r#""1969-12-31""#), Ok(Value::Int32(-1)));
    assert_eq!(json(date, r#""2024-02-29""#), Ok(Value::Int32(19_782)));
    for other in ["2025-02-29", "2025-11-25T12:00:00Z", "25.11.2025", ""] {
        assert!(text(date, other).unwrap_err().starts_with("text that is not a date"), "{other}");
    }
    assert_eq!(json(date, "5"), Err("a number"));
    // Outside of the years of the time library.
    assert_eq!(json(date, r#""infinity""#), Ok(Value::Int32(i32::MAX)));
    assert_eq!(json(date, r#""0044-03-15 BC""#), Ok(Value::Int32(-735_160)));
    assert_eq!(
        json(micros, r#""9999-12-31T23:59:59.999999Z""#),
        Ok(Value::Int64(253_402_300_799_999_999))
    );
    assert_eq!(json(micros, r#""-infinity""#), Ok(Value::Int64(i64::MIN)));
    assert_eq!(json(micros, r#""294276-12-31T00:00:00Z""#), Err("a time out of range"));
}

#[test]
fn a_decimal_has_the_digits_for_its_value_or_is_refused() {
    let decimal = |precision, scale| Kind::Decimal { precision, scale };
    const DIGITS: Problem = "a number with too many fractional digits";
    assert_eq!(json(decimal(9, 2), "-1.5"), Ok(Value::Int32(-150)));
    assert_eq!(json(decimal(9, 2), "1.500"), Ok(Value::Int32(150)));
    assert_eq!(json(decimal(9, 2), "1.505"), Err(DIGITS));
    assert_eq!(json(decimal(9, 2), "9999999.99"), Ok(Value::Int32(999_999_999)));
    assert_eq!(json(decimal(9, 2), "10000000"), Err(RANGE));
    assert_eq!(json(decimal(18, 0), "1.2e3"), Ok(Value::Int64(1_200)));
    assert_eq!(json(decimal(18, 0), "12e-1"), Err(DIGITS));
    assert_eq!(json(decimal(18, 3), "0"), Ok(Value::Int64(0)));
    assert_eq!(json(decimal(4, 2), "0e999999999"), Ok(Value::Int32(0)));
    assert_eq!(json(decimal(4, 2), "1e999999999"), Err(RANGE));
    assert_eq!(json(decimal(4, 2), "1e-999999999"), Err(DIGITS));
    let many = "12345678901234567890123456789012345678";
    let expected = Ok(Value::Fixed(many.parse().unwrap()));
    assert_eq!(json(decimal(38, 0), many), expected);
    assert_eq!(json(decimal(38, 0), &format!("\"{many}\"")), expected);
    assert_eq!(json(decimal(38, 0), &format!("{many}0")), Err(RANGE));
    for other in ["", ".", "-", "1,5", "0x1", "1e", "1e1.5", "--1", "1 "] {
        assert_eq!(text(decimal(9, 2), other), Err("text that is not a number"), "{other}");
    }
    assert_eq!(json(decimal(9, 2), "true"), Err("a boolean"));
}

proptest! {
    /// A stored decimal equals the number, and a rejected number has no such decimal.
    #[test]
    fn a_decimal_is_its_number(
        units in -99_999_999..=99_999_999_i64,
        scale in 0_u8..=6,
        written in 0_u8..=9,
    ) {
        let kind = Kind::Decimal { precision: 18, scale };
        let sign = if units < 0 { "-" } else { "" };
        let digits = format!("{:0>10}", units.unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(written));
        let number = format!("{sign}{whole}.{fraction}");
        let power = |places: u8| 10_i128.pow(places.into());
        let scaled = i128::from(units) * power(scale);
        let stored = text(kind, &number);
        if scaled % power(written) == 0 {
            let expected = i64::try_from(scaled / power(written)).unwrap();
            prop_assert_eq!(stored, Ok(Value::Int64(expected)));
        } else {
            prop_assert!(stored.is_err());
        }
    }
}
