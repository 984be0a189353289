//! Goal: a value is converted exactly, or rejected with its reason.

use super::*;

fn json(kind: Kind, text: &str) -> Result<Value, String> {
    let raw: &RawValue = serde_json::from_str(text).unwrap();
    kind.convert(EventValue::Json(raw))
}

fn text(text: &str) -> Result<Value, String> {
    Ok(Value::Text(text.to_owned()))
}

#[test]
fn numbers_keep_every_digit_and_only_null_is_null() {
    let long = "123456789012345678901234567890.000000000000000000010";
    assert_eq!(json(Kind::Text, long), text(long));
    assert_eq!(json(Kind::Text, "null"), Ok(Value::Null));
    assert_eq!(json(Kind::Text, "\"null\""), text("null"));
    assert_eq!(json(Kind::Text, "{\"a\": [1]}"), text("{\"a\": [1]}"));
    assert_eq!(json(Kind::Text, "true"), text("true"));
    assert_eq!(json(Kind::Number, "true"), Ok(Value::Int(1)));
    assert_eq!(json(Kind::Number, long), text(long));
    assert_eq!(json(Kind::Number, "18446744073709551615"), text("18446744073709551615"));
    assert!(json(Kind::Number, "\"12abc\"").unwrap_err().contains("not a number"));
    assert_eq!(json(Kind::StrictInt, "false"), Ok(Value::Int(0)));
}

#[test]
fn a_moment_without_a_zone_in_its_column_is_that_of_utc() {
    for (given, moment, civil) in [
        ("2026-11-26T18:00:00+02:00", "2026-11-26T18:00:00+02:00", "2026-11-26 16:00:00"),
        ("2026-11-26 18:00:00", "2026-11-26 18:00:00", "2026-11-26 18:00:00"),
        ("1700000000123", "2023-11-14T22:13:20.123Z", "2023-11-14 22:13:20.123"),
        ("-1", "1969-12-31T23:59:59.999Z", "1969-12-31 23:59:59.999"),
        ("soon", "soon", "soon"),
    ] {
        assert_eq!(Kind::Moment.convert(EventValue::Text(given)), text(moment), "{given}");
        assert_eq!(Kind::Civil.convert(EventValue::Text(given)), text(civil), "{given}");
    }
    let far = Kind::Civil.convert(EventValue::Text("99999999999999999999"));
    assert!(far.unwrap_err().contains("is not a 64-bit number"));
}

#[test]
fn moments_after_the_years_of_the_time_library_keep_their_zone() {
    for (given, civil) in [
        ("9999-12-31T23:59:59.999999Z", "9999-12-31 23:59:59.999999"),
        ("9999-12-31T23:59:59+02:00", "9999-12-31 21:59:59"),
        ("12345-06-01T00:00:00+00:00", "12345-06-01 00:00:00"),
        ("0044-03-15T12:00:00Z BC", "0044-03-15 12:00:00 BC"),
        ("infinity", "infinity"),
        ("0000-00-00T00:00:00Z", "0000-00-00 00:00:00"),
        ("2026-00-00T00:00:00", "2026-00-00T00:00:00"),
        ("253402300800000", "10000-01-01 00:00:00"),
    ] {
        assert_eq!(Kind::Civil.convert(EventValue::Text(given)), text(civil), "{given}");
    }
}

#[test]
fn numbers_in_dates_and_times_of_day_are_the_milliseconds_of_sqoop() {
    for (kind, given, expected) in [
        (Kind::Date, "1700006400000", "2023-11-15"),
        (Kind::Date, "-86400000", "1969-12-31"),
        (Kind::Date, "\"20261126\"", "20261126"),
        (Kind::TimeOfDay, "3600000", "01:00:00"),
        (Kind::TimeOfDay, "123000", "00:02:03"),
        (Kind::TimeOfDay, "86399999", "23:59:59.999"),
        (Kind::TimeOfDay, "\"-100:00:00\"", "-100:00:00"),
    ] {
        assert_eq!(json(kind, given), text(expected), "{kind:?} {given}");
    }
    for (kind, given) in [
        (Kind::Date, "1700000000000"),
        (Kind::Date, "20261126"),
        (Kind::Date, "1.5"),
        (Kind::TimeOfDay, "-1"),
        (Kind::TimeOfDay, "86400000"),
    ] {
        let problem = json(kind, given).unwrap_err();
        assert!(problem.contains("milliseconds") || problem.contains("as text"), "{problem}");
    }
}

#[test]
fn bits_have_64_binary_digits() {
    let bits = |text| Kind::Bits.convert(EventValue::Text(text));
    assert_eq!(bits("513"), Ok(Value::Int(513)));
    assert_eq!(bits("18446744073709551615"), Ok(Value::Bytes(vec![255; 8])));
    assert_eq!(json(Kind::Bits, "true"), Ok(Value::Int(1)));
    assert!(bits("-1").unwrap_err().contains("not an unsigned 64-bit integer"));
}

#[test]
fn bytes_are_base64_in_text_and_themselves_in_a_body() {
    assert_eq!(json(Kind::Bytes, "\"AP8=\""), Ok(Value::Bytes(vec![0, 255])));
    assert!(json(Kind::Bytes, "\"A\"").unwrap_err().contains("base64"));
    let uuid = "\"1f0c4c3e-0000-4000-8000-0000000000ff\"";
    let bytes = [0x1f, 0x0c, 0x4c, 0x3e, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 255];
    assert_eq!(json(Kind::Bytes, uuid), Ok(Value::Bytes(bytes.to_vec())));
    let body = [0, 255];
    assert_eq!(Kind::Bytes.convert(EventValue::Bytes(&body)), Ok(Value::Bytes(body.to_vec())));
    assert!(Kind::Text.convert(EventValue::Bytes(&body)).unwrap_err().contains("UTF-8"));
}

#[test]
fn rejects_values_that_sqlite_would_store_as_text() {
    assert_eq!(json(Kind::StrictInt, "\"12\""), Ok(Value::Int(12)));
    assert!(json(Kind::StrictInt, "12.5").unwrap_err().contains("not a 64-bit integer"));
    assert_eq!(json(Kind::StrictReal, "12"), Ok(Value::Real(12.0)));
    assert_eq!(json(Kind::StrictNumeric, "12"), Ok(Value::Int(12)));
    assert!(json(Kind::StrictReal, "\"NaN\"").is_err());
}

#[test]
fn an_array_is_written_as_postgresql_reads_it() {
    let given = r#"["a", "b\"c\\", null, "", 1.50, [true]]"#;
    assert_eq!(json(Kind::Array, given), text(r#"{"a","b\"c\\",NULL,"","1.50",{"true"}}"#));
    assert_eq!(json(Kind::Array, "\"{1,2}\""), text("{1,2}"));
    // As an import writes it into a text.
    assert_eq!(json(Kind::Array, "\"[[1,null],[3,4]]\""), text(r#"{{"1",NULL},{"3","4"}}"#));
    assert_eq!(json(Kind::Array, "\"[0:1]={1,2}\""), text("[0:1]={1,2}"));
    let documents = r#"[[1],{"a":"b"},"c",null]"#;
    let expected = text(r#"{"[1]","{\"a\":\"b\"}","\"c\"",NULL}"#);
    assert_eq!(json(Kind::JsonArray, documents), expected);
}
