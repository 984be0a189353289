//! Checks that the type of an Avro value matches its column; nothing is converted.

use formats::avro::schema::value::{Datum, Value as Item, decimal as digits};
use formats::rows::uuid;

use super::{
    ColumnType, FINER, Kind, Problem, RANGE, Value, date, decimal, integer, json_in, time,
};

/// Returns a noun for an Avro value.
pub(in super::super) fn noun(item: Item<'_>) -> Problem {
    match item {
        Item::Null => "null",
        Item::Boolean(_) => "a boolean",
        Item::Whole(_) => "an integer",
        Item::Float(_) => "a 32-bit floating-point number",
        Item::Double(_) => "a 64-bit floating-point number",
        Item::Bytes(_) => "bytes",
        Item::Text(_) => "a string",
        Item::Decimal(..) => "a decimal",
        Item::Day(_) => "a day",
        Item::Time(..) => "a time",
        Item::LocalTime(..) => "a local time",
        Item::TimeOfDay(..) => "a time of day",
        Item::Uuid(_) => "a UUID",
        Item::Array => "an array",
        Item::Named => "a record",
    }
}

/// Returns `datum` as a value of type `kind`.
pub(super) fn convert(kind: Kind, datum: Datum<'_>) -> Result<Value<'_>, Problem> {
    let item = datum.value();
    if item == Item::Null {
        return Ok(Value::Null);
    }
    let other = Err(noun(item));
    let plain = match kind {
        Kind::Plain(plain) => plain,
        Kind::Decimal { .. } => {
            return match item {
                Item::Decimal(bytes, scale) => decimal(&digits(bytes, scale).ok_or(RANGE)?, kind),
                Item::Whole(number) | Item::LocalTime(number, _) | Item::TimeOfDay(number, _) => {
                    decimal(&number.to_string(), kind)
                }
                Item::Text(text) => decimal(text, kind),
                _ => other,
            };
        }
    };
    match (plain, item) {
        (ColumnType::Json, _) => {
            let mut text = String::new();
            let is_json = datum.put_json(&mut text);
            let text = is_json.then_some(text).ok_or("a number that JSON does not support")?;
            Ok(Value::Bytes(text.into_bytes().into()))
        }
        (ColumnType::JsonText, Item::Text(text)) => json_in(text.into()),
        (ColumnType::Bool, Item::Boolean(value)) => Ok(Value::Bool(value)),
        (ColumnType::Int64, Item::LocalTime(number, _)) => Ok(Value::Int64(number)),
        (_, Item::Whole(number) | Item::TimeOfDay(number, _)) if plain.is_integer() => {
            integer(plain, number.into())
        }
        (ColumnType::Float, Item::Float(number)) => Ok(Value::Float(number)),
        (ColumnType::Double, Item::Float(number)) => Ok(Value::Double(number.into())),
        (ColumnType::Double, Item::Double(number)) => Ok(Value::Double(number)),
        (ColumnType::String | ColumnType::Bytes, Item::Text(text)) => {
            Ok(Value::Bytes(text.as_bytes().into()))
        }
        (ColumnType::Bytes, Item::Bytes(bytes)) => Ok(Value::Bytes(bytes.into())),
        (ColumnType::Bytes, Item::Uuid(bytes)) => Ok(Value::Bytes(bytes.to_vec().into())),
        (ColumnType::String, Item::Uuid(bytes)) => {
            Ok(Value::Bytes(uuid(bytes).into_bytes().into()))
        }
        (ColumnType::Date, Item::Day(day)) => Ok(Value::Int32(day)),
        (ColumnType::Date, Item::Text(text)) => date(text),
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, Item::Whole(number)) => {
            Ok(Value::Int64(number))
        }
        (ColumnType::TimestampMillis, Item::Time(count, parts) | Item::LocalTime(count, parts)) => {
            instant(count, parts, 1_000)
        }
        (ColumnType::TimestampMicros, Item::Time(count, parts) | Item::LocalTime(count, parts)) => {
            instant(count, parts, 1_000_000)
        }
        (ColumnType::TimestampMillis | ColumnType::TimestampMicros, Item::Text(text)) => {
            time(plain, text)
        }
        _ => other,
    }
}

