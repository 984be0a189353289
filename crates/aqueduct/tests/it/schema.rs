//! The schema from `aqueduct schema` accepts correct configurations and rejects wrong ones.
//!
//! Method: a validator compiles the program's output and checks every example, every TOML block of
//! the component pages, and a list of mistakes.

use std::path::Path;
use std::process::Command;

use jsonschema::Validator;
use pipeline::units::{ByteSize, Period};
use serde_json::{Value as Json, json};

use crate::pages::page::{self, Page};

fn schema() -> Json {
    let output = Command::new(env!("CARGO_BIN_EXE_aqueduct")).arg("schema").output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn validator() -> Validator {
    jsonschema::draft7::new(&schema()).expect("a schema of draft 7")
}

fn json(name: &str, text: &str) -> Json {
    let settings = config::read(Path::new(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    settings.read().expect("every setting is also JSON")
}

/// Validates a text; returns one line for each problem.
fn problems(validator: &Validator, name: &str, text: &str) -> Vec<String> {
    let value = json(name, text);
    validator.iter_errors(&value).map(|e| format!("{name}: {}: {e}", e.instance_path())).collect()
}

#[test]
fn it_is_a_schema_of_draft_7() {
    jsonschema::draft7::meta::validate(&schema()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_example_and_every_page_is_taken() {
    let validator = validator();
    let mut found = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples");
    for name in ["edge.toml", "edge.yaml", "collector.toml", "collector.yaml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        found.extend(problems(&validator, name, &text));
    }
    for listed in catalogue::FULL.all() {
        let page = Page::read(&listed);
        let name = format!("{} {}.toml", listed.role, listed.kind);
        let snippet = format!("{}{}", page::frame(&listed), page.snippet());
        found.extend(problems(&validator, &name, &snippet));
        for example in page.examples() {
            found.extend(problems(&validator, &name, example));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

const GOOD: &str = r#"
[agent]
data_dir = "/d"
grace = "20s"
[sources.web]
type = "http"
listen = "127.0.0.1:8080"
channels = ["main"]
decoder = { type = "lines", keep_empty = true }
interceptors = [{ type = "host", header = "host" }]
[channels.main]
type = "spill"
[channels.main.disk]
capacity = "8GiB"
overflow = "block"
[sinks.store]
type = "hdfs"
url = "hdfs://n:8020/logs"
encoder = "json"
[groups.stores]
type = "single"
channel = "main"
sinks = ["store"]
[dead_letters]
capacity = "64MiB"
"#;

#[test]
fn each_mistake_is_refused() {
    let validator = validator();
    assert_eq!(problems(&validator, "good.toml", GOOD), [""; 0]);
    for (right, wrong) in [
        ("data_dir = \"/d\"", "data_dri = \"/d\""),
        ("grace = \"20s\"", "grace = 20"),
        ("type = \"http\"", "type = \"htpt\""),
        ("type = \"http\"\n", ""),
        ("listen = \"127.0.0.1:8080\"", "listen = 8080"),
        ("listen = \"127.0.0.1:8080\"\n", ""),
        ("channels = [\"main\"]\n", ""),
        ("channels = [\"main\"]\n", "channels = []\n"),
        ("keep_empty = true", "keep_empty = \"yes\""),
        ("keep_empty = true", "keep = true"),
        // A setting of another component.
        ("header = \"host\"", "regex = \"host\""),
        ("capacity = \"8GiB\"", "capacity = \"8\""),
        ("overflow = \"block\"", "overflow = \"drop\""),
        ("encoder = \"json\"", "encoder = \"jsn\""),
        ("encoder = \"json\"", "encoder = { type = \"gzip\" }"),
        ("sinks = [\"store\"]", "sinks = \"store\""),
        ("[sinks.store]", "[sinks.\"a b\"]"),
        ("[groups.stores]", "[group.stores]"),
        ("capacity = \"64MiB\"", "segment_bytes = \"64MiB\""),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let text = GOOD.replacen(right, wrong, 1);
        assert!(!problems(&validator, "wrong.toml", &text).is_empty(), "taken: {wrong}");
    }
}

#[test]
fn a_mistake_is_named() {
    let text = GOOD.replacen("listen = ", "lisetn = ", 1);
    let found = problems(&validator(), "wrong.toml", &text).join("\n");
    assert!(found.contains("'lisetn' was unexpected"), "{found}");
    assert!(found.contains("\"listen\" is a required property"), "{found}");
}

#[test]
fn variable_may_replace_any_value() {
    let validator = validator();
    for (value, variable) in [
        ("\"20s\"", "\"${GRACE:-20s}\""),
        ("\"127.0.0.1:8080\"", "\"${HOST}:8080\""),
        ("keep_empty = true", "keep_empty = \"${KEEP}\""),
        ("\"8GiB\"", "\"${file:/run/secrets/capacity}\""),
        ("\"block\"", "\"${OVERFLOW}\""),
    ] {
        let text = GOOD.replacen(value, variable, 1);
        assert!(text.contains(variable), "{value}");
        assert_eq!(problems(&validator, "variable.toml", &text), [""; 0]);
    }
    let text = format!("include = [\"parts/*.toml\"]\n{GOOD}");
    assert_eq!(problems(&validator, "include.toml", &text), [""; 0]);
}

#[test]
fn an_editor_can_show_each_component_and_setting() {
    let schema = schema();
    for listed in catalogue::FULL.all() {
        let definition = &schema["definitions"][format!("{}_{}", listed.role, listed.kind)];
        let sentence = definition["description"].as_str().unwrap_or_default();
        assert!(sentence.ends_with('.'), "{} {}: {sentence}", listed.role, listed.kind);
        assert_eq!(definition["properties"]["type"], json!({ "const": listed.kind }));
        assert_eq!(definition["additionalProperties"], false);
        for (name, setting) in definition["properties"].as_object().unwrap() {
            let is_described = setting["description"].as_str().is_some_and(|it| !it.is_empty());
            assert!(is_described || name == "type", "{} {}: {name}", listed.role, listed.kind);
        }
    }
}

#[test]
fn units_are_taken_as_the_settings_take_them() {
    let validator = validator();
    let is_taken = |value: &Json| validator.is_valid(value);
    for size in [
        "0", "64MiB", "1.5 GiB", "8GB", "512KiB", "10B", "10k", "2kb", "64", "MiB", "-1B", "1XB",
        "",
    ] {
        let letters = json!({ "dead_letters": { "capacity": size } });
        assert_eq!(is_taken(&letters), size.parse::<ByteSize>().is_ok(), "{size}");
    }
    for period in
        ["20s", "5min", "1h 30m", "200ms", "1h30m", "2days", "1M", "20", "s", "-1s", "", "1.5"]
    {
        let agent = json!({ "agent": { "data_dir": "/d", "grace": period } });
        assert_eq!(is_taken(&agent), period.parse::<Period>().is_ok(), "{period}");
    }
}
