//! Goal: a morphline that `aqueduct agent` translates changes events like Flume's interceptor does.
//! Method: an agent reads a file, runs a morphline, and writes headers and bodies to files. The
//! expected output comes from Flume 1.11 with Kite 1.1, for the same morphlines and lines.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

const MORPHLINE: &str = r#"
# As people write them.
SOLR_LOCATOR : { collection : none }
morphlines : [
  { id : other, commands : [ { loadSolr { solrLocator : ${SOLR_LOCATOR} } } ] }
  {
    id : web
    importCommands : ["org.kitesdk.**"]
    commands : [
      { readLine { charset : UTF-8 } }
      {
        grok {
          dictionaryString : """
            # Some of the usual patterns, with what the linear library lacks.
            WORD \b\w+\b
            GREEDYDATA .*
            YEAR (?>\d\d){1,2}
            MONTHNUM (?:0?[1-9]|1[0-2])
            MONTHDAY (?:(?:0[1-9])|(?:[12][0-9])|(?:3[01])|[1-9])
            HOUR (?:2[0123]|[01]?[0-9])
            MINUTE (?:[0-5][0-9])
            SECOND (?:(?:[0-5][0-9]|60)(?:[:.,][0-9]+)?)
            ISO8601_TIMEZONE (?:Z|[+-]%{HOUR}(?::?%{MINUTE}))
            DAY_ISO8601 %{YEAR}-%{MONTHNUM}-%{MONTHDAY}
            TIME_ISO8601 %{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?
            TIMESTAMP_ISO8601 %{DAY_ISO8601}[T ]%{TIME_ISO8601}
            LEVEL (?:DEBUG|INFO|WARN)
            HEAD %{TIMESTAMP_ISO8601:timestamp} %{LEVEL:level}
          """
          expressions {
            message : """%{HEAD} \[%{WORD:app}\] %{GREEDYDATA:text}"""
          }
        }
      }
      { if {
          conditions : [ { contains { level : [DEBUG, TRACE] } } ]
          then : [ { logTrace { format : "x" } }, { dropRecord {} } ]
      } }
      { not { equals { app : hidden } } }
      { setValues { tier : web, app : "shop" } }
      { addValuesIfAbsent { app : shop, site : berlin } }
      { convertTimestamp {
          field : timestamp, inputFormats : ["yyyy-MM-dd'T'HH:mm:ss"], inputTimezone : UTC
          outputFormat : unixTimeInMillis
      } }
      { generateUUID { field : id, prefix : "e-" } }
      { removeFields { blacklist : ["literal:text"] } }
      { setValues { _attachment_body : "@{message}" } }
      { toByteArray { field : _attachment_body } }
      { removeFields { blacklist : ["literal:message"] } }
    ]
  }
]
"#;

const LINES: &str = "2026-01-02T03:04:05 INFO [cart] paid 3\nnothing of this form\n\
    2026-01-02T03:04:06 DEBUG [cart] noise\n2026-01-02T03:04:07 WARN [hidden] gone\n\
    2026-01-02T03:04:08 WARN [cart] slow\n";

