//! A value of a row, and its form in a body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use formats::csv;
use serde::{Deserialize, Serialize};

use crate::source::{Kind, put_datum};

/// A value, independent of the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// A number as text, or JSON.
    Raw(String),
    Text(String),
    Bytes(Vec<u8>),
}

/// Values of the ordering columns.
pub(crate) type Tuple = Vec<Value>;

impl Value {
    /// Converts a float. Values that JSON cannot represent become text.
    pub(crate) fn float(number: f64) -> Self {
        match serde_json::Number::from_f64(number) {
            Some(number) => Self::Raw(number.to_string()),
            None => Self::not_finite(number),
        }
    }

    /// Same for 32 bits, without the additional digits of 64 bits.
    pub(crate) fn single(number: f32) -> Self {
        match number.is_finite() {
            true => Self::Raw(serde_json::to_string(&number).unwrap_or_default()),
            false => Self::not_finite(number.into()),
        }
    }

    fn not_finite(number: f64) -> Self {
        let text = match () {
            () if number.is_nan() => "NaN",
            () if number > 0.0 => "Infinity",
            () => "-Infinity",
        };
        Self::Text(text.to_owned())
    }

    /// Formats JSON on one line, without whitespace between its parts.
    pub(crate) fn json(text: &str) -> Self {
        Self::Raw(compact(text))
    }

    /// Returns the text for headers and keys.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(it) => it.to_string(),
            Self::Int(it) => it.to_string(),
            Self::Uint(it) => it.to_string(),
            Self::Raw(it) | Self::Text(it) => it.clone(),
            Self::Bytes(it) => STANDARD.encode(it),
        }
    }
}

/// Returns JSON without whitespace between its parts.
pub(crate) fn compact(text: &str) -> String {
    let (mut compact, mut in_text, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_text = c == '"';
        }
        compact.push(c);
    }
    compact
}

/// The encoding of an event's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv {
        delimiter: u8,
        null: String,
    },
    /// Avro, with the schema of these columns.
    Avro(Vec<Kind>),
    /// Typed rows; see [`crate::source`].
    Rows,
}

/// Returns a digest that identifies a row.
pub(crate) fn digest(tuple: &Tuple) -> u128 {
    let mut bytes = Vec::new();
    for value in tuple {
        let text = value.text();
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

/// Encodes rows as bodies.
pub(crate) struct Encoder {
    form: Form,
    /// `"name":` of each column.
    names: Vec<String>,
}

/// Why a row is not an Avro datum.
fn misfit(name: &str, kind: Kind) -> String {
    format!(
        "column {}: a value does not fit the type {kind} of the column; correct the row in the \
         database, or cast the column in a `query`",
        name.trim_end_matches(':')
    )
}

impl Encoder {
    pub(crate) fn new(form: Form, columns: &[String]) -> Self {
        let quoted = |name: &String| format!("{}:", serde_json::Value::from(&**name));
        Self { form, names: columns.iter().map(quoted).collect() }
    }

    /// Overwrites `body` with the encoded row. If a value does not fit the form, writes JSON
    /// instead, which the encoder of the file rejects, and returns the reason.
    pub(crate) fn encode(&self, values: &[Value], body: &mut Vec<u8>) -> Option<String> {
        body.clear();
        match &self.form {
            Form::Json | Form::Rows => self.put_object(values, body),
            Form::Avro(kinds) => {
                if let Err(at) = put_datum(kinds, values, body) {
                    body.clear();
                    self.put_object(values, body);
                    return Some(misfit(&self.names[at], kinds[at]));
                }
            }
            Form::Csv { delimiter, null } => {
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        body.push(*delimiter);
                    }
                    // Distinguish NULL from a text that looks like it.
                    match value {
                        Value::Null => body.extend_from_slice(null.as_bytes()),
                        value => {
                            csv::put(body, value.text().as_bytes(), *delimiter, null.as_bytes());
                        }
                    }
                }
            }
        }
        None
    }
}

impl Encoder {
    fn put_object(&self, values: &[Value], body: &mut Vec<u8>) {
        for (at, (name, value)) in self.names.iter().zip(values).enumerate() {
            body.push(if at == 0 { b'{' } else { b',' });
            body.extend_from_slice(name.as_bytes());
            put_json(body, value);
        }
        body.push(b'}');
    }
}

fn put_json(body: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => body.extend_from_slice(b"null"),
        Value::Text(text) => {
            // Writing to memory does not fail, and any text is valid JSON.
            let _ = serde_json::to_writer(body, text);
        }
        Value::Bytes(bytes) => {
            body.push(b'"');
            body.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            body.push(b'"');
        }
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Raw(_) => {
            body.extend_from_slice(value.text().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_a_body_so_that_they_can_be_read_back() {
        let names = ["a", "b\"", "c", "d", "e", "f", "g"].map(str::to_owned);
        let values = [
            Value::Null,
            Value::Text("x,\"\u{1}\n".into()),
            Value::Text(String::new()),
            Value::Uint(u64::MAX),
            Value::Bytes(vec![0, 255]),
            Value::float(f64::NAN),
            Value::json("{ \"a b\" : \"\\\" }\" ,\n\"c\": [1.10] }"),
        ];
        let mut body = Vec::new();
        Encoder::new(Form::Json, &names).encode(&values, &mut body);
        let expected = concat!(
            r#"{"a":null,"b\"":"x,\"\u0001\n","c":"","d":18446744073709551615,"e":"AP8=","#,
            r#""f":"NaN","g":{"a b":"\" }","c":[1.10]}}"#
        );
        assert_eq!(String::from_utf8_lossy(&body), expected);
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        let csv = |delimiter, null: &str| Form::Csv { delimiter, null: null.to_owned() };
        Encoder::new(csv(b',', ""), &names).encode(&values[..6], &mut body);
        let expected = ",\"x,\"\"\u{1}\n\",\"\",18446744073709551615,AP8=,NaN";
        assert_eq!(String::from_utf8_lossy(&body), expected);
        let texts = ["\\N", "a\tb", "a,b"].map(|it| Value::Text(it.to_owned()));
        let values: Vec<Value> = [Value::Null].into_iter().chain(texts).collect();
        Encoder::new(csv(b'\t', "\\N"), &names).encode(&values, &mut body);
        assert_eq!(String::from_utf8_lossy(&body), "\\N\t\"\\N\"\t\"a\tb\"\ta,b");
        assert_eq!(Value::single(0.1), Value::Raw("0.1".into()));
    }
}
