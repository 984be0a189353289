//! Schemas of configurations: of a whole file for editors, of one component for references.
//!
//! They are derived from the types of the settings, so they match the parser. Schemas are draft 7,
//! which editors support best, and have no references to other types: a setting shows its own
//! description.

mod file;
mod setting;

use pipeline::Listed;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value as Json};

pub use file::{definition, file};
pub use setting::{Setting, settings};

/// Marks settings in a schema that may be omitted although they have no default.
const OPTIONAL: &str = "x-aqueduct-optional";

/// Returns the settings of a role that the plan fills in, so that no file has them.
pub fn filled_in(role: &str) -> &'static [&'static str] {
    match role {
        "selector" => &["channels"],
        "processor" => &["sinks"],
        _ => &[],
    }
}

/// Returns the schema of a component's own settings: without `type`, and without settings of the
/// plan.
pub fn component(listed: &Listed) -> Json {
    let mut schema = plain(listed.schema);
    for name in filled_in(listed.role) {
        if let Some(properties) = table(&mut schema, "properties") {
            properties.remove(*name);
        }
        if let Some(Json::Array(required)) = schema.get_mut("required") {
            required.retain(|it| it != name);
        }
    }
    schema
}

/// Returns the schema of a type, without references, and without `null`, which no file can contain.
pub(crate) fn plain(schema: fn(&mut SchemaGenerator) -> Schema) -> Json {
    let inline = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = schema(&mut inline.into_generator()).to_value();
    without_null(&mut schema);
    schema
}

fn table<'a>(schema: &'a mut Json, key: &str) -> Option<&'a mut Map<String, Json>> {
    schema.get_mut(key).and_then(Json::as_object_mut)
}

fn without_null(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(without_null),
        Json::Object(fields) => {
            fields.values_mut().for_each(without_null);
            if drop_null(fields) {
                fields.insert(OPTIONAL.to_owned(), true.into());
            }
            if fields.get("default").is_some_and(Json::is_null) {
                fields.remove("default");
            }
        }
        _ => {}
    }
}

/// Returns `true` if `null` was among the values.
fn drop_null(fields: &mut Map<String, Json>) -> bool {
    let mut found = false;
    if let Some(Json::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Json::Array(types)) = fields.get_mut("type") {
        let before = types.len();
        types.retain(|it| it != "null");
        found |= types.len() < before;
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    let Some(Json::Array(forms)) = fields.get_mut("anyOf") else { return found };
    let before = forms.len();
    forms.retain(|form| form.get("type").is_none_or(|it| it != "null"));
    found |= forms.len() < before;
    if let [Json::Object(only)] = forms.as_slice() {
        let only = only.clone();
        fields.remove("anyOf");
        for (key, value) in only {
            fields.entry(key).or_insert(value);
        }
    }
    found
}

#[cfg(test)]
mod tests;