/// Returns headers and body of `count` events; no event may become a dead letter.
fn run(morphline: &str, lines: &str, count: usize) -> Vec<(Vec<String>, String)> {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().display();
    for folder in ["in", "out"] {
        fs::create_dir(dir.path().join(folder)).expect("a directory");
    }
    fs::write(dir.path().join("in/a.txt"), lines).expect("a file");
    fs::write(dir.path().join("web.conf"), morphline).expect("a file");
    let class = "org.apache.flume.sink.solr.morphline.MorphlineInterceptor$Builder";
    let text = format!(
        "a.sources = r\na.channels = c\na.sinks = k\n\
         a.sources.r.type = spooldir\na.sources.r.spoolDir = {at}/in\na.sources.r.channels = c\n\
         a.sources.r.interceptors = m\na.sources.r.interceptors.m.type = {class}\n\
         a.sources.r.interceptors.m.morphlineFile = {at}/web.conf\n\
         a.sources.r.interceptors.m.morphlineId = web\n\
         a.channels.c.type = memory\na.sinks.k.type = file_roll\na.sinks.k.channel = c\n\
         a.sinks.k.sink.directory = {at}/out\na.sinks.k.sink.serializer = HEADER_AND_TEXT\n"
    );
    let (file, data) = (dir.path().join("flume.conf"), dir.path().join("data"));
    fs::write(&file, text).expect("a file");
    let aqueduct = || Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    let mut agent = aqueduct();
    agent.args(["agent", "-n", "a", "-f"]).arg(&file).arg("--data-dir").arg(&data);
    let mut agent = agent.spawn().expect("the program starts");
    let lines = || -> Vec<String> {
        let files = fs::read_dir(dir.path().join("out")).expect("a directory");
        let texts = files.map(|it| fs::read_to_string(it.expect("an entry").path()));
        let lines = |it: std::io::Result<String>| -> Vec<String> {
            it.expect("text").lines().map(str::to_owned).collect()
        };
        texts.flat_map(lines).collect()
    };
    let until = Instant::now() + PATIENCE;
    while lines().len() < count && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    kill_process(Pid::from_child(&agent), Signal::TERM).expect("it runs");
    assert_eq!(agent.wait().expect("it ends").code(), Some(0));
    let letters = aqueduct().args(["dlq", "list"]).arg(&data).output().expect("the program starts");
    assert_eq!(String::from_utf8_lossy(&letters.stdout).trim(), "no dead letters", "{letters:?}");
    let found = lines();
    assert_eq!(found.len(), count, "{found:#?}");
    let event = |line: &String| {
        let (headers, body) = line.split_once('}').expect("headers in braces");
        let headers = headers.trim_start_matches('{').split(", ").map(str::to_owned);
        let mut headers: Vec<String> = headers.filter(|it| !it.is_empty()).collect();
        headers.sort_unstable();
        (headers, body.trim_start().to_owned())
    };
    found.iter().map(event).collect()
}

#[test]
fn a_morphline_does_with_events_what_flume_does() {
    let expected = [
        ("INFO", "1767323045000", "2026-01-02T03:04:05 INFO [cart] paid 3"),
        ("WARN", "1767323048000", "2026-01-02T03:04:08 WARN [cart] slow"),
    ];
    let found = run(MORPHLINE, LINES, expected.len());
    for ((mut headers, body), (level, time, line)) in found.into_iter().zip(expected) {
        let at = headers.iter().position(|it| it.starts_with("id=e-")).expect("an id");
        assert_eq!(headers.remove(at).len(), "id=e-".len() + 36);
        let (level, time) = (format!("level={level}"), format!("timestamp={time}"));
        assert_eq!(headers, ["app=shop", &level, "site=berlin", "tier=web", &time]);
        assert_eq!(body, line);
    }
}

#[test]
fn a_morphline_that_leaves_no_body_makes_empty_ones() {
    let morphline = "morphlines : [{ id : web, commands : [{ readLine { charset : UTF-8 } }] }]";
    let found = run(morphline, "one\n\ntwo\n", 2);
    let event = |line: &str| (vec![format!("message={line}")], String::new());
    assert_eq!(found, [event("one"), event("two")], "an empty line is no record");
}

#[test]
fn a_morphline_takes_fields_out_of_json() {
    let morphline = "morphlines : [{ id : web, commands : [
        { readJson {} }
        { extractJsonPaths {
            flatten : true
            paths : { level : /level, \"user.name\" : /user/name }
        } }
        { contains { level : [high, low] } }
        { toByteArray { field : _attachment_body } }
    ] }]";
    let kept = "{\"level\":\"low\",\"user\":{\"name\":\"ann\"},\"x\":1}";
    let found = run(morphline, &format!("{kept}\n{{\"level\":\"none\"}}\n"), 1);
    let headers = ["_attachment_mimetype=json/java+memory", "level=low", "user.name=ann"];
    let headers = headers.map(str::to_owned).to_vec();
    assert_eq!(found, [(headers, kept.to_owned())]);
}
