//! Interprets the text of a value, for selected rows and for changes.

use tokio_postgres::types::{Kind, Type};

use crate::value::Value;

/// How to interpret a database's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The text is the value, or the client's type determines it.
    Native,
    /// `t` or `true`.
    Bool,
    /// An integer.
    Int,
    /// A floating-point number of four bytes.
    Single,
    /// A floating-point number of eight bytes.
    Float,
    /// Bytes as `\x00ff`.
    Bytes,
    /// JSON.
    Json,
    /// Date and time separated by a space, with an optional `+00`.
    Moment,
    /// An IP address; removes the `/32` or `/128` that a cast to text adds.
    Address,
    /// Date and time with a space before the UTC offset: `+02:00`.
    Offset,
    /// An unsigned 64-bit integer.
    Unsigned,
    /// A SQLite value after a letter for its type: see [`TAGGED`].
    Tagged,
    /// An array like `{1,2}`, with this separator.
    Array(Element, char),
}

/// How to interpret an array element, like PostgreSQL's `to_json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    Number,
    Json,
    Moment,
    Text,
}

/// A SQLite expression that returns a value of any type as text, with `{}` for the value. Without
/// it, an ODBC driver would convert values to the declared type of their column.
pub(crate) const TAGGED: &str = "CASE typeof({}) WHEN 'integer' THEN 'i' || {} \
     WHEN 'real' THEN 'r' || printf('%!.17g', {}) WHEN 'text' THEN 't' || hex({}) \
     WHEN 'blob' THEN 'b' || hex({}) END";

impl Meaning {
    /// Converts the value if it is a text.
    pub(crate) fn apply(&self, value: &mut Value) {
        if let (Value::Text(text), false) = (&mut *value, *self == Self::Native) {
            *value = self.value(std::mem::take(text));
        }
    }

    /// Returns the meaning of a PostgreSQL type in the server's text format.
    pub(crate) fn from_type(kind: &Type) -> Self {
        match *kind {
            Type::BOOL => Self::Bool,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Self::Int,
            Type::FLOAT4 => Self::Single,
            Type::FLOAT8 => Self::Float,
            Type::BYTEA => Self::Bytes,
            Type::JSON | Type::JSONB => Self::Json,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Self::Moment,
            Type::INET => Self::Address,
            // A special format: numbers separated by spaces.
            Type::INT2_VECTOR | Type::OID_VECTOR => Self::Native,
            _ => match kind.kind() {
                Kind::Array(of) => {
                    let sign = if *of == Type::BOX { ';' } else { ',' };
                    Self::Array(Element::from_type(of), sign)
                }
                _ => Self::Native,
            },
        }
    }

    /// Converts a text. Without a match, it stays a text, so that nothing is lost.
    pub(crate) fn value(&self, text: String) -> Value {
        let value = match self {
            Self::Native => None,
            Self::Bool => match &*text {
                "t" | "true" => Some(Value::Bool(true)),
                "f" | "false" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Int => text.parse().ok().map(Value::Int),
            Self::Single => text.parse().ok().map(Value::single),
            Self::Float => text.parse().ok().map(Value::float),
            Self::Bytes => text.strip_prefix("\\x").and_then(bytes).map(Value::Bytes),
            Self::Json => Some(Value::json(&text)),
            Self::Moment => Some(Value::Text(moment(&text))),
            Self::Address => (!text.contains('/')).then(|| {
                let bits = if text.contains(':') { 128 } else { 32 };
                Value::Text(format!("{text}/{bits}"))
            }),
            Self::Offset => Some(Value::Text(moment(&text).replacen(' ', "", 1))),
            Self::Unsigned => text.parse().ok().map(Value::Uint),
            Self::Tagged => tagged(&text),
            Self::Array(element, sign) => array(&text, *element, *sign).map(Value::Raw),
        };
        value.unwrap_or(Value::Text(text))
    }
}

impl Element {
    /// Returns the meaning of an element type.
    pub(crate) fn from_type(kind: &Type) -> Self {
        match *kind {
            Type::BOOL => Self::Bool,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
                Self::Number
            }
            Type::JSON | Type::JSONB => Self::Json,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Self::Moment,
            _ => Self::Text,
        }
    }

    fn put(self, text: &str, json: &mut String) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Bool => json.push_str(if text == "t" { "true" } else { "false" }),
            // JSON has no `NaN` and `Infinity`.
            Self::Number if text.ends_with(|last: char| last.is_ascii_digit()) => {
                json.push_str(text);
            }
            Self::Json => json.push_str(&Value::json(text).text()),
            Self::Moment => {
                let text = text.replacen(' ', "T", 1);
                let zone = if text.ends_with("+00") { ":00" } else { "" };
                json.push_str(&quoted(&(text + zone)));
            }
            Self::Number | Self::Text => json.push_str(&quoted(text)),
        }
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

