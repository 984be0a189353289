//! Converts a value of a typed row for a column, with the result of its text in a JSON body.
//!
//! JSON is an exception: its text stays as it is, so that JSON `null` is not NULL, and a string in
//! JSON is not the text in it.

use ::rows::{Nested, Value as Typed};

use super::{Kind, Value, of_millis_of_day, of_whole_day, put_quoted};

impl Kind {
    pub(super) fn of_typed(self, value: Typed<'_>) -> Result<Value, String> {
        match (self, value) {
            (_, Typed::Null) => Ok(Value::Null),
            (_, Typed::Bool(it)) if self.is_numeric() => self.of_text(u8::from(it).to_string()),
            (Self::Number | Self::StrictInt | Self::StrictNumeric, Typed::Int32(it)) => {
                Ok(Value::Int(it.into()))
            }
            (Self::Number | Self::StrictInt | Self::StrictNumeric, Typed::Int64(it)) => {
                Ok(Value::Int(it))
            }
            (Self::Bytes, Typed::Bytes(bytes)) => Ok(Value::Bytes(bytes.to_owned())),
            (Self::Bytes, Typed::Uuid(bytes)) => Ok(Value::Bytes(bytes.to_vec())),
            (Self::Date, value) if is_number(value) => of_whole_day(&text(value)).map(Value::Text),
            (Self::TimeOfDay, value) if is_number(value) => {
                of_millis_of_day(&text(value)).map(Value::Text)
            }
            (Self::Array | Self::JsonArray, Typed::List(items)) => {
                let mut array = String::new();
                put_list(items, self == Self::JsonArray, &mut array);
                Ok(Value::Text(array))
            }
            (_, value) => self.of_text(text(value)),
        }
    }
}

/// Returns whether a value is a number in JSON.
fn is_number(value: Typed<'_>) -> bool {
    match value {
        Typed::Float32(it) => it.is_finite(),
        Typed::Float64(it) => it.is_finite(),
        Typed::Int32(_)
        | Typed::Int64(_)
        | Typed::Uint8(_)
        | Typed::Uint16(_)
        | Typed::Uint32(_)
        | Typed::Uint64(_) => true,
        _ => false,
    }
}

pub(in crate::sink) fn text(value: Typed<'_>) -> String {
    in_utf8(|out| value.put_text(out))
}

fn in_utf8(put: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    put(&mut text);
    String::from_utf8(text).expect("texts of values are UTF-8")
}

/// Appends a list in PostgreSQL's notation. A list in it is a dimension, unless the elements are
/// JSON.
fn put_list(items: Nested<'_>, is_json: bool, out: &mut String) {
    out.push('{');
    for (at, (_, item)) in items.items().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match item {
            Typed::Null => out.push_str("NULL"),
            Typed::List(inner) if !is_json => put_list(inner, false, out),
            item if is_json => put_quoted(&in_utf8(|json| item.put_json(json)), out),
            item => put_quoted(&text(item), out),
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests;
