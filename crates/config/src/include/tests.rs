//! A configuration of several files, with references, becomes one, or every problem is named.
//!
//! Method: files in a directory of their own, variables of a made-up environment.

use std::ffi::OsString;
use std::io::IoSlice;
use std::sync::Arc;

use pipeline::env::{Blocking, OpenMode};

use super::*;
use crate::{Plan, to_toml};

/// The environment that the tests see.
struct Variables;

impl Blocking for Variables {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        let known = [("HOST", "collector-1"), ("EVENTS", "500"), ("EMPTY", ""), ("ON", "true")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    }
}

fn world() -> Env {
    Env { blocking: Arc::new(Variables), ..env::real() }
}

/// A directory with these files.
fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
    let (root, env) = (tempfile::tempdir().unwrap(), env::real());
    for (name, text) in files {
        let path = root.path().join(name);
        env.disk.create_dir_all(path.parent().unwrap()).unwrap();
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let file = env.disk.open(&path, mode).unwrap();
        file.write_at(&[IoSlice::new(text.as_bytes())], 0, false).unwrap();
    }
    root
}

/// The plan of `main.toml`, or its problems without the directory's name.
fn plan(root: &tempfile::TempDir) -> Result<Plan, String> {
    let path = root.path().join("main.toml");
    let read = read_file(&path, &world());
    let plan = read.and_then(|root| crate::resolve(&path.display().to_string(), root, "host"));
    let directory = format!("{}/", root.path().display());
    plan.map_err(|errors| errors.to_string().replace(&directory, ""))
}

fn problems(parts: &[(&str, &str)]) -> String {
    plan(&files(parts)).unwrap_err()
}

const MAIN: &str = r#"include = ["parts/*.toml", "sinks.yaml"]
[agent]
data_dir = "/d"
[channels.main]
type = "memory"
"#;

const SOURCE: &str = "[sources.in]\ntype = \"sequence\"\nchannels = [\"main\"]\n";

const SINK: &str = "sinks:\n  out:\n    type: logger\n    channel: main\n";

