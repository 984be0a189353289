//! Goal: Parquet's own Java library reads the files, with every type and value as sent, every event
//! once, and a footer in every visible file.
//!
//! Method: a collector follows a log of JSON lines and stores it in a real HDFS; it is killed twice
//! with -9, and the files visible then are read, too. Some lines do not fit the columns: they
//! become dead letters, and do not block others. Each row read by Java is compared with its line,
//! doubles bit by bit. The same holds for other bodies than JSON ([`bodies`]), and pyarrow reads
//! nested columns ([`nested`]) and arrays of PostgreSQL ([`arrays`]).
//!
//! Lane: connector
//! Needs: hdfs javac python3 postgres psql
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-parquet crates/components-hdfs crates/components-sql

mod arrays;
mod bodies;
mod nested;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::java_with;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::wait;

const LINES: usize = 20_000;
/// One in this many lines does not fit.
const MISFIT: usize = 1_000;

/// Part of a number with more digits than 64 bits have.
const ZEROS: &str = "0000000000000000000000000";

const COLUMNS: &str = r#"[
    { name = "n", type = "int64", required = true },
    { name = "site", type = "string", from = "header:site", required = true },
    { name = "text", type = "string", from = "message.text" },
    { name = "ok", type = "bool" },
    { name = "user", type = "int32", from = "message.user.id" },
    { name = "ratio", type = "double" },
    { name = "part", type = "float" },
    { name = "price", type = "decimal", precision = 9, scale = 2 },
    { name = "balance", type = "decimal", precision = 38, scale = 1 },
    { name = "tags", type = "json" },
    { name = "day", type = "date" },
    { name = "at", type = "timestamp_micros" },
    { name = "raw", type = "bytes", from = "tags" },
]"#;

const SCHEMA: &str = "message event { required int64 n = 1; required binary site (STRING) = \
    2; optional binary text (STRING) = 3; optional boolean ok = 4; optional int32 user = 5; \
    optional double ratio = 6; optional float part = 7; optional int32 price (DECIMAL(9,2)) = \
    8; optional fixed_len_byte_array(16) balance (DECIMAL(38,1)) = 9; optional binary tags \
    (JSON) = 10; optional int32 day (DATE) = 11; optional int64 at (TIMESTAMP(MICROS,true)) = \
    12; optional binary raw = 13; }";

/// Returns a number with as many digits as it needs: inexact readers differ.
fn ratio(n: usize) -> f64 {
    1.0 / (n as f64 + 3.0)
}

