//! The annotated examples say everything, and say it right.
//!
//! Method: each example is loaded and built as its program does it, once as it is and once with all
//! settings switched on that are commented out. Then the schema of every component in the catalogue
//! is held against them: each setting is there, and has its default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent::cli;
use config::{ComponentPlan, Plan};
use pipeline::env::OpenMode;
use pipeline::units::{ByteSize, Period};
use pipeline::{
    Catalogue, Channel, ChannelSelector, Interceptor, Role, Settings, Sink, SinkProcessor, Source,
};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value as Json;

/// Filled in from the plan, so nobody writes it.
const FROM_PLAN: [&str; 2] = ["channels", "sinks"];

#[test]
fn each_example_runs_as_it_is() {
    for (name, catalogue) in [
        ("edge.toml", components::EDGE),
        ("edge.yaml", components::EDGE),
        ("collector.toml", catalogue::FULL),
        ("collector.yaml", catalogue::FULL),
    ] {
        built(name, &text(name), catalogue);
    }
}

#[test]
fn an_example_of_several_files_is_one_configuration() {
    let (env, path) = (env::real(), example("fleet.toml"));
    let settings = cli::read(&path, &env).unwrap_or_else(|e| panic!("{e}"));
    let draft = config::examine("fleet.toml", settings, &env.host);
    let plan = cli::checked(draft, components::EDGE, &env).unwrap_or_else(|e| panic!("{e}")).0;
    let sources: Vec<&str> = plan.sources.iter().map(|it| it.component.name.as_str()).collect();
    assert_eq!(sources, ["app", "nginx"]);
}

#[test]
fn each_example_runs_with_everything_switched_on() {
    built("edge.toml", &switched_on("edge.toml"), components::EDGE);
    built("collector.toml", &switched_on("collector.toml"), catalogue::FULL);
}

#[test]
fn both_formats_of_a_collector_mean_the_same() {
    let yaml = built("collector.yaml", &text("collector.yaml"), catalogue::FULL);
    let toml = built("collector.toml", &text("collector.toml"), catalogue::FULL);
    assert_eq!(
        yaml.groups[0].sinks[0].settings.get("url").unwrap().value,
        toml.groups[0].sinks[0].settings.get("url").unwrap().value
    );
    assert_eq!(yaml.groups[0].channel, toml.groups[0].channel);
}

