//! A configuration becomes a plan, or a list of all its problems.
//!
//! Method: small files in both formats; the messages are compared literally, because users read
//! them.

use std::time::Duration;

use pipeline::settings::{Settings, Value};
use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
[agent]
data_dir = "/var/lib/aqueduct"
admin = "127.0.0.1:9464"

[sources.access]
type = "tail_dir"
paths = ["/var/log/nginx/*.log"]
channels = ["main"]
optional_channels = ["copy"]
interceptors = [{ type = "timestamp" }, { type = "static", key = "dc", value = "b" }]

[channels.main]
type = "durable"
capacity = "8GiB"

[channels.copy]
type = "memory"

[sinks.collector-1]
type = "grpc"
address = "collector-1:4141"

[sinks.collector-2]
type = "grpc"
address = "collector-2:4141"

[sinks.store]
type = "hdfs"
channel = "copy"
[sinks.store.roll]
age_max = "1min"

[groups.collectors]
type = "load_balance"
channel = "main"
sinks = ["collector-1", "collector-2"]
policy = "sticky"
"#;

const GOOD_YAML: &str = r#"
agent: { data_dir: /var/lib/aqueduct, admin: "127.0.0.1:9464" }
sources:
  access:
    type: tail_dir
    paths: ["/var/log/nginx/*.log"]
    channels: [main]
    optional_channels: [copy]
    interceptors:
      - type: timestamp
      - { type: static, key: dc, value: b }
channels:
  main: { type: durable, capacity: 8GiB }
  copy: { type: memory }
sinks:
  collector-1: { type: grpc, address: "collector-1:4141" }
  collector-2: { type: grpc, address: "collector-2:4141" }
  store:
    type: hdfs
    channel: copy
    roll:
      age_max: 1min
groups:
  collectors:
    type: load_balance
    channel: main
    sinks: [collector-1, collector-2]
    policy: sticky
"#;

#[test]
fn names_are_resolved() {
    let plan = load_toml(GOOD).unwrap();
    assert_eq!(plan.agent.name, "host-1");
    assert_eq!(plan.agent.grace, Duration::from_secs(20));

    let source = &plan.sources[0];
    assert_eq!(
        (source.component.name.as_str(), source.component.kind.as_str()),
        ("access", "tail_dir")
    );
    assert_eq!(source.channels, ["main"]);
    assert_eq!(source.optional_channels, ["copy"]);
    assert_eq!(source.selector.kind, "replicating");
    assert_eq!(texts(&source.selector, "channels"), ["main", "copy"]);
    assert_eq!(source.interceptors[1].path, "sources.access.interceptors.1");
    assert_eq!(keys(&source.interceptors[1]), ["key", "value"]);
    assert_eq!(keys(&source.component), ["paths"]);

    let groups: Vec<_> =
        plan.groups.iter().map(|g| (g.name.as_str(), g.channel.as_str())).collect();
    assert_eq!(groups, [("collectors", "main"), ("store", "copy")]);
    assert_eq!(texts(&plan.groups[0].processor, "sinks"), ["collector-1", "collector-2"]);
    assert_eq!(plan.groups[1].processor.kind, "single");
    assert_eq!(keys(&plan.groups[1].sinks[0]), ["roll"]);
}

#[test]
fn both_formats_mean_the_same() {
    let yaml = load(Path::new("a.yaml"), GOOD_YAML, "host-1").unwrap();
    assert_eq!(to_toml(&yaml), to_toml(&load_toml(GOOD).unwrap()));
}

#[test]
fn printed_configuration_loads_to_the_same_plan() {
    let printed = to_toml(&load_toml(GOOD).unwrap());
    let again = load_toml(&printed).unwrap();
    assert_eq!(to_toml(&again), printed);
    assert_eq!(again.groups.len(), 2);
    assert!(printed.contains("\n[sinks.store.roll]\nage_max = \"1min\"\n"), "{printed}");
}

#[test]
fn the_dead_letters_are_the_agents_own_and_printed_where_they_are_set() {
    assert_eq!(load_toml(GOOD).unwrap().dead_letters, Settings::empty());
    let plan = load_toml(&format!("{GOOD}\n[dead_letters]\ncapacity = \"1GiB\"\n")).unwrap();
    let printed = to_toml(&plan);
    assert!(printed.ends_with("\n[dead_letters]\ncapacity = \"1GiB\"\n"), "{printed}");
}

