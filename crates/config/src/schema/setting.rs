//! The settings of a component, one by one, as its schema has them.

use pipeline::component::CHOICE;
use serde_json::Value as Json;

use super::OPTIONAL;

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name in its table.
    pub name: String,
    /// The form of its value, for people: `text`, `"a" or "b"`.
    pub form: String,
    /// Its default value; `None` without a default.
    pub default: Option<Json>,
    /// True if it must be set.
    pub is_required: bool,
    /// True if omitting it has another meaning than any value.
    pub is_optional: bool,
    /// Its meaning, in paragraphs; then each of its values, if they have descriptions.
    pub meaning: Vec<String>,
    /// The settings of its table; empty for other types.
    pub below: Vec<Setting>,
}

/// Returns the settings in a schema of [`component`](super::component), by name.
pub fn settings(schema: &Json) -> Vec<Setting> {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        return Vec::new();
    };
    let required = schema.get("required").and_then(Json::as_array);
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
    let setting = |(name, schema): (&String, &Json)| Setting {
        name: name.clone(),
        form: form(schema),
        default: schema.get("default").cloned(),
        is_required: is_required(name),
        is_optional: schema.get(OPTIONAL).is_some(),
        meaning: meaning(schema),
        below: settings(schema),
    };
    properties.iter().map(setting).collect()
}

/// Returns the form of a value of this schema.
fn form(schema: &Json) -> String {
    if let Some(role) = text(schema, CHOICE) {
        return format!("kind of {role}, or a table with its `type`");
    }
    if let Some(title) = text(schema, "title") {
        return title.to_owned();
    }
    if let Some(values) = values(schema) {
        return alternatives(values.iter().map(ToString::to_string));
    }
    if let Some(forms) = schema.get("anyOf").and_then(Json::as_array) {
        return alternatives(forms.iter().map(form));
    }
    let of = |key| schema.get(key).filter(|it| it.is_object()).map(form);
    match text(schema, "type") {
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => "integer".to_owned(),
        Some("number") => "number".to_owned(),
        Some("string") => "text".to_owned(),
        Some("array") => format!("list of {}", of("items").unwrap_or_default()),
        Some("object") => match of("additionalProperties") {
            Some(value) => format!("table, each value {value}"),
            None => "table".to_owned(),
        },
        _ => "any value".to_owned(),
    }
}

fn text<'a>(schema: &'a Json, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Json::as_str)
}

/// The values of an enumeration.
fn values(schema: &Json) -> Option<Vec<&Json>> {
    if let Some(value) = schema.get("const") {
        return Some(vec![value]);
    }
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return Some(values.iter().collect());
    }
    let forms = schema.get("oneOf").and_then(Json::as_array)?;
    let values: Option<Vec<Vec<&Json>>> = forms.iter().map(values).collect();
    values.map(|values| values.into_iter().flatten().collect())
}

/// `a`, `a or b`, `a, b or c`.
fn alternatives(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    match all.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [before @ .., last] => format!("{} or {last}", before.join(", ")),
    }
}

/// Paragraphs, each in one line.
fn meaning(schema: &Json) -> Vec<String> {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs =
        |schema| text(schema, "description").into_iter().flat_map(|it| it.split("\n\n"));
    let mut all: Vec<String> = paragraphs(schema).map(one_line).collect();
    for form in schema.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
        if let (Some(value), Some(text)) = (form.get("const"), text(form, "description")) {
            all.push(format!("{value}: {}", one_line(text)));
        }
    }
    all
}
