//! The examples run unchanged.
//!
//! Method: each example is loaded and built like its program does it, once unchanged and once with
//! all commented settings enabled.

use std::path::{Path, PathBuf};

use config::Plan;
use pipeline::Catalogue;
use pipeline::env::OpenMode;
use program::cli;

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
    let plan = agent::checked(draft, components::EDGE, &env).unwrap_or_else(|e| panic!("{e}")).0;
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

fn text(name: &str) -> String {
    let path = example(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").join(name)
}

/// Returns the example with its commented settings enabled: `#key` becomes `key`.
fn switched_on(name: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(char::is_alphabetic) => format!("{setting}\n"),
        _ => format!("{line}\n"),
    };
    text(name).lines().map(line).collect()
}

/// Builds every component and returns the plan.
fn built(name: &str, text: &str, catalogue: Catalogue) -> Plan {
    let env = env::real();
    // Create the files that the examples refer to.
    let secrets = tempfile::tempdir().expect("a directory for what is referred to");
    let secret = secrets.path().join("hook");
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    env.disk.open(&secret, mode).expect("it is new");
    let text = text.replace("/run/secrets/hook", &secret.display().to_string());
    let settings = config::read_text(name, &example(name), &text, &env);
    let settings = settings.unwrap_or_else(|e| panic!("{e}"));
    let draft = config::examine(name, settings, &env.host);
    agent::checked(draft, catalogue, &env).unwrap_or_else(|e| panic!("{e}")).0
}