#[test]
fn all_problems_are_reported_together_with_place_and_remedy() {
    let text = r#"
[agnt]
[agent]
data_dir = "/d"
grace = 20
[sources.a]
type = "tail_dir"
channels = ["mian", "main", "main"]
[channels.main]
type = "durable"
[channels.spare]
type = "memory"
[sinks.one]
type = "grpc"
[sinks.two]
type = "grpc"
channel = "main"
[sinks."a b"]
channel = "main"
[groups.g]
type = "failover"
channel = "main"
sinks = ["two", "tow"]
[groups.h]
type = "failover"
channel = "main"
sinks = ["two"]
"#;
    let expected = "\
a.toml:2:2: agnt: unknown key `agnt`; did you mean `agent`?
a.toml:5:9: agent.grace: expected a duration with its unit, for example \"30s\", found the \
number `20`
a.toml:8:13: sources.a.channels: unknown channel `mian`; did you mean `main`?
a.toml:8:29: sources.a.channels: channel `main` is named twice here; remove one
a.toml:11:11: channels.spare: no source writes to this channel: add it to `channels` of a \
source, or remove the channel
a.toml:11:11: channels.spare: no sink reads this channel: set it as `channel` of a sink, or \
remove the channel
a.toml:13:8: sinks.one: this sink is not used: give it a `channel`, or name it in a group's `sinks`
a.toml:17:11: sinks.two.channel: remove `channel`: group `g` of this sink sets it
a.toml:18:8: sinks.a b: `a b` is not a valid name: at most 64 of a-z, A-Z, 0-9, `-`, `_` and `.`, \
beginning with a letter or digit
a.toml:18:8: sinks.a b: key `type` is missing
a.toml:23:17: groups.g.sinks: unknown sink `tow`; did you mean `two`?
a.toml:27:10: groups.h.sinks: sink `two` is already in group `g`; a sink can be in only one \
group, once; remove one of the entries";
    assert_eq!(load_toml(text).unwrap_err().to_string(), expected);
}

#[test]
fn sink_and_group_with_the_same_name_are_refused() {
    let text = GOOD.replace("[groups.collectors]", "[groups.store]");
    let errors = load_toml(&text).unwrap_err().to_string();
    assert_eq!(
        errors,
        "a.toml:28:8: sinks.store: a sink with `channel` forms a group of its name, but a group \
         with this name exists; rename one"
    );
}

#[test]
fn settings_of_the_plan_are_refused_in_files() {
    let selector = "optional_channels = [\"copy\"]\nselector = { type = \"x\", channels = [] }\n";
    let text = GOOD.replace("optional_channels = [\"copy\"]\n", selector);
    let error = load_toml(&text).unwrap_err().to_string();
    let expected = "a.toml:11:37: sources.access.selector.channels: must not be set, because a \
                    selector uses the channels of its source; remove this";
    assert_eq!(error, expected);
}

#[test]
fn empty_file_is_refused_with_the_missing_tables() {
    for name in ["a.toml", "a.yaml"] {
        let errors = load(Path::new(name), "", "host-1").unwrap_err();
        let problems: Vec<_> = errors.0.iter().map(|error| error.problem.as_str()).collect();
        let expected = [
            "nothing to run: add a table `[sources.NAME]`",
            "nothing to run: add a table `[channels.NAME]`",
            "table `agent` is missing; it needs at least `data_dir`",
        ];
        assert_eq!(problems, expected, "{name}");
    }
}

#[test]
fn another_extension_is_refused() {
    let problem = |path: &str| load(Path::new(path), GOOD, "host-1").unwrap_err().to_string();
    assert!(problem("a.properties").contains("run `aqueduct convert a.properties`"));
    let expected =
        "a.json: a configuration must have a name that ends in `.toml`, `.yaml` or `.yml`";
    assert_eq!(problem("a.json"), expected);
}

#[test]
fn a_wrong_admin_address_is_refused_with_an_example() {
    for (admin, cause) in [
        ("9464", "has no port"),
        (":9464", "has no host"),
        ("localhost:http", "has a port that is not a number"),
        ("localhost:99999", "has port 99999, but the highest port is 65535"),
    ] {
        let text = GOOD.replace("127.0.0.1:9464", admin);
        let error = load_toml(&text).unwrap_err().to_string();
        let example = "write for example \"127.0.0.1:9464\"";
        assert_eq!(error, format!("a.toml:4:9: agent.admin: `{admin}` {cause}; {example}"));
    }
}

