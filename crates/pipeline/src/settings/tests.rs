//! A component's type is read from settings, or an error names the setting and its place.

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::units::Period;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Roll {
    #[serde(default)]
    age_max: Option<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sink {
    url: String,
    #[serde(default)]
    roll: Option<Roll>,
}

fn at(line: u32, column: u32) -> Place {
    Place { file: "a.toml".into(), line, column }
}

/// Keys in column 1, values in column 9.
fn table(line: u32, entries: Vec<(&str, u32, Value)>) -> Settings {
    let entry = |(name, line, value): (&str, u32, Value)| {
        (Key { name: name.into(), place: at(line, 1) }, Settings::at(value, at(line, 9)))
    };
    Settings::at(Value::Table(entries.into_iter().map(entry).collect()), at(line, 1))
}

#[test]
fn a_wrong_value_is_described_in_the_words_of_a_configuration() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors are looked at")]
    struct Inner {
        count: u16,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors are looked at")]
    struct Outer {
        inner: Inner,
        many: usize,
        name: String,
        all: Vec<u8>,
        is_on: bool,
    }
    let good = json!({
        "inner": { "count": 1 }, "many": 1, "name": "a", "all": [], "is_on": true,
    });
    for (name, value, expected) in [
        ("inner", json!(5), "expected a table, found the number `5`"),
        (
            "inner",
            json!({ "count": 70_000 }),
            "expected a whole number from 0 to 65535, found the number `70000`",
        ),
        ("many", json!("x"), "expected a whole number of at least 0, found the text \"x\""),
        ("many", json!(-1), "expected a whole number of at least 0, found the number `-1`"),
        ("name", json!(3), "expected text in quotes, found the number `3`"),
        ("all", json!("x"), "expected a list, found the text \"x\""),
        ("is_on", json!("yes"), "expected `true` or `false`, found the text \"yes\""),
        ("is_on", json!({}), "expected `true` or `false`, found a table"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let error = Settings::from_json(&settings).read::<Outer>().unwrap_err();
        assert_eq!(error.problem, expected, "{name}");
    }
}

#[test]
fn reads_what_is_right() {
    let roll = table(3, vec![("age_max", 4, Value::Text("5min".into()))]);
    let all = table(1, vec![("url", 2, Value::Text("file:///x".into())), ("roll", 3, roll.value)]);
    let sink: Sink = all.read().unwrap();
    assert_eq!(sink.url, "file:///x");
    assert_eq!(sink.roll.unwrap().age_max.unwrap().to_string(), "5m");
}

#[test]
fn a_wrong_key_is_named_with_its_place_and_the_closest_one() {
    let roll = table(3, vec![("age_mx", 4, Value::Text("5min".into()))]);
    let all = table(1, vec![("url", 2, Value::Text("x".into())), ("roll", 3, roll.value)]);
    let error = all.read::<Sink>().unwrap_err();
    assert_eq!((error.path.as_str(), error.place), ("roll.age_mx", at(4, 1)));
    assert_eq!(error.kind, SettingsErrorKind::UnknownName);
    assert_eq!(error.problem, "unknown key `age_mx`; did you mean `age_max`?");
}

#[test]
fn a_wrong_unit_is_named_with_its_place() {
    let roll = table(3, vec![("age_max", 4, Value::Integer(30))]);
    let all = table(1, vec![("url", 2, Value::Text("x".into())), ("roll", 3, roll.value)]);
    let error = all.read::<Sink>().unwrap_err();
    assert_eq!((error.path.as_str(), error.place), ("roll.age_max", at(4, 9)));
    assert_eq!(error.kind, SettingsErrorKind::WrongType);
    assert!(error.problem.contains("a duration with its unit"), "{}", error.problem);
}

#[test]
fn a_missing_key_is_named_with_the_place_of_its_table() {
    let error = table(7, vec![]).read::<Sink>().unwrap_err();
    assert_eq!((error.place, error.problem.as_str()), (at(7, 1), "key `url` is missing"));
    assert_eq!(error.kind, SettingsErrorKind::Missing);
}

#[derive(Debug, PartialEq, Deserialize)]
struct Typed {
    count: Option<u32>,
    least: i64,
    ratio: f64,
    flag: bool,
    text: String,
}

fn replaced(text: &str) -> Settings {
    let written = Some("${V}".into());
    Settings { written, ..Settings::text(text) }
}

#[test]
fn a_text_with_replaced_references_is_read_as_the_type_that_is_asked_for() {
    let mut all = Settings::empty();
    for (name, text) in
        [("count", "7"), ("least", "-8"), ("ratio", "0.5"), ("flag", "true"), ("text", "9")]
    {
        all.set(name, replaced(text));
    }
    let expected = Typed { count: Some(7), least: -8, ratio: 0.5, flag: true, text: "9".into() };
    assert_eq!(all.read::<Typed>().unwrap(), expected);

    // Text in the file stays text.
    all.set("count", Settings::text("7"));
    assert_eq!(all.read::<Typed>().unwrap_err().kind, SettingsErrorKind::WrongType);
}

#[test]
fn errors_and_debug_texts_hide_values_of_references() {
    let mut all = Settings::empty();
    all.set("count", replaced("hunter2"));
    let error = all.read::<Typed>().unwrap_err();
    assert_eq!(error.problem, "the value of `${V}` is not a whole number");
    assert_eq!(error.kind, SettingsErrorKind::WrongType);
    assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
}

#[test]
fn a_place_is_printed_as_far_as_it_is_known() {
    assert_eq!(at(12, 7).to_string(), "a.toml:12:7");
    assert_eq!(at(12, 0).to_string(), "a.toml:12");
    assert_eq!(at(0, 0).to_string(), "a.toml");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listening {
    listen: String,
    #[serde(default)]
    limit: u32,
    #[serde(rename = "..")]
    more: Roll,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(rename = "..")]
    listening: Listening,
    #[serde(default)]
    depth: u32,
}

#[test]
fn reads_keys_without_a_field_as_a_part_of_the_struct() {
    let json = json!({ "age_max": "3s", "depth": 2, "listen": "a:1", "limit": 7 });
    let source: Source = Settings::from_json(&json).read().unwrap();
    let Listening { listen, limit, more } = source.listening;
    assert_eq!((&*listen, limit, source.depth), ("a:1", 7, 2));
    assert_eq!(more.age_max.unwrap().0.as_secs(), 3);
}

#[test]
fn reports_errors_of_a_part_like_those_of_a_plain_table() {
    let text = |text: &str| Value::Text(text.into());
    let read = |entries| table(1, entries).read::<Source>().unwrap_err();
    let listen = || ("listen", 2, text("a:1"));
    let error = read(vec![listen(), ("limti", 3, Value::Integer(1))]);
    assert_eq!(error.problem, "unknown key `limti`; did you mean `limit`?");
    assert_eq!((&*error.path, error.place), ("limti", at(3, 1)));
    // The suggestion is a field of another part.
    let error = read(vec![listen(), ("deph", 3, Value::Integer(1))]);
    assert_eq!(error.problem, "unknown key `deph`; did you mean `depth`?");
    let error = read(vec![listen(), ("completely_different", 3, Value::Integer(1))]);
    let known = "known: `depth`, `listen`, `limit`, `age_max`";
    assert_eq!(error.problem, format!("unknown key `completely_different`; {known}"));
    let error = read(vec![listen(), ("limit", 3, text("many"))]);
    assert_eq!((&*error.path, error.place), ("limit", at(3, 9)));
    let error = read(vec![("limit", 2, Value::Integer(1))]);
    assert_eq!(
        (error.kind, &*error.problem),
        (SettingsErrorKind::Missing, "key `listen` is missing")
    );
    let error = read(vec![listen(), ("..", 3, Value::Integer(1))]);
    assert_eq!(error.kind, SettingsErrorKind::UnknownName, "the name of the part is not a key");
}