#[test]
fn included_files_are_merged_by_name_in_the_order_of_their_names() {
    let root = files(&[
        ("main.toml", MAIN),
        ("sinks.yaml", SINK),
        ("parts/b.toml", &SOURCE.replace("sources.in", "sources.b")),
        ("parts/a.toml", &SOURCE.replace("sources.in", "sources.a")),
        ("parts/.c.toml", "is passed over"),
        ("parts/d.toml~", "is passed over"),
        ("parts/e.toml/f", "is passed over"),
    ]);
    let plan = plan(&root).unwrap();
    let names: Vec<_> = plan.sources.iter().map(|it| it.component.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let place = &plan.groups[0].sinks[0].kind_place;
    assert_eq!((place.line, place.column), (3, 11));
    assert!(place.file.ends_with("/sinks.yaml"), "{place}");
    // The printed configuration is one file.
    let printed = crate::load(Path::new("a.toml"), &to_toml(&plan), "host").unwrap();
    assert_eq!(printed, Plan { file: "a.toml".into(), ..plan });
}

#[test]
fn a_name_that_is_in_two_files_is_refused_with_both_places() {
    let second = SOURCE.to_owned() + "[agent]\ndata_dir = \"/e\"\n";
    let found = problems(&[
        ("main.toml", MAIN),
        ("sinks.yaml", SINK),
        ("parts/a.toml", SOURCE),
        ("parts/b.toml", &second),
    ]);
    let expected = "\
parts/b.toml:1:10: sources.in: is set twice; first at parts/a.toml:1:10; remove one
parts/b.toml:5:1: agent.data_dir: is set twice; first at main.toml:3:1; remove one";
    assert_eq!(found, expected);
}

#[test]
fn files_may_include_files_but_not_in_a_circle_and_none_twice() {
    let nested = [
        ("main.toml", "include = \"a/a.toml\"\n[agent]\ndata_dir = \"/d\"\n"),
        ("a/a.toml", "include = [\"b.toml\"]\n[channels.main]\ntype = \"memory\"\n"),
        ("a/b.toml", "include = [\"../sinks.yaml\", \"/SOURCE\"]\n"),
        ("sinks.yaml", SINK),
        ("source.toml", SOURCE),
    ];
    let root = files(&nested);
    let absolute = format!("{}/source.toml", root.path().display());
    let text = nested[2].1.replace("/SOURCE", &absolute);
    let file = files(&[("b.toml", &text)]);
    world().disk.rename(&file.path().join("b.toml"), &root.path().join("a/b.toml")).unwrap();
    assert!(plan(&root).is_ok(), "{:?}", plan(&root));

    let circle = [("main.toml", "include = [\"a.toml\"]\n"), ("a.toml", "include = \"main.*\"\n")];
    let expected = "a.toml:1:11: files include each other in a circle: `main.toml` → `a.toml` → \
                    `main.toml`; remove one of these includes";
    assert_eq!(problems(&circle), expected);

    let twice =
        [("main.toml", "include = [\"a.toml\",\n \"*.yaml\", \"a.toml\"]\n"), ("a.toml", "")];
    let expected =
        "main.toml:2:12: `a.toml` is included twice; first at main.toml:1:12; remove one";
    assert_eq!(problems(&twice), expected);
}

#[test]
fn includes_end_at_a_depth() {
    let name = |index: usize| if index == 0 { "main.toml".into() } else { format!("{index}.toml") };
    let all = |count: usize| {
        let of = |index| match index + 1 == count {
            true => (name(index), format!("{MAIN}{SOURCE}").replace("include", "#")),
            false => (name(index), format!("include = [\"{}\"]\n", name(index + 1))),
        };
        let parts: Vec<(String, String)> = (0..count).map(of).collect();
        let parts: Vec<_> = parts.iter().map(|(name, text)| (&**name, &**text)).collect();
        plan(&files(&parts)).unwrap_err()
    };
    assert!(all(DEPTH_MAX + 1).contains("no sink reads this channel"), "{}", all(DEPTH_MAX + 1));
    let expected = "8.toml:1:12: `9.toml`: includes are nested more than 8 deep; include the file \
                    from a file above";
    assert_eq!(all(DEPTH_MAX + 2), expected);
}

#[test]
fn failed_includes_are_named_at_their_place() {
    for (include, expected) in [
        ("\"a.toml\"", "main.toml:1:11: `a.toml` cannot be read: No such file or directory"),
        ("[\"no/*.toml\"]", "main.toml:1:12: include: no cannot be read: No such file"),
        ("[\"**/a\"]", "main.toml:1:12: include: `**` is not supported"),
        ("[\"[\"]", "main.toml:1:12: include: is not a pattern"),
        ("[1]", "main.toml:1:12: include: must be a list of file names"),
        ("[\".\"]", "main.toml:1:12: `.` cannot be read: it is not a regular file"),
        ("[\"x.conf\"]", "x.conf: a configuration must have a name that ends in `.toml`"),
        ("[\"bad.yaml\"]", "bad.yaml:1:4: not valid YAML"),
        ("[\"list.yaml\"]", "list.yaml:1:1: must contain tables"),
    ] {
        let found = problems(&[
            ("main.toml", &format!("include = {include}\n")),
            ("x.conf", "a"),
            ("bad.yaml", "a: ]"),
            ("list.yaml", "[a]"),
        ]);
        assert!(found.starts_with(expected), "{include}: {found}");
    }
    // A directory without matches is one without parts.
    let root =
        files(&[("main.toml", &format!("{MAIN}{SOURCE}")), ("parts/x", ""), ("sinks.yaml", SINK)]);
    assert!(plan(&root).is_ok(), "{:?}", plan(&root));
}

const REFERS: &str = r#"
[agent]
data_dir = "/d"
[sources.in]
type = "sequence" # ${NOT_LOOKED_AT}
count = "${EVENTS}"
flag = "${ON}"
age = "${AGE:-5}min"
channels = ["${CHANNEL:-main}"]
[channels.main]
type = "memory"
[sinks.out]
type = "${EMPTY:-logger}"
channel = "main"
address = "${HOST}:4141"
empty = "${EMPTY}"
token = "Bearer ${file:secrets/token}"
group = "$${1} $1 $"
"#;

#[test]
fn references_are_replaced_in_values_and_printed_as_they_are_written() {
    let root = files(&[("main.toml", REFERS), ("secrets/token", "hunter2\r\n")]);
    let plan = plan(&root).unwrap();
    let sink = &plan.groups[0].sinks[0];
    assert_eq!(sink.kind, "logger");
    let text = |name: &str| sink.settings.get(name).unwrap().read::<String>().unwrap();
    assert_eq!(text("address"), "collector-1:4141");
    assert_eq!(text("token"), "Bearer hunter2");
    assert_eq!((&*text("group"), &*text("empty")), ("${1} $1 $", ""));
    let source = &plan.sources[0];
    assert_eq!(source.channels, ["main"]);
    let setting = |name: &str| source.component.settings.get(name).unwrap();
    assert_eq!(setting("count").read::<u32>().unwrap(), 500);
    assert!(setting("flag").read::<bool>().unwrap());
    assert_eq!(setting("age").read::<pipeline::units::Period>().unwrap().to_string(), "5m");

    let printed = to_toml(&plan);
    for line in [
        "count = \"${EVENTS}\"\n",
        "token = \"Bearer ${file:secrets/token}\"\n",
        "group = \"$${1} $1 $\"\n",
    ] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
    assert!(!format!("{plan:?}{printed}").contains("hunter2"));
    // The printed configuration has the same meaning in the same environment.
    let again = files(&[("main.toml", &printed), ("secrets/token", "hunter2")]);
    let again = self::plan(&again).unwrap();
    assert_eq!(again, Plan { file: again.file.clone(), ..plan });
}

#[test]
fn unresolved_references_are_refused_with_place_and_remedy() {
    let text = REFERS
        .replace("${EVENTS}", "${COUNT}")
        .replace("$${1}", "${1}")
        .replace("[\"${CHANNEL:-main}\"]", "[\"main\", \"${A\"]");
    let found = problems(&[("main.toml", &text), ("secrets/token/x", "a directory")]);
    let expected = "\
main.toml:6:9: sources.in.count: environment variable `COUNT` is not set; set it, or write a \
default: `${COUNT:-…}`
main.toml:9:21: sources.in.channels.1: `${` has no closing `}`; add it, or write \
`$${` for the two characters `${`
main.toml:17:9: sinks.out.token: file `secrets/token` cannot be read: it is not a regular file
main.toml:18:9: sinks.out.group: `${1}` is not a reference; write `${NAME}`, `${NAME:-default}` \
or `${file:/path}`, or `$${1}` for the text itself";
    assert_eq!(found, expected);
}

#[test]
fn sizes_of_a_file_and_of_a_whole_configuration_are_limited() {
    let large = "x".repeat(32 << 20);
    let root = files(&[("main.toml", REFERS), ("secrets/token", &large)]);
    assert!(plan(&root).is_ok());
    let found = problems(&[("main.toml", REFERS), ("secrets/token", &format!("{large}x"))]);
    assert!(found.contains("has 33554433 bytes; at most 33554432 are allowed"), "{found}");
    let list = ["\"${file:secrets/token}\""; 3].join(",");
    let text = format!("{REFERS}list = [{list}]\n");
    let found = problems(&[("main.toml", &text), ("secrets/token", &large)]);
    let expected = "texts with references must have at most 67108864 bytes together";
    assert!(found.lines().count() == 1 && found.ends_with(expected), "{found}");
}

#[test]
fn a_text_that_is_no_file_refers_to_the_directory_that_is_given() {
    let root = files(&[("sinks.yaml", SINK)]);
    let text = format!("{MAIN}{SOURCE}").replace("\"parts/*.toml\", ", "");
    let read = |text: &str| read_text("-", &root.path().join("-.toml"), text, &world());
    let sinks = read(&text).unwrap();
    assert!(sinks.get("sinks").is_some());
    let error = read("a = \"${NO}\"\n").unwrap_err().to_string();
    assert!(error.starts_with("-:1:5: a: environment variable `NO` is not set"), "{error}");
}

#[test]
fn errors_about_large_names_stay_short() {
    let large = "x".repeat(1 << 20);
    let text = REFERS
        .replace("[\"${CHANNEL:-main}\"]", "[\"main\", \"${file:large}\"]")
        .replace("[sinks.out]", &format!("[sinks.{large}]"));
    let found = problems(&[("main.toml", &text), ("large", &large), ("secrets/token", "t")]);
    assert!(found.contains("sources.in.channels: unknown channel `xxx"), "{}", &found[..200]);
    assert!(found.contains("xxx… (1048448 more bytes)"), "{}", &found[..200]);
    assert!(found.len() < 8 << 10, "{} bytes", found.len());
}

#[test]
fn a_configuration_has_a_limited_number_of_values_and_components() {
    let keys = |from: usize, to: usize| {
        (from..to).map(|key| format!("key_{key} = 1\n")).collect::<String>()
    };
    let found = problems(&[("main.toml", &keys(0, 100_001))]);
    let expected = "main.toml: a configuration must have at most 100000 values, including those of \
                    included files";
    assert_eq!(found, expected);
    // The limit applies to all files together.
    let main = format!("include = [\"parts/*.toml\"]\n[a]\n{}", keys(0, 60_000));
    let part = format!("[b]\n{}", keys(0, 60_000));
    let found = problems(&[("main.toml", &main), ("parts/b.toml", &part)]);
    assert!(
        found.ends_with(
            "b.toml: a configuration must have at most 100000 values, including those of \
             included files"
        ),
        "{found}"
    );

    let sources = (0..1_001).map(|it| SOURCE.replace("sources.in", &format!("sources.in-{it}")));
    let sources: String = sources.collect();
    let main = MAIN.replace("\"parts/*.toml\", ", "");
    let found = problems(&[("main.toml", &format!("{main}{sources}")), ("sinks.yaml", SINK)]);
    assert_eq!(
        found,
        "main.toml:3006:10: sources: `sources` has 1001 entries; at most 1000 are supported: \
         distribute them over several agents"
    );
}

#[test]
fn a_long_list_of_problems_ends_with_the_number_of_the_others() {
    let keys: String = (0..50_000).map(|key| format!("key_{key}: 1\n")).collect();
    let root = files(&[("main.toml", "include = \"a.yaml\"\n"), ("a.yaml", &keys)]);
    let found = plan(&root).unwrap_err();
    assert!(found.contains("at most 1000 are supported"), "{}", &found[..500]);
    let read = read_file(&root.path().join("a.yaml"), &world()).unwrap();
    let found = crate::resolve("a.yaml", read, "host").unwrap_err().to_string();
    assert_eq!(found.lines().count(), 101);
    assert!(found.ends_with("more problems are not shown; fix those above first"), "{found}");
    assert!(found.len() < 32 << 10, "{} bytes", found.len());
}
