//! Translations of morphline files. `crates/aqueduct/tests/it/flume_morphline.rs` checks with the
//! real interceptors that they have the same effect.

use super::*;

struct Files<'a>(&'a [(&'a str, &'a str)]);

impl World for Files<'_> {
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| "not there".to_owned())
    }
}

fn of(text: &str, id: Option<&str>) -> (Vec<Settings>, Report) {
    let mut report = Report::default();
    let files = [("m.conf", text), ("own", "CODE [A-Z]+%{NR}\nNR [0-9]+\nNUMBER (?<!x)1\nZ z\n")];
    let at = ("a.m.morphlineFile", &Place::default());
    let made = interceptors("m.conf", id, at, &Files(&files), &mut report);
    (made, report)
}

/// The kinds that commands become, and the problem of the first that is refused.
fn commands(text: &str) -> (Vec<String>, Option<String>) {
    let (made, report) = of(&format!("morphlines : [{{ id : m, commands : [\n{text}\n] }}]"), None);
    let kind = |it: &Settings| match it.get("type").map(|it| &it.value) {
        Some(Setting::Text(kind)) => kind.clone(),
        other => panic!("{other:?}"),
    };
    let problem = report.of(Outcome::Decision).next().map(ToString::to_string);
    (made.iter().map(kind).collect(), problem)
}

#[test]
fn each_command_becomes_its_interceptors() {
    let read = "{ readLine { charset : UTF-8 } }";
    let keep = "{ setValues { _attachment_body : \"@{message}\" } }\n\
                { toByteArray { field : _attachment_body } }";
    for (text, kinds) in [
        ("", &[][..]),
        ("{ logDebug { format : \"{}\", args : [\"@{}\"] } }", &[]),
        (read, &["filter", "regex_extractor", "search_replace"]),
        (&format!("{read}\n{keep}"), &["filter", "regex_extractor", "search_replace"]),
        ("{ addValues { a : b, c : [d] } }", &["static"]),
        (
            "{ if { conditions : [{ contains { l : [x, y] } }], then : [{ dropRecord {} }] } }",
            &["filter"],
        ),
        (
            "{ if { conditions : [{ not { equals { l : x } } }]\n\
              else : [{ logInfo { format : x } }, { dropRecord {} }] } }",
            &["filter"],
        ),
        ("{ equals { l : [] } }", &["filter"]),
        ("{ grok { expressions { l : \"%{WORD:w}\", m : \"%{INT:i}\" } } }", &["parse", "parse"]),
        ("{ generateUUID { field : nr, prefix : x } }", &["uuid"]),
        (
            "{ removeFields { blacklist : [\"literal:a\", \"regex:x.*\"] } }",
            &["remove_header", "remove_header"],
        ),
        (
            "{ convertTimestamp { field : t, inputFormats : [\"yyyy\"]\n\
              outputFormat : unixTimeInMillis } }",
            &["event_time"],
        ),
        (
            "{ readJson {} }\n{ extractJsonPaths { paths : { a : /a, \"b.c\" : \"/b/c\" } } }\n\
          { toByteArray { field : _attachment_body } }",
            &["static", "parse"],
        ),
        ("{ dropRecord {} }", &["filter"]),
    ] {
        let (found, problem) = commands(text);
        assert_eq!(
            (found, problem),
            (kinds.iter().map(|&it| it.to_owned()).collect(), None),
            "{text}"
        );
    }
}

#[test]
fn what_has_no_counterpart_is_refused_with_line_name_and_remedy() {
    for (text, line, wanted) in [
        (
            "{ findReplace { field : a } }",
            2,
            "command `findReplace`: not supported; use instead: the interceptor `search_replace`",
        ),
        ("\n{ loadSolr {} }", 3, "a `solr` sink"),
        ("{ zeroth {} }", 2, "not translated"),
        ("{ readLine { charset : UTF-16 } }", 2, "`charset : UTF-16` is not supported"),
        ("{ readLine { colour : red } }", 2, "unknown setting `colour`"),
        ("{ readLine {} }\n{ readLine {} }", 3, "already read the body"),
        ("{ grok { expressions { _attachment_body : x } } }", 2, "use `readLine` first"),
        ("{ grok { dictionaryFiles : [gone], expressions { a : x } } }", 2, "gone: not there"),
        ("{ grok { extract : false, expressions { a : x } } }", 2, "`extract : false`"),
        ("{ addValues { a : \"@{b}\" } }", 2, "write fixed text"),
        ("{ addValues { a : [b, c] } }", 2, "exactly one value"),
        ("{ toByteArray { field : _attachment_body } }", 2, "must be set to text before"),
        ("{ readJson {} }", 1, "requires a body of bytes"),
        ("{ readJson {} }\n{ extractJsonPaths { paths : { a : /b } } }", 3, "`b` instead of `a`"),
        (
            "{ if { conditions : [{ contains { a : b } }], then : [{ addValues { c : d } }] } }",
            2,
            "`dropRecord`",
        ),
        (
            "{ if { conditions : [{ grok {} }], then : [{ dropRecord {} }] } }",
            2,
            "the condition `grok` is not supported",
        ),
        (
            "{ convertTimestamp { inputFormats : [\"DDD\"], outputFormat : unixTimeInMillis } }",
            2,
            "`DDD` cannot be translated",
        ),
        ("{ convertTimestamp { inputFormats : [\"yyyy\"] } }", 2, "unixTimeInMillis"),
        ("{ removeFields { blacklist : [\"glob:a*\"] } }", 2, "`glob:a*` must be"),
        ("[", 3, "unexpected"),
    ] {
        let (_, problem) = commands(text);
        let problem = problem.unwrap_or_else(|| panic!("nothing is refused in {text}"));
        let is_there = problem.starts_with(&format!("m.conf:{line}: a.m.morphlineFile: "));
        assert!(is_there && problem.contains(wanted), "{text}: {problem}");
    }
}

#[test]
fn a_morphline_is_chosen_by_its_id() {
    let text =
        "morphlines : [{ id : a, commands : [] }, { id : b, commands : [{ dropRecord {} }] }]";
    assert_eq!(of(text, Some("b")).0.len(), 1);
    assert_eq!(of(text, Some("a")).0.len(), 0);
    for (id, problem) in [(None, "a, b"), (Some("c"), "no morphline `c`")] {
        assert!(of(text, id).1.to_string().contains(problem));
    }
    assert!(of("x : 1", None).1.to_string().contains("no list `morphlines`"));
}

#[test]
fn a_dictionary_gives_the_patterns_that_are_needed_and_linear() {
    let grok =
        "{ grok { dictionaryFiles : [own], expressions { m : \"%{CODE:c} %{NUMBER:n}\" } } }";
    let (made, _) = of(&format!("morphlines : [{{ commands : [{grok}] }}]"), None);
    let format = made[0].get("format").unwrap();
    let Setting::Table(patterns) = &format.get("patterns").unwrap().value else {
        panic!("no table")
    };
    let names: Vec<&str> = patterns.iter().map(|(key, _)| key.name.as_str()).collect();
    assert_eq!(names, ["CODE", "NR"]);
    assert_eq!(
        format.get("pattern"),
        Some(&Settings {
            place: made[0].place.clone(),
            ..Settings::text("^(?:%{CODE:c} %{NUMBER:n})$")
        })
    );
}