#[test]
fn access_to_the_admin_listener_is_checked_and_shows_no_secret() {
    let (address, own) = ("admin = \"127.0.0.1:9464\"", "a.toml:5:");
    let cut = "certificate = \"/c.pem\"";
    for (text, place, problem) in [
        ("admin_token = \"short\"", "15: agent.admin_token: ", "at least 16 characters"),
        ("admin_token = \"hunter2 hunter2 hunter2\"", "15: agent.admin_token: ", "no space"),
        (
            &format!("admin_tls = {{ {cut} }}"),
            "13: agent.admin_tls.key: ",
            "because `certificate` is set",
        ),
        ("admin_tls = {}", "13: agent.admin_tls.certificate: ", "a listener needs a certificate"),
    ] {
        let text = GOOD.replace(address, &format!("{address}\n{text}"));
        let error = load_toml(&text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{own}{place}")), "{error}");
        assert!(error.contains(problem) && !error.contains("hunter2"), "{error}");
    }
    let alone = GOOD.replace(address, "admin_token = \"0123456789abcdef\"");
    let error = load_toml(&alone).unwrap_err().to_string();
    assert!(
        error.ends_with("has an effect only with `admin`; set `admin`, or remove this"),
        "{error}"
    );
    let both = format!(
        "{address}\nadmin_token = \"0123456789abcdef\"\nadmin_tls = {{ {cut}, key = \"/k\" }}"
    );
    let plan = load_toml(&GOOD.replace(address, &both)).unwrap();
    let printed = to_toml(&plan);
    assert_eq!(load_toml(&printed).unwrap(), plan, "{printed}");
    assert_ne!(plan, load_toml(GOOD).unwrap());
}

#[test]
fn shell_syntax_in_the_data_directory_is_refused() {
    for (directory, remedy) in [
        ("$HOME/aq", "write `${HOME}` for an environment variable in a file"),
        ("~/aq", "`~` is not replaced; write `${HOME}/aq`"),
    ] {
        let text = GOOD.replace("/var/lib/aqueduct", directory);
        let error = load_toml(&text).unwrap_err().to_string();
        let expected = format!("a.toml:3:12: agent.data_dir: `{directory}`: {remedy}");
        assert!(error.starts_with(&expected), "{error}");
    }
    load_toml(&GOOD.replace("/var/lib/aqueduct", "/var/lib/a$b~")).unwrap();
}

#[test]
fn a_key_or_table_that_is_there_twice_is_named_with_its_first_place() {
    for (first, second, expected) in [
        (
            "[agent]\nname = \"a\"\n",
            "name = \"b\"\n",
            "`name` is set twice; first on line 2; remove one",
        ),
        (
            "[sinks.a]\ntype = \"x\"\n",
            "[sinks.a]\n",
            "`sinks.a` is set twice; first on line 1; remove one",
        ),
        (
            "[sinks]\na = { x = 1 }\n",
            "a = { x = 2 }\n",
            "`a` is set twice; first on line 2; remove one",
        ),
        ("[agent]\nname = 1\n[other]\nname = 2\n", "name = 3\n", "first on line 4; remove one"),
        ("[agent]\n", "x = { a = 1, a = 2 }\n", "`a` is set twice; remove one"),
    ] {
        let text = format!("{first}{second}");
        let error = load_toml(&text).unwrap_err().to_string();
        let line = 1 + first.lines().count();
        assert!(error.starts_with(&format!("a.toml:{line}:")), "{error}");
        assert!(error.contains(": not valid TOML: "), "{error}");
        assert!(error.ends_with(expected), "{error}");
    }
}

proptest! {
    /// Any contents of a file yield a plan or a message.
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}a-c:.&*!\"'|>\\-#= \n0-9,~]{0,80}") {
        let _ = load(Path::new("a.yaml"), &text, "host-1");
        let _ = load(Path::new("a.toml"), &text, "host-1");
    }
}

fn load_toml(text: &str) -> Result<Plan, ConfigErrors> {
    load(Path::new("a.toml"), text, "host-1")
}

fn keys(component: &ComponentPlan) -> Vec<&str> {
    let Value::Table(entries) = &component.settings.value else { panic!("a table") };
    entries.iter().map(|(key, _)| key.name.as_str()).collect()
}

fn texts(component: &ComponentPlan, key: &str) -> Vec<String> {
    component.settings.get(key).expect("the plan put it there").read().unwrap()
}
