//! Schemas of settings, on types of every form.

use std::collections::BTreeMap;

use pipeline::units::{ByteSize, Period};
use pipeline::{Choice, Codec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

/// A table.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Below {
    /// Text below.
    #[serde(default)]
    text: String,
}

/// What happens.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// This one.
    #[default]
    OneWay,
    /// That one,
    /// in two lines.
    Other,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Forms {
    /// It must be
    /// there.
    must: String,
    number: Option<u32>,
    #[serde(default)]
    way: Way,
    maybe: Option<Below>,
    always: BTreeMap<String, i64>,
    list: Vec<ByteSize>,
    #[serde(default)]
    age: Option<Period>,
    codec: Choice<dyn Codec>,
    channels: Vec<String>,
}

fn schema() -> Json {
    static GROUP: pipeline::Group = pipeline::Group::EMPTY;
    let listed = Listed { role: "selector", kind: "x", schema: Forms::json_schema, group: &GROUP };
    component(&listed)
}

fn setting(name: &str) -> Setting {
    let all = settings(&schema());
    all.into_iter().find(|setting| setting.name == name).unwrap()
}

#[test]
fn each_form_of_a_value_has_words() {
    for (name, form) in [
        ("must", "text"),
        ("number", "integer"),
        ("way", "\"one_way\" or \"other\""),
        ("maybe", "table"),
        ("always", "table, each value integer"),
        ("list", "list of a size with its unit, such as \"64MiB\""),
        ("age", "a duration with its unit, such as \"30s\""),
        ("codec", "kind of codec, or a table with its `type`"),
    ] {
        assert_eq!(setting(name).form, form, "{name}");
    }
}

#[test]
fn required_default_and_optional_settings_differ() {
    let must = setting("must");
    assert!(must.is_required && !must.is_optional && must.default.is_none());
    let way = setting("way");
    assert!(!way.is_required && !way.is_optional);
    assert_eq!(way.default, Some(json!("one_way")));
    for name in ["number", "maybe", "age"] {
        let setting = setting(name);
        assert!(!setting.is_required && setting.is_optional, "{name}");
        assert_eq!(setting.default, None, "{name}");
    }
}

#[test]
fn meanings_are_in_one_line_with_those_of_the_values_behind() {
    assert_eq!(setting("must").meaning, ["It must be there."]);
    assert_eq!(
        setting("way").meaning,
        ["What happens.", "\"one_way\": This one.", "\"other\": That one, in two lines."]
    );
    let below = setting("maybe").below;
    assert_eq!(below.len(), 1);
    assert_eq!((below[0].name.as_str(), below[0].meaning.join("")), ("text", "Text below.".into()));
}

#[test]
fn settings_of_the_plan_are_not_in_the_schema() {
    assert!(settings(&schema()).iter().all(|setting| setting.name != "channels"));
    assert!(!schema()["required"].as_array().unwrap().contains(&json!("channels")));
}
