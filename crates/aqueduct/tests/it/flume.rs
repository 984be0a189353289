//! This program accepts and runs translated Flume configurations.
//!
//! Method: compares the tables of `aqueduct-flume` with the schema of our components, its corpus
//! with the examination of a plan, and its reference with the page. The commands run in real
//! processes. `AQUEDUCT_BLESS=1` writes the reference into the page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use flume::table::{As, Becomes, Use, rows};
use flume::{File, Options, Outcome, World, agents, convert, page, properties};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

const PATIENCE: Duration = Duration::from_secs(60);

/// The components of this program. Every variable is a port number.
struct Here(BTreeSet<(&'static str, &'static str)>);

impl Here {
    fn new() -> Self {
        Self(catalogue::FULL.all().iter().map(|it| (it.role, it.kind)).collect())
    }
}

impl World for Here {
    fn variable(&self, _: &str) -> Option<String> {
        Some("4545".to_owned())
    }
    fn has(&self, role: &str, kind: &str) -> bool {
        self.0.contains(&(role, kind))
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn corpus() -> Vec<PathBuf> {
    let all = std::fs::read_dir(root("crates/flume/tests/corpus")).expect("the corpus is there");
    let mut all: Vec<PathBuf> = all.map(|entry| entry.expect("an entry").path()).collect();
    all.retain(|path| path.extension().is_some_and(|it| it == "conf"));
    all.sort();
    all
}

#[test]
fn translations_without_decisions_are_valid_configurations() {
    let (env, here) = (env::real(), Here::new());
    let mut taken = 0;
    for path in corpus() {
        let file = File { name: path.display().to_string().into(), text: read(&path) };
        let all = properties::read(&file.name, &file.text).expect("the format");
        for agent in agents(&all) {
            let options = Options {
                agent: Some(agent),
                data_dir: "/var/lib/aqueduct".into(),
                admin: None,
                flume_metrics: None,
                default_fs: None,
                keep_references: false,
                jvm: None,
            };
            let found = convert(std::slice::from_ref(&file), &options, &here).expect("an agent");
            if found.report.has(Outcome::Decision) {
                continue;
            }
            let (plan, errors) = config::examine(&file.name, found.settings, &env.host);
            assert!(errors.is_empty(), "{errors:?}");
            agent::check(&plan, catalogue::FULL, &env).unwrap_or_else(|errors| panic!("{errors}"));
            // The printed configuration parses to the same plan.
            let toml = config::to_toml(&plan);
            if !toml.contains("${") {
                let again = config::load(Path::new("a.toml"), &toml, &env.host);
                let again = again.unwrap_or_else(|errors| panic!("{errors}\n{toml}"));
                let digests = |plan: &config::Plan| -> Vec<u64> {
                    let groups = plan.groups.iter().map(config::GroupPlan::digest);
                    plan.sources.iter().map(config::SourcePlan::digest).chain(groups).collect()
                };
                assert_eq!(digests(&again), digests(&plan), "{toml}");
            }
            taken += 1;
        }
    }
    assert!(taken >= 25, "only {taken} were examined");
}

/// Returns the settings of a component, by name, with their schemas.
fn settings(role: &str, kind: &str) -> Option<Json> {
    let listed = catalogue::FULL.all();
    let listed = listed.iter().find(|it| it.role == role && it.kind == kind)?;
    let mut schema = schemars::SchemaGenerator::default();
    let schema = (listed.schema)(&mut schema);
    schema.as_value().get("properties").cloned()
}

#[test]
fn each_setting_that_a_table_names_is_one_of_its_component() {
    let mut looked = 0;
    for row in rows() {
        let Becomes::Kind(kind) = row.becomes else { continue };
        let Some(properties) = settings(row.role, kind) else { continue };
        for key in row.keys() {
            let (Use::Set(setting, how) | Use::Same(setting, how) | Use::Differs(setting, how, _)) =
                key.becomes
            else {
                continue;
            };
            let first = setting.split('.').next().unwrap_or(setting);
            let what = format!("{} `{}`: {} → {setting}", row.role, row.name, key.name);
            let schema = properties.get(first).unwrap_or_else(|| panic!("{what}: no such setting"));
            looked += 1;
            // A default that the translation omits must be ours.
            let ours = schema.get("default").filter(|it| !it.is_null());
            if let (Use::Same(..), Some(ours), false) = (key.becomes, ours, key.default.is_empty())
            {
                assert_eq!(shown(ours), default(key.default, how), "{what}: the default");
            }
        }
    }
    assert!(looked >= 25, "only {looked} were looked at");
}

fn shown(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

/// Writes Flume's default in our notation. Patterns that match any name have several notations.
fn default(text: &str, how: As) -> String {
    let millis = |count: u64| pipeline::units::Period(Duration::from_millis(count)).to_string();
    match (how, text.parse::<u64>()) {
        (As::Millis, Ok(count)) => millis(count),
        (As::Seconds, Ok(count)) => millis(count * 1_000),
        (As::Bytes, Ok(count)) => pipeline::units::ByteSize(count).to_string(),
        (As::OneOf(words), _) => {
            let ours = words.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(text));
            ours.map_or(text, |(_, ours)| ours).to_owned()
        }
        _ if text == "^.*$" => ".*".to_owned(),
        _ if text == "^$" => String::new(),
        _ => text.to_owned(),
    }
}

#[test]
fn the_page_has_the_reference_of_all_components_and_keys() {
    let path = root("docs/migrate-from-flume.md");
    let text = read(&path);
    let (before, rest) = text.split_once(page::BEGIN).expect("the page has a place for it");
    let (found, after) = rest.split_once(page::END).expect("the place has an end");
    let reference = format!("{}\n", page::reference());
    if std::env::var_os("AQUEDUCT_BLESS").is_some() {
        let whole = format!("{before}{}{reference}{}{after}", page::BEGIN, page::END);
        std::fs::write(&path, whole).expect("the page can be written");
        return;
    }
    assert!(found == reference, "write it by AQUEDUCT_BLESS=1");
}

fn run(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_aqueduct");
    Command::new(program).args(args).output().expect("the program starts")
}

/// Writes a Flume configuration into a new directory.
fn written(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("flume.conf");
    let text = text.replace("DIR", &dir.path().display().to_string());
    std::fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    (dir, file)
}

const NUMBERS: &str = "a1.sources = r1\na1.channels = c1\na1.sinks = k1\n\
    a1.sources.r1.type = SEQ\na1.sources.r1.totalEvents = 5000\na1.sources.r1.batchSize = 50\n\
    a1.sources.r1.channels = c1\na1.channels.c1.type = file\n\
    a1.channels.c1.checkpointDir = DIR/checkpoint\na1.channels.c1.dataDirs = DIR/data\n\
    a1.sinks.k1.type = FILE_ROLL\na1.sinks.k1.sink.directory = DIR/out\n\
    a1.sinks.k1.sink.rollInterval = 0\na1.sinks.k1.channel = c1\n";

#[test]
fn a_translation_ends_with_an_exit_code_for_scripts_and_its_report() {
    let (dir, file) = written(NUMBERS);
    let report = dir.path().join("report.json");
    let output = run(&["convert", "--json", "--report", &report.display().to_string(), &file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let toml = String::from_utf8_lossy(&output.stdout);
    assert!(toml.contains("[sources.r1]\ntype = \"sequence\"\n"), "{toml}");
    let findings: Json = serde_json::from_str(&read(&report)).expect("JSON");
    let first = &findings[0];
    let expected = ("a1.sources.r1.type", 4, "carried");
    let found = (first["key"].as_str(), first["line"].as_u64(), first["outcome"].as_str());
    assert_eq!(found, (Some(expected.0), Some(expected.1), Some(expected.2)), "{first}");

    let (_dir, file) = written(&format!("{NUMBERS}a1.sinks.k1.sink.pathManagr = x\n"));
    let output = run(&["convert", &file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(":15: a1.sinks.k1.sink.pathManagr: unknown key"), "{told}");
    assert!(told.contains("did you mean `sink.pathManager`?"), "{told}");
    let output = run(&["convert", "--strict", &file]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");

    let (_dir, file) = written(&NUMBERS.replace("FILE_ROLL", "hive"));
    assert_eq!(run(&["convert", &file]).status.code(), Some(2));
    assert_eq!(run(&["convert", "-n", "a2", &file]).status.code(), Some(1));
    assert_eq!(run(&["convert"]).status.code(), Some(64));
}

#[test]
fn an_agent_that_needs_a_decision_does_not_start() {
    let (dir, file) = written(&NUMBERS.replace("FILE_ROLL", "hive"));
    let data = dir.path().join("agent").display().to_string();
    let output = run(&["agent", "-n", "a1", "-f", &file, "--data-dir", &data]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("flume.conf:11: a1.sinks.k1.type: ORC transactions are not supported"),
        "{told}"
    );
    assert!(!Path::new(&data).exists());
}

#[test]
fn an_agent_runs_a_configuration_of_flume_as_it_is() {
    let (dir, _) = written(NUMBERS);
    let (shown, out) = (dir.path().display().to_string(), dir.path().join("out"));
    let data = dir.path().join("agent").display().to_string();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_aqueduct"))
        .args(["agent", "--name", "a1", "--conf", &shown, "--data-dir", &data])
        .args(["-Dflume.root.logger=INFO,console", "-Xmx512m", "--no-reload-conf"])
        .spawn()
        .expect("the program starts");
    let until = Instant::now() + PATIENCE;
    let lines = || -> usize {
        let all = std::fs::read_dir(&out).into_iter().flatten().flatten();
        all.map(|entry| read(&entry.path()).lines().count()).sum()
    };
    while lines() < 5_000 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_child(&agent);
    kill_process(pid, Signal::TERM).expect("it runs");
    assert_eq!(agent.wait().expect("it ends").code(), Some(0));
    assert_eq!(lines(), 5_000);
}