/// Returns a line of the log.
fn line(n: usize) -> String {
    if n % MISFIT == MISFIT / 2 {
        return format!(r#"{{"n":"{n}"}}"#);
    }
    if n.is_multiple_of(3) {
        return format!(r#"{{"n":{n},"message":null,"ok":null}}"#);
    }
    let message = format!(r#"{{"text":"caf\u00e9 \"{n}\"","user":{{"id":-{n}}}}}"#);
    let (ok, ratio, part) = (n.is_multiple_of(2), ratio(n), ratio(n) as f32);
    let numbers =
        format!(r#""ratio":{ratio},"part":{part},"price":"{n}.50","balance":-{n}{ZEROS}.5"#);
    let times = format!(r#""day":"1970-01-02","at":"2025-11-25T13:00:00.{n:06}+01:00""#);
    format!(r#"{{"n":{n},"message":{message},"ok":{ok},{numbers},"tags":"t{n}",{times}}}"#)
}

/// Returns Java's output for that row.
fn row(n: usize) -> String {
    if n.is_multiple_of(3) {
        return format!("row {n}\tfra{}", "\t-".repeat(11));
    }
    let raw: String = format!("t{n}").bytes().map(|byte| format!("{byte:x}")).collect();
    let values = [
        n.to_string(),
        "fra".to_owned(),
        format!("caf\u{e9} \"{n}\""),
        n.is_multiple_of(2).to_string(),
        format!("-{n}"),
        format!("{:x}", ratio(n).to_bits()),
        format!("{:x}", (ratio(n) as f32).to_bits()),
        format!("{n}50"),
        format!("-{n}{ZEROS}5"),
        format!("\"t{n}\""),
        "1".to_owned(),
        (1_764_072_000_000_000 + n).to_string(),
        raw,
    ];
    format!("row {}", values.join("\t"))
}

/// Returns Java's output for the directory, line by line. Every visible file must be complete.
fn read(url: &str, dir: &Path) -> Vec<String> {
    let mut java = java_with("parquet-1.15.2", include_str!("parquet/pom.xml"), dir);
    let source = dir.join("Reader.java");
    fs::write(&source, include_str!("parquet/Reader.java")).expect("the test's own folder");
    let output = java.arg(source).arg(url).output().expect("java runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

/// Returns a channel and a sink with the encoder `parquet`, whose settings follow.
pub(crate) fn lake(dir: &Path, age: &str) -> String {
    let dir = dir.display();
    format!(
        r#"
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.lake]
type = "hdfs"
url = "file://{dir}/lake"
channel = "main"
roll = {{ age_max = "{age}", idle_max = "{age}" }}
[sinks.lake.encoder]
type = "parquet"
"#
    )
}

fn configuration(dir: &Path, url: &str) -> String {
    format!(
        r#"
[agent]
data_dir = "{dir}/data"
[sources.log]
type = "tail_dir"
paths = ["{dir}/app.log"]
channels = ["main"]
interceptors = [{{ type = "static", key = "site", value = "fra" }}]
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.store]
type = "hdfs"
url = "{url}"
channel = "main"
roll = {{ age_max = "1s", idle_max = "1s" }}
[sinks.store.encoder]
type = "parquet"
row_group_size = "256KiB"
columns = {COLUMNS}
"#,
        dir = dir.display(),
    )
}

#[test]
#[ignore = "needs the programs, HDFS, a JDK and Maven: tests/run"]
fn parquet_files_have_every_value_once_for_java_through_kills() {
    let hdfs = Hdfs::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let url = format!("{}/parquet-{}", hdfs.url(), std::process::id());
    let text = configuration(dir, &url);
    let mut agent = Agent::configured("aqueduct-collector", dir, "collector", &text)
        .with_conf_dir(hdfs.conf_dir());
    let mut log = fs::File::create(dir.join("app.log")).expect("the log is made");
    for part in 0..4 {
        let numbers = part * LINES / 4..(part + 1) * LINES / 4;
        let text: String = numbers.map(|n| line(n) + "\n").collect();
        log.write_all(text.as_bytes()).expect("the log is written");
        match part {
            0 => {
                agent.start();
                wait::until("a file to be visible", Duration::from_secs(60), || {
                    let files = agent.metrics()?.sum("aqueduct_sink_visible_files_total")?;
                    (files > 0.0).then_some(())
                });
            }
            3 => wait_until_delivered(&agent),
            _ => {
                // While its rows are held back, its file is staged; or leftovers of a kill are
                // read.
                std::thread::sleep(Duration::from_millis(700));
                agent.kill();
                let visible = read(&url, dir);
                assert!(visible.iter().any(|line| line.starts_with("row ")), "what was visible");
                agent.start();
            }
        }
    }
    agent.stop(Duration::from_secs(25));

    let lines = read(&url, dir);
    let of = |kind: &'static str| lines.iter().filter(move |line| line.starts_with(kind));
    let files = of("file ").count();
    assert!(of("file ").all(|file| file.ends_with(".parquet")), "{files} files");
    assert!(files >= 2 && of("group ").count() > files, "{files} files of several row groups");
    let schemas: BTreeSet<&String> = of("schema ").collect();
    assert_eq!(schemas, BTreeSet::from([&format!("schema {SCHEMA}")]));
    let mut rows: Vec<&String> = of("row ").collect();
    rows.sort();
    let fits = |n: &usize| n % MISFIT != MISFIT / 2;
    let mut expected: Vec<String> = (0..LINES).filter(fits).map(row).collect();
    expected.sort();
    assert_eq!(rows.len(), expected.len(), "rows");
    let differs = rows.iter().zip(&expected).find(|(read, expected)| **read != *expected);
    assert!(differs.is_none(), "{differs:?}");
    statistics_are_true(&lines);
    let letters = letters_of(dir);
    assert!(letters.contains("column `n` (int64) does not accept a string"), "{letters}");
    hdfs.fs(&["-rm", "-r", "-skipTrash", &url]);
}

/// Waits until the log is read, and the channels contain only events of the dead letters: for two
/// seconds, because a batch between file and channel is not counted.
fn wait_until_delivered(agent: &Agent) {
    let mut in_a_row = 0;
    wait::until("the events to be delivered", Duration::from_secs(60), || {
        let metrics = agent.metrics()?;
        let unread = metrics.sum("aqueduct_source_lag_bytes")?;
        let is_idle = metrics.sum("aqueduct_channel_events")? == (LINES / MISFIT) as f64;
        in_a_row = if unread == 0.0 && is_idle { in_a_row + 1 } else { 0 };
        (in_a_row >= 100).then_some(())
    });
}

/// Checks the statistics of the first column, `n`, for each row group.
fn statistics_are_true(lines: &[String]) {
    let number = |text: &str| text.parse::<i64>().expect("a number");
    let mut groups = Vec::new();
    let mut rows = Vec::new();
    let check = |groups: &mut Vec<[i64; 4]>, rows: &mut Vec<i64>| {
        for [count, least, most, nulls] in groups.drain(..) {
            let group: Vec<i64> = rows.drain(..count as usize).collect();
            assert_eq!(group.iter().min(), Some(&least));
            assert_eq!(group.iter().max(), Some(&most));
            assert_eq!(nulls, 0);
        }
        assert!(rows.is_empty(), "row groups have all rows");
    };
    for line in lines {
        match line.split_once(' ') {
            Some(("file", _)) => check(&mut groups, &mut rows),
            Some(("group", text)) => {
                let numbers: Vec<i64> = text.split(' ').map(number).collect();
                groups.push(numbers.try_into().expect("four numbers"));
            }
            Some(("row", text)) => rows.push(number(text.split('\t').next().unwrap_or_default())),
            _ => {}
        }
    }
    check(&mut groups, &mut rows);
}

/// Returns the reasons of the dead letters.
fn letters_of(dir: &Path) -> String {
    let mut command = aqueduct_tests::agent::program("aqueduct");
    command.args(["dlq", "list"]).arg(dir.join("data"));
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
