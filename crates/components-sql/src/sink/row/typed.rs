//! The fields of a typed row.

use ::rows::{Column, Key, Schema, Value as Typed};
use formats::json;

use crate::sink::value::EventValue;
use crate::sink::value::typed::text;

/// The columns of a row and their values.
pub(super) struct TypedFields<'a> {
    columns: &'a [Column],
    values: Vec<Typed<'a>>,
}

impl<'a> TypedFields<'a> {
    /// Reads a row.
    ///
    /// # Errors
    /// The body is not a row of the schema.
    pub(super) fn read(schema: &'a Schema, body: &'a [u8]) -> Result<Self, String> {
        let values = schema.read(body).and_then(Iterator::collect);
        let values = values.map_err(|malformed| malformed.to_string())?;
        Ok(Self { columns: schema.columns(), values })
    }

    /// Returns the names of the columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a String> + use<'a> {
        self.columns.iter().map(|column| &column.name)
    }

    /// Returns the value of a column.
    pub(super) fn get(&self, name: &str) -> Option<Typed<'a>> {
        let at = self.columns.iter().position(|column| column.name == name)?;
        self.values.get(at).copied()
    }

    /// Returns the value at the end of these steps; the first one is a column.
    ///
    /// # Errors
    /// A JSON value on the path is not JSON.
    pub(super) fn follow(&self, steps: &[String]) -> Result<Option<EventValue<'a>>, String> {
        let Some((first, rest)) = steps.split_first() else { return Ok(None) };
        let mut found = self.get(first);
        for (at, step) in rest.iter().enumerate() {
            found = match found {
                Some(Typed::Json(text)) => {
                    let raw = serde_json::from_str(text)
                        .map_err(|error| format!("the value is not JSON: {error}"))?;
                    return Ok(json::within(raw, &rest[at..])?.map(EventValue::Json));
                }
                Some(Typed::List(items)) => {
                    let place = step.parse().ok();
                    place.and_then(|place| items.items().nth(place)).map(|(_, item)| item)
                }
                Some(Typed::Struct(entries) | Typed::Map(entries)) => {
                    let named = entries.items().filter(|(key, _)| is(*key, step));
                    named.last().map(|(_, value)| value)
                }
                _ => None,
            };
        }
        Ok(found.map(EventValue::Typed))
    }
}

/// Returns whether a key has this text.
fn is(key: Key<'_>, step: &str) -> bool {
    match key {
        Key::None => false,
        Key::Field(name) | Key::Value(Typed::Text(name)) => name == step,
        Key::Value(key) => text(key) == step,
    }
}