fn tagged(text: &str) -> Option<Value> {
    let (tag, rest) = text.split_at_checked(1)?;
    match tag {
        "i" => rest.parse().ok().map(Value::Int),
        "r" => rest.parse().ok().map(Value::float),
        "t" => bytes(rest).map(|it| Value::Text(String::from_utf8_lossy(&it).into_owned())),
        "b" => bytes(rest).map(Value::Bytes),
        _ => None,
    }
}

/// Converts `2026-01-31 12:00:00+00` to `2026-01-31T12:00:00Z`, with or without ` BC`.
fn moment(text: &str) -> String {
    let joined = text.replacen(' ', "T", 1);
    let (time, era) = match joined.strip_suffix(" BC") {
        Some(time) => (time, " BC"),
        None => (&*joined, ""),
    };
    match time.strip_suffix("+00") {
        Some(local) => format!("{local}Z{era}"),
        None => joined,
    }
}

/// Converts an array to JSON; `None` if the text is not an array.
fn array(text: &str, element: Element, sign: char) -> Option<String> {
    // Unusual bounds are a prefix: `[0:1]={1,2}`.
    let text = match text.starts_with('[') {
        true => text.split_once("]=")?.1,
        false => text,
    };
    let (mut json, mut chars) = (String::with_capacity(text.len()), text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '{' => json.push('['),
            '}' => json.push(']'),
            _ if c == sign => json.push(','),
            '"' => {
                let mut value = String::new();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => value.push(chars.next()?),
                        other => value.push(other),
                    }
                }
                element.put(&value, &mut json);
            }
            _ => {
                let mut value = String::from(c);
                while let Some(more) = chars.next_if(|next| *next != sign && *next != '}') {
                    value.push(more);
                }
                match &*value {
                    "NULL" => json.push_str("null"),
                    value => element.put(value, &mut json),
                }
            }
        }
    }
    serde_json::from_str::<&serde_json::value::RawValue>(&json).is_ok().then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_postgresql_become_the_values_that_they_are() {
        let raw = |text: &str| Value::Raw(text.to_owned());
        let text = |text: &str| Value::Text(text.to_owned());
        for (kind, written, value) in [
            (Type::BOOL, "t", Value::Bool(true)),
            (Type::BOOL, "false", Value::Bool(false)),
            (Type::INT8, "-9223372036854775808", Value::Int(i64::MIN)),
            (Type::INT4, "no number", text("no number")),
            (Type::FLOAT4, "0.1", raw("0.1")),
            (Type::FLOAT8, "-Infinity", text("-Infinity")),
            (Type::NUMERIC, "1.10", text("1.10")),
            (Type::BYTEA, "\\x00ff", Value::Bytes(vec![0, 255])),
            (Type::JSONB, "{\"a\": 1}", raw("{\"a\":1}")),
            (Type::TIMESTAMPTZ, "2026-01-31 12:00:00+00", text("2026-01-31T12:00:00Z")),
            (Type::TIMESTAMPTZ, "0044-03-15 12:00:00+00 BC", text("0044-03-15T12:00:00Z BC")),
            (Type::TIMESTAMP, "0044-03-15 12:00:00 BC", text("0044-03-15T12:00:00 BC")),
            (Type::INET, "10.0.0.1", text("10.0.0.1/32")),
            (Type::INET, "10.0.0.0/8", text("10.0.0.0/8")),
            (Type::INT4_ARRAY, "[0:1]={1,NULL}", raw("[1,null]")),
            (Type::INT4_ARRAY, "{{1,2},{3,4}}", raw("[[1,2],[3,4]]")),
            (Type::TEXT_ARRAY, "{}", raw("[]")),
            (Type::TEXT_ARRAY, r#"{a,"NULL","b,\"\\}",""}"#, raw(r#"["a","NULL","b,\"\\}",""]"#)),
            (Type::BOOL_ARRAY, "{t,f}", raw("[true,false]")),
            (Type::NUMERIC_ARRAY, "{1.10,NaN}", raw(r#"[1.10,"NaN"]"#)),
            (
                Type::TIMESTAMPTZ_ARRAY,
                r#"{"2026-01-31 12:00:00+00"}"#,
                raw(r#"["2026-01-31T12:00:00+00:00"]"#),
            ),
            (Type::JSONB_ARRAY, r#"{"{\"a\": 1}"}"#, raw(r#"[{"a":1}]"#)),
            (Type::TEXT_ARRAY, "{a", text("{a")),
            (Type::TEXT_ARRAY, r#"{"a"#, text(r#"{"a"#)),
        ] {
            assert_eq!(
                Meaning::from_type(&kind).value(written.to_owned()),
                value,
                "{kind}: {written}"
            );
        }
    }
}