/// Converts units of 1/`parts` s to units of 1/`kept` s.
fn instant(count: i64, parts: i64, kept: i64) -> Result<Value<'static>, Problem> {
    if count == i64::MAX || count == i64::MIN {
        // `infinity`, in every unit.
        return Ok(Value::Int64(count));
    }
    let in_parts = i128::from(count) * i128::from(kept);
    if in_parts % i128::from(parts) != 0 {
        return Err(FINER);
    }
    i64::try_from(in_parts / i128::from(parts)).map(Value::Int64).map_err(|_| RANGE)
}

#[cfg(test)]
mod tests {
    use formats::avro::schema::Schema;
    use serde_json::json;

    use super::*;

    fn plain(kind: ColumnType) -> Kind {
        Kind::Plain(kind)
    }

    /// Returns the column value of a datum.
    fn value(kind: Kind, schema: &serde_json::Value, datum: &[u8]) -> Result<String, Problem> {
        let schema = Schema::parse(schema).unwrap();
        convert(kind, schema.read(datum).unwrap()).map(|value| format!("{value:?}"))
    }

    #[test]
    fn each_type_of_avro_is_in_the_column_of_its_type_and_in_no_other() {
        use ColumnType::*;
        let logical = |kind: &str, name: &str| json!({ "type": kind, "logicalType": name });
        let unit = |name: &str| logical("long", name);
        let price =
            json!({ "type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2 });
        let digits = Kind::Decimal { precision: 9, scale: 3 };
        let maybe = json!(["null", "string"]);
        for (kind, schema, datum, expected) in [
            (plain(Bool), json!("boolean"), &[1][..], Ok("Bool(true)")),
            (plain(Int32), json!("int"), &[3], Ok("Int32(-2)")),
            (plain(Int32), json!("long"), &[0x80, 0x80, 0x80, 0x80, 0x10], Err(RANGE)),
            (plain(Int64), json!("int"), &[3], Ok("Int64(-2)")),
            (plain(Double), json!("float"), &[0, 0, 0, 0x3f], Ok("Double(0.5)")),
            (plain(Float), json!("double"), &[0; 8], Err("a 64-bit floating-point number")),
            (plain(Double), json!("long"), &[2], Err("an integer")),
            (plain(String), json!("string"), &[2, b'x'], Ok("Bytes([120])")),
            (plain(String), json!("bytes"), &[2, 0xff], Err("bytes")),
            (plain(String), maybe.clone(), &[0], Ok("Null")),
            (plain(String), maybe, &[2, 2, b'x'], Ok("Bytes([120])")),
            (plain(Bytes), json!("bytes"), &[2, 0xff], Ok("Bytes([255])")),
            (plain(Date), logical("int", "date"), &[2], Ok("Int32(1)")),
            (plain(Date), json!("int"), &[2], Err("an integer")),
            (plain(Int32), logical("int", "date"), &[2], Err("a day")),
            (plain(TimestampMillis), unit("timestamp-millis"), &[2], Ok("Int64(1)")),
            (plain(TimestampMicros), unit("timestamp-millis"), &[2], Ok("Int64(1000)")),
            (plain(TimestampMillis), unit("timestamp-micros"), &[2], Err(FINER)),
            (plain(TimestampMillis), unit("timestamp-micros"), &[0xd0, 0xf], Ok("Int64(1)")),
            (plain(Int64), unit("timestamp-micros"), &[2], Err("a time")),
            (plain(TimestampMicros), json!("long"), &[2], Ok("Int64(1)")),
            (plain(TimestampMicros), unit("local-timestamp-millis"), &[2], Ok("Int64(1000)")),
            (plain(TimestampMillis), unit("local-timestamp-micros"), &[2], Err(FINER)),
            (plain(Int64), unit("local-timestamp-micros"), &[2], Ok("Int64(1)")),
            (plain(TimestampMicros), unit("time-micros"), &[2], Err("a time of day")),
            (plain(Int32), logical("int", "time-millis"), &[2], Ok("Int32(1)")),
            (digits, price.clone(), &[2, 0xff], Ok("Int32(-10)")),
            (digits, json!("string"), &[6, b'0', b'.', b'5'], Ok("Int32(500)")),
            (plain(Json), price, &[2, 0xff], Ok("Bytes([45, 48, 46, 48, 49])")),
            (plain(Json), json!("double"), &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f], {
                Err("a number that JSON does not support")
            }),
        ] {
            let found = value(kind, &schema, datum);
            assert_eq!(found.as_deref().map_err(|it| *it), expected, "{kind} {schema}");
        }
    }
}