#[test]
fn both_examples_hold_every_setting_with_its_default() {
    let edge = built("edge.toml", &switched_on("edge.toml"), components::EDGE);
    let collector = built("collector.toml", &switched_on("collector.toml"), catalogue::FULL);
    let problems = compare(catalogue::FULL, &[edge, collector]);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn text(name: &str) -> String {
    let path = example(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").join(name)
}

/// The example with its switched off settings on: `#key`, `#[table]` and `#{` become what follows.
fn switched_on(name: &str) -> String {
    let line = |line: &str| {
        let (blanks, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix('#') {
            Some(setting)
                if setting.starts_with(|c: char| c.is_alphabetic() || "[{".contains(c)) =>
            {
                format!("{blanks}{setting}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    text(name).lines().map(line).collect()
}

/// The plan, after every component of it was built.
fn built(name: &str, text: &str, catalogue: Catalogue) -> Plan {
    let env = env::real();
    // What the examples refer to is not on this machine.
    let secrets = tempfile::tempdir().expect("a directory for what is referred to");
    let secret = secrets.path().join("hook");
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    env.disk.open(&secret, mode).expect("it is new");
    let text = text.replace("/run/secrets/hook", &secret.display().to_string());
    let settings = config::read_text(name, &example(name), &text, &env);
    let settings = settings.unwrap_or_else(|e| panic!("{e}"));
    let draft = config::examine(name, settings, &env.host);
    cli::checked(draft, catalogue, &env).unwrap_or_else(|e| panic!("{e}")).0
}

/// What the examples lack or say wrong.
fn compare(catalogue: Catalogue, plans: &[Plan]) -> Vec<String> {
    let mut shown: BTreeMap<(&str, &str), Vec<&ComponentPlan>> = BTreeMap::new();
    for plan in plans {
        for (role, component) in components_of(plan) {
            shown.entry((role, component.kind.as_str())).or_default().push(component);
        }
    }
    let mut problems = Vec::new();
    let mut check = |role, kind, schema: fn(&mut SchemaGenerator) -> Schema| {
        let known = shown.get(&(role, kind)).map(Vec::as_slice).unwrap_or_default();
        if known.is_empty() {
            problems.push(format!("{role} `{kind}` is in no example"));
        }
        let settings: Vec<&Settings> = known.iter().map(|component| &component.settings).collect();
        let mut generator = SchemaGenerator::default();
        let schema = schema(&mut generator).to_value();
        let definitions = Json::Object(generator.definitions().clone());
        hold(&format!("{role} `{kind}`"), &schema, &definitions, &settings, &mut problems);
    };
    each::<dyn Source>(catalogue, &mut check);
    each::<dyn Interceptor>(catalogue, &mut check);
    each::<dyn ChannelSelector>(catalogue, &mut check);
    each::<dyn Channel>(catalogue, &mut check);
    each::<dyn SinkProcessor>(catalogue, &mut check);
    each::<dyn Sink>(catalogue, &mut check);
    problems
}

fn each<R: Role + ?Sized>(
    catalogue: Catalogue,
    check: &mut impl FnMut(&'static str, &'static str, fn(&mut SchemaGenerator) -> Schema),
) {
    for entry in catalogue.entries::<R>() {
        check(R::NAME, entry.kind, entry.schema);
    }
}

fn components_of(plan: &Plan) -> Vec<(&'static str, &ComponentPlan)> {
    let mut all = Vec::new();
    for source in &plan.sources {
        all.push(("source", &source.component));
        all.push(("selector", &source.selector));
        all.extend(source.interceptors.iter().map(|component| ("interceptor", component)));
    }
    all.extend(plan.channels.iter().map(|channel| ("channel", &channel.component)));
    for group in &plan.groups {
        all.push(("processor", &group.processor));
        all.extend(group.sinks.iter().map(|component| ("sink", component)));
    }
    all
}

/// Each property of the schema is in some of the settings, and has its default where it has one.
fn hold(
    what: &str,
    schema: &Json,
    definitions: &Json,
    settings: &[&Settings],
    problems: &mut Vec<String>,
) {
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
    for (key, property) in properties {
        if FROM_PLAN.contains(&key.as_str()) {
            continue;
        }
        let values: Vec<&Settings> = settings.iter().filter_map(|table| table.get(key)).collect();
        if values.is_empty() {
            problems.push(format!("{what}: `{key}` is in no example"));
        }
        if let Some(default) = property.get("default").filter(|default| !is_nothing(default)) {
            let same = |value: &&Settings| equal(&json(value), default);
            if !default.is_object() && !values.iter().any(same) {
                problems.push(format!("{what}: no example has the default {default} of `{key}`"));
            }
        }
        let name = property.get("$ref").and_then(Json::as_str).and_then(|it| it.rsplit('/').next());
        if let Some(inner) = name.and_then(|name| definitions.get(name)) {
            hold(&format!("{what}.{key}"), inner, definitions, &values, problems);
        }
    }
}

/// Nothing to show: the example has something to explain instead.
fn is_nothing(default: &Json) -> bool {
    match default {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn json(value: &Settings) -> Json {
    value.read().expect("every setting is also JSON")
}

/// Equal, also where a size or a duration is written another way.
fn equal(value: &Json, default: &Json) -> bool {
    let (Some(left), Some(right)) = (value.as_str(), default.as_str()) else {
        return value == default;
    };
    let periods = (left.parse::<Period>(), right.parse::<Period>());
    let sizes = (left.parse::<ByteSize>(), right.parse::<ByteSize>());
    left == right
        || matches!(periods, (Ok(left), Ok(right)) if left == right)
        || matches!(sizes, (Ok(left), Ok(right)) if left == right)
}
