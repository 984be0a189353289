//! The schema of a whole file.
//!
//! The `type` of a component determines its settings, by one condition for each kind. A validator
//! can therefore name the wrong setting, and an editor completes only the settings of that kind.

use pipeline::component::CHOICE;
use pipeline::{Catalogue, Listed};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::{OPTIONAL, component, plain, table};
use crate::resolve::AgentTable;

/// Returns the schema of a file for a program with this catalogue; `dead_letters` is the schema of
/// the table `[dead_letters]`, which the agent reads.
///
/// A value may be text with a variable, `"${…}"`, unless it is a table or a list.
pub fn file(catalogue: Catalogue, dead_letters: fn(&mut SchemaGenerator) -> Schema) -> Json {
    let mut definitions = Map::new();
    definitions.insert("variable".to_owned(), json!({ "type": "string", "pattern": r"\$\{" }));
    for role in pipeline::catalogue::ROLES {
        let all: Vec<Listed> =
            catalogue.all().into_iter().filter(|listed| listed.role == *role).collect();
        let kinds: Vec<&str> = all.iter().map(|listed| listed.kind).collect();
        definitions.insert(format!("{role}_kind"), json!({ "enum": kinds }));
        definitions.insert((*role).to_owned(), role_schema(role, &all));
        for listed in &all {
            definitions.insert(definition(listed.role, listed.kind), kind_schema(listed));
        }
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of an Aqueduct agent",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "include": {
                "description": "Further files that are parts of this configuration.",
                "type": "array",
                "items": { "type": "string" },
            },
            "agent": agent(),
            "sources": named("Sources, which receive or read events.", "source"),
            "channels": named("Channels, which store events between sources and sinks.", "channel"),
            "sinks": named("Sinks, which deliver events.", "sink"),
            "groups": named("Sinks that share one channel.", "processor"),
            "dead_letters": loose(plain(dead_letters)),
        },
        "definitions": definitions,
    })
}

/// The name of a component's definition.
pub fn definition(role: &str, kind: &str) -> String {
    format!("{role}_{kind}")
}

fn reference(definition: &str) -> Json {
    json!({ "$ref": format!("#/definitions/{definition}") })
}

fn agent() -> Json {
    let mut agent = loose(plain(AgentTable::json_schema));
    if let Some(fields) = agent.as_object_mut() {
        fields.insert("description".to_owned(), "Settings of the agent.".into());
    }
    agent
}

/// Tables with names, each a component of this role.
fn named(description: &str, role: &str) -> Json {
    json!({
        "description": description,
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" },
        "additionalProperties": reference(role),
    })
}

/// A component of any kind of a role.
fn role_schema(role: &str, all: &[Listed]) -> Json {
    let of_kind = |listed: &Listed| reference(&definition(listed.role, listed.kind));
    let condition = |listed: &Listed| {
        json!({
            "if": { "properties": { "type": { "const": listed.kind } }, "required": ["type"] },
            "then": of_kind(listed),
        })
    };
    // For completion, Taplo supports alternatives but not conditions. The first alternative accepts
    // everything.
    let alternatives = std::iter::once(json!({})).chain(all.iter().map(of_kind));
    json!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": reference(&format!("{role}_kind")) },
        "allOf": all.iter().map(condition).collect::<Vec<_>>(),
        "anyOf": alternatives.collect::<Vec<_>>(),
    })
}

/// A component of one kind: its own settings, its `type`, and its place in the plan.
fn kind_schema(listed: &Listed) -> Json {
    let mut schema = loose(component(listed));
    let (place, needed) = place(listed.role);
    let Some(fields) = schema.as_object_mut() else { return schema };
    let properties = fields.entry("properties").or_insert_with(|| json!({}));
    if let (Some(properties), Json::Object(place)) = (properties.as_object_mut(), place) {
        properties.insert("type".to_owned(), json!({ "const": listed.kind }));
        properties.extend(place);
    }
    let required = fields.entry("required").or_insert_with(|| json!([]));
    if let Some(required) = required.as_array_mut() {
        required.push("type".into());
        required.extend(needed.iter().map(|name| Json::from(*name)));
    }
    schema
}

/// Returns the plan's settings of a role, and which of them are required.
fn place(role: &str) -> (Json, &'static [&'static str]) {
    let names = |meaning: &str, least: u32| {
        json!({
            "description": meaning,
            "type": "array",
            "items": { "type": "string" },
            "minItems": least,
        })
    };
    let channel = "Channel that the events are read from.";
    let insecure = json!({
        "description": "Whether addresses of other hosts may be used without TLS.",
        "type": "boolean",
    });
    match role {
        "source" => {
            let settings = json!({
                "channels": names(
                    "Channels that must have stored a batch before it counts as read.",
                    1,
                ),
                "insecure": insecure,
                "optional_channels": names(
                    "Channels that get a batch only if they have room immediately.",
                    0,
                ),
                "interceptors": {
                    "description": "Interceptors that change or drop events, in this order.",
                    "type": "array",
                    "items": reference("interceptor"),
                },
                "selector": {
                    "description": "Selector of the channels of each event.",
                    "allOf": [reference("selector")],
                },
            });
            (settings, &["channels"])
        }
        "sink" => {
            let channel = json!({ "description": channel, "type": "string" });
            (json!({ "channel": channel, "insecure": insecure }), &[])
        }
        "channel" => (json!({ "insecure": insecure }), &[]),
        "processor" => {
            let settings = json!({
                "channel": { "description": channel, "type": "string" },
                "sinks": names("Sinks of the group.", 1),
            });
            (settings, &["channel", "sinks"])
        }
        _ => (json!({}), &[]),
    }
}

/// Extends the schema by the components that settings choose, and by variables instead of values.
fn loose(mut schema: Json) -> Json {
    loosen(&mut schema);
    schema
}

fn loosen(schema: &mut Json) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove(OPTIONAL);
        if let Some(Json::String(role)) = fields.remove(CHOICE) {
            let forms = [reference(&format!("{role}_kind")), reference(&role)];
            fields.insert("anyOf".to_owned(), json!(forms));
        }
    }
    let mut is_table = false;
    if let Some(properties) = table(schema, "properties") {
        properties.values_mut().for_each(loosen);
        is_table = true;
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(key).filter(|inner| inner.is_object()) {
            loosen(inner);
            is_table = true;
        }
    }
    if !is_table && schema.get("type").is_none_or(|it| it != "object") && !is_text(schema) {
        or_variable(schema);
    }
}

/// Returns `true` for text of any content, which may contain a variable as it is.
fn is_text(schema: &Json) -> bool {
    let is_free = ["pattern", "enum", "format"].iter().all(|key| schema.get(key).is_none());
    is_free && schema.get("type").is_some_and(|it| it == "string")
}

/// A value as the schema has it, or text with a variable.
fn or_variable(schema: &mut Json) {
    const ABOUT: [&str; 4] = ["title", "description", "default", "examples"];
    let Some(fields) = schema.as_object_mut() else { return };
    let (about, value): (Map<_, _>, Map<_, _>) =
        std::mem::take(fields).into_iter().partition(|(key, _)| ABOUT.contains(&key.as_str()));
    *fields = about;
    fields.insert("anyOf".to_owned(), json!([value, reference("variable")]));
}
