//! Goal: a morphline that `aqueduct agent` translates does with events what Flume's interceptor
//! does with them. Method: an agent whose source reads a file runs a morphline, and writes headers
//! and bodies to files; the expected ones are those of Flume's interceptor, by its documentation.

#![expect(clippy::disallowed_methods, reason = "a test stands outside the world that `Env` is")]

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
      { addValuesIfAbsent { level : never, site : berlin } }
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

#[test]
fn a_morphline_does_with_events_what_flume_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().display();
    for folder in ["in", "out"] {
        fs::create_dir(dir.path().join(folder)).expect("a directory");
    }
    fs::write(dir.path().join("in/a.txt"), LINES).expect("a file");
    fs::write(dir.path().join("web.conf"), MORPHLINE).expect("a file");
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
    let file = dir.path().join("flume.conf");
    fs::write(&file, text).expect("a file");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_aqueduct"))
        .args(["agent", "-n", "a", "-f"])
        .arg(&file)
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .spawn()
        .expect("the program starts");
    let lines = || -> Vec<String> {
        let files = fs::read_dir(dir.path().join("out")).expect("a directory");
        let texts = files.map(|it| fs::read_to_string(it.expect("an entry").path()));
        texts
            .flat_map(|it| it.expect("text").lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let until = Instant::now() + PATIENCE;
    while lines().len() < 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    kill_process(Pid::from_child(&agent), Signal::TERM).expect("it runs");
    assert_eq!(agent.wait().expect("it ends").code(), Some(0));
    let found = lines();
    let expected = [
        ("INFO", "1767323045000", "2026-01-02T03:04:05 INFO [cart] paid 3"),
        ("WARN", "1767323048000", "2026-01-02T03:04:08 WARN [cart] slow"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, (level, time, body)) in found.iter().zip(expected) {
        let (headers, rest) = line.split_once('}').expect("headers in braces");
        let mut headers: Vec<&str> = headers.trim_start_matches('{').split(", ").collect();
        headers.sort_unstable();
        let (ids, headers): (Vec<&str>, Vec<&str>) =
            headers.into_iter().partition(|it| it.starts_with("id=e-"));
        assert_eq!((ids.len(), ids[0].len()), (1, "id=e-".len() + 36), "{line}");
        let (level, time) = (format!("level={level}"), format!("timestamp={time}"));
        assert_eq!(headers, ["app=shop", &level, "site=berlin", "tier=web", &time], "{line}");
        assert_eq!(rest.trim_start(), body);
    }
}
