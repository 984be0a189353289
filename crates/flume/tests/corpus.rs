//! Each configuration of `tests/corpus` has its known outcome.
//!
//! Method: `NAME.conf` is translated, agent by agent, in a world that has every component, and the
//! findings other than `carried over` are compared with `NAME.txt`: outcome, line and key.
//! `BLESS=1` rewrites these files. The example configurations of Flume's user guide begin with
//! `guide_`, difficult cases with `own_`, and configurations as people write them with `shape_`.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![expect(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aqueduct_flume::{
    Conversion, File, Options, Outcome, World, agents, convert, properties, table,
};

/// Every component exists, no variable is set, and the time zone is UTC.
struct Full;

impl World for Full {
    fn zone(&self) -> Option<String> {
        Some("UTC".to_owned())
    }
}

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = all.filter(|it| it.extension().is_some_and(|it| it == "conf")).collect();
    all.sort();
    all
}

fn translated(text: &str, agent: Option<&str>) -> Conversion {
    let options = Options {
        agent: agent.map(str::to_owned),
        data_dir: "/var/lib/aqueduct".into(),
        admin: None,
        flume_metrics: None,
        default_fs: None,
        keep_references: true,
        jvm: None,
    };
    let file = File { name: "flume.conf".into(), text: text.to_owned() };
    convert(&[file], &options, &Full).unwrap()
}

/// The findings of all agents of a file.
fn outcome(text: &str) -> String {
    let all = properties::read(&"flume.conf".into(), text).unwrap();
    let mut shown = String::new();
    for agent in agents(&all) {
        writeln!(shown, "[{agent}]").unwrap();
        let conversion = translated(text, Some(&agent));
        for it in conversion.report.0.iter().filter(|it| it.outcome != Outcome::Carried) {
            writeln!(shown, "{}: {}: {}", it.place.line, it.key, it.outcome.name()).unwrap();
        }
    }
    shown
}

#[test]
fn each_configuration_has_its_known_outcome() {
    let all = corpus();
    let own = all.iter().filter(|it| !it.to_string_lossy().contains("guide_")).count();
    assert!(own >= 100 && all.len() >= 150, "{own} of {} are ours", all.len());
    let mut wrong = String::new();
    for path in all {
        let found = outcome(&std::fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &found).unwrap();
        }
        let known = std::fs::read_to_string(&expected).unwrap_or_default();
        if known != found {
            writeln!(wrong, "{}\nexpected:\n{known}found:\n{found}", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A key in a table that no code handles would be reported as untranslated.
#[test]
fn each_key_of_the_tables_is_translated() {
    let mut tried = 0;
    for row in table::rows() {
        let prefix = match row.role {
            "source" => "a.sources.x",
            "channel" => "a.channels.x",
            "sink" => "a.sinks.x",
            "interceptor" => "a.sources.s.interceptors.x",
            "selector" => "a.sources.s.selector",
            "processor" => "a.sinkgroups.x.processor",
            "encoder" => "a.sinks.f.sink.serializer",
            _ => "a.sources.d.deserializer",
        };
        let kind = match row.role {
            "encoder" | "decoder" => format!("{prefix} = "),
            _ => format!("{prefix}.type = "),
        };
        let mut text = format!(
            "a.sources = s x d\na.channels = x\na.sinks = x f\na.sinkgroups = x\n\
             a.sinkgroups.x.sinks = x f\na.sources.s.interceptors = x\na.sinks.f.type = file_roll\n\
             a.sources.d.type = spooldir\n{kind}{}\n",
            row.classes[0]
        );
        // Formats have separate rows.
        let is_format =
            |name: &str| matches!(name, "*" | "handler.*") || name.ends_with("serializer.*");
        for key in row.keys().filter(|key| !is_format(key.name)) {
            let name = key.name.replace('*', "x");
            let value =
                if key.default.is_empty() || key.default == "*" { "1" } else { key.default };
            writeln!(text, "{prefix}.{name} = {}", value.replace('\\', "\\\\")).unwrap();
            tried += 1;
        }
        let report = translated(&text, None).report;
        for finding in &report.0 {
            let is_gap = finding.text
                == "the key is not translated; remove it, or configure its effect in Aqueduct"
                || (finding.outcome == Outcome::Unknown && finding.key.starts_with(prefix));
            assert!(!is_gap, "{} `{}`: {finding}", row.role, row.name);
        }
    }
    assert!(tried > 250, "{tried}");
}

/// Nothing is lost silently: the report names each key of a file.
#[test]
fn each_key_of_a_configuration_is_in_its_report() {
    for path in corpus() {
        let text = std::fs::read_to_string(&path).unwrap();
        let all = properties::read(&"flume.conf".into(), &text).unwrap();
        for agent in agents(&all) {
            let report = translated(&text, Some(&agent)).report;
            let lines: BTreeSet<u32> = report.0.iter().map(|it| it.place.line).collect();
            let lists = ["sources", "channels", "sinks", "sinkgroups", "configfilters"];
            for it in all.iter().filter(|it| !it.value.is_empty()) {
                let Some(rest) = it.key.strip_prefix(&format!("{agent}.")) else { continue };
                let is_silent = lists.contains(&rest)
                    || rest.starts_with("configfilters.")
                    || rest.ends_with(".interceptors");
                let is_named = lines.contains(&it.place.line);
                assert!(is_silent || is_named, "{}: {}", path.display(), it.key);
            }
        }
    }
}

/// A source that never resends keeps Flume's policy; another source gets the selector's own policy.
#[test]
fn a_policy_is_kept_where_the_source_lets_a_selector_choose_anew() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let text = std::fs::read_to_string(folder.join("own_selector_policies.conf")).unwrap();
    let found = translated(&text, Some("a"));
    let of = |source: &str| {
        let source = found.settings.get("sources").unwrap().get(source).unwrap();
        let policy = source.get("selector").unwrap().get("policy")?;
        Some(format!("{:?}", policy.value))
    };
    for (source, policy) in [
        ("avro", Some("random")),
        ("exec", Some("round_robin")),
        ("net", Some("round_robin")),
        ("web", Some("round_robin")),
        ("load", Some("random")),
        ("tail", None),
        ("spool", None),
    ] {
        let expected = policy.map(|policy| format!("Text({policy:?})"));
        assert_eq!(of(source), expected, "{source}");
    }
}
