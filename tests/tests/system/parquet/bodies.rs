//! Rows from CSV lines, from Avro records with several schemas, and from headers that an
//! interceptor created from text. The columns of the first two come from `aqueduct schema infer`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::wait;

use super::{letters_of, ratio, read};

const LINES: usize = 4_000;
/// One in this many CSV lines does not fit.
const MISFIT: usize = 1_000;
const NAMES: &str = "n,text,ratio,at,ok\n";

/// Returns a CSV line.
fn line(n: usize) -> String {
    if n % MISFIT == MISFIT / 2 {
        return format!("{n},text");
    }
    if n.is_multiple_of(3) {
        return format!("{n},,,,");
    }
    let ratio = ratio(n);
    format!("{n},\"caf\u{e9}, \"\"{n}\"\"\",{ratio},2025-11-25T13:00:00.{n:06}+01:00,true")
}

/// Returns Java's output for that row.
fn row_of_line(n: usize) -> String {
    if n.is_multiple_of(3) {
        return format!("row {n}\t-\t-\t-\t-");
    }
    let (ratio, at) = (ratio(n).to_bits(), 1_764_072_000_000_000 + n);
    format!("row {n}\tcaf\u{e9}, \"{n}\"\t{ratio:x}\t{at}\ttrue")
}

const NEW: &str = r#"{"type":"record","name":"Visit","fields":[{"name":"n","type":"long"},
    {"name":"user","type":["null",{"type":"record","name":"User","fields":[
        {"name":"id","type":"int"},{"name":"name","type":"string"}]}]},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}"#;
/// An earlier schema, without users and prices.
const OLD: &str = r#"{"type":"record","name":"Visit","fields":[
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"n","type":"long"}]}"#;

/// Appends an Avro long.
pub(super) fn long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Appends a record, new or old.
fn record(out: &mut Vec<u8>, n: usize, is_new: bool) {
    let (number, at) = (n as i64, 1_764_072_000_000 + n as i64);
    if !is_new {
        long(out, at);
        long(out, number);
        return;
    }
    long(out, number);
    long(out, i64::from(n.is_multiple_of(2)));
    if n.is_multiple_of(2) {
        long(out, -number);
        bytes(out, b"o\"n");
    }
    long(out, at);
    bytes(out, &(-(n as i32)).to_be_bytes());
}

/// Returns Java's output for that row; for prices only the digits.
fn row_of_record(n: usize, is_new: bool) -> String {
    let at = 1_764_072_000_000 + n;
    if !is_new {
        return format!("row {n}\t-\t{at}\t-");
    }
    let minus = -(n as i64);
    let user = format!(r#"{{"id":{minus},"name":"o\"n"}}"#);
    format!("row {n}\t{}\t{at}\t{minus}", if n.is_multiple_of(2) { &user } else { "-" })
}

/// Returns a container file of these records.
fn container(numbers: std::ops::Range<usize>, is_new: bool) -> Vec<u8> {
    let mut out = b"Obj\x01\x02".to_vec();
    bytes(&mut out, b"avro.schema");
    bytes(&mut out, if is_new { NEW } else { OLD }.as_bytes());
    let sync = [7; 16];
    out.push(0);
    out.extend(sync);
    let (mut records, count) = (Vec::new(), numbers.len());
    numbers.for_each(|n| record(&mut records, n, is_new));
    long(&mut out, count as i64);
    bytes(&mut out, &records);
    out.extend(sync);
    out
}

/// Returns settings for samples, as printed by the operator's program.
fn inferred(format: &str, samples: &Path) -> String {
    let mut command = program("aqueduct");
    command.args(["schema", "infer", "--format", format]).arg(samples);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Configures a flow: a source, and a sink with an encoder.
fn flow(name: &str, source: &str, url: &str, encoder: &str) -> String {
    format!(
        r#"
[sources.{name}]
channels = ["{name}"]
{source}
[channels.{name}]
type = "durable"
capacity = "64MiB"
[sinks.{name}]
type = "hdfs"
url = "{url}/{name}"
channel = "{name}"
roll = {{ age_max = "1s", idle_max = "1s" }}
[sinks.{name}.encoder]
{encoder}row_group_size = "256KiB"
"#
    )
}

fn configuration(dir: &Path, url: &str) -> String {
    let samples = dir.join("samples.csv");
    let some: String = (0..50).map(|n| line(n) + "\n").collect();
    fs::write(&samples, format!("{NAMES}{some}")).expect("the test's own folder");
    let part = dir.join("samples.avro");
    fs::write(&part, container(0..1, true)).expect("the test's own folder");
    let headers = r#"type = "parquet"
columns = [
    { name = "path", type = "string", from = "header:path", required = true },
    { name = "n", type = "int32", from = "header:n" },
]
"#;
    let dir = dir.display();
    let tail = |file: &str| format!("type = \"tail_dir\"\npaths = [\"{dir}/{file}\"]");
    let spool = format!(
        "type = \"spool_dir\"\ndirectory = \"{dir}/spool\"\n\
         decoder = {{ type = \"avro\", schema_type = \"literal\" }}"
    );
    let parsed = format!(
        "{}\ninterceptors = [{{ type = \"regex_extractor\", regex = '^GET (\\S+) (\\d+)', \
         serializers = [{{ name = \"path\" }}, {{ name = \"n\" }}] }}]",
        tail("app.log")
    );
    [
        format!("[agent]\ndata_dir = \"{dir}/data\"\n"),
        flow("lines", &tail("lines.csv"), url, &inferred("csv", &samples)),
        flow("records", &spool, url, &inferred("avro", &part)),
        flow("headers", &parsed, url, headers),
    ]
    .concat()
}

/// Returns the rows that Java reads in a directory; all of its files must have this schema.
fn rows(url: &str, dir: &Path, schema: &str) -> Vec<String> {
    let lines = read(url, dir);
    let schemas: BTreeSet<&str> =
        lines.iter().filter_map(|it| it.strip_prefix("schema ")).collect();
    assert_eq!(schemas, BTreeSet::from([schema]));
    let mut rows: Vec<String> = lines.into_iter().filter(|line| line.starts_with("row ")).collect();
    rows.sort();
    rows
}

fn are_equal(rows: &[String], expected: impl Iterator<Item = String>) {
    let mut expected: Vec<String> = expected.collect();
    expected.sort();
    let differs = rows.iter().zip(&expected).find(|(read, expected)| read != expected);
    assert!(differs.is_none(), "{differs:?}");
    assert_eq!(rows.len(), expected.len(), "rows");
}

#[test]
#[ignore = "needs the programs, HDFS, a JDK and Maven: tests/run"]
fn rows_of_csv_avro_and_headers_are_read_by_java_once_through_kills() {
    let hdfs = Hdfs::shared();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let url = format!("{}/parquet-bodies-{}", hdfs.url(), std::process::id());
    fs::create_dir(dir.join("spool")).expect("the test's own folder");
    let text = configuration(dir, &url);
    let mut agent = Agent::configured("aqueduct-collector", dir, "collector", &text)
        .with_conf_dir(hdfs.conf_dir());
    let mut csv = fs::File::create(dir.join("lines.csv")).expect("the log is made");
    let mut log = fs::File::create(dir.join("app.log")).expect("the log is made");
    agent.start();
    for part in 0..4 {
        let numbers = part * LINES / 4..(part + 1) * LINES / 4;
        let lines: String = numbers.clone().map(|n| line(n) + "\n").collect();
        csv.write_all(lines.as_bytes()).expect("the log is written");
        let lines: String = numbers.clone().map(|n| format!("GET /page/{n} {n}\n")).collect();
        log.write_all(lines.as_bytes()).expect("the log is written");
        // A file in a spool directory is complete when it gets its name.
        let file = dir.join(format!("part-{part}.avro"));
        fs::write(&file, container(numbers, part % 2 == 0)).expect("a file is written");
        fs::rename(&file, dir.join("spool").join(format!("part-{part}.avro"))).expect("a rename");
        if part < 3 {
            std::thread::sleep(Duration::from_millis(500 + 400 * part as u64));
            agent.kill();
            agent.start();
        }
    }
    wait_until_stored(&agent, &dir.join("spool"));
    agent.stop(Duration::from_secs(25));

    let schema = "message event { optional int64 n = 1; optional binary text (STRING) = 2; \
                  optional double ratio = 3; optional int64 at (TIMESTAMP(MICROS,true)) = 4; \
                  optional boolean ok = 5; }";
    let fits = |n: &usize| n % MISFIT != MISFIT / 2;
    are_equal(
        &rows(&format!("{url}/lines"), dir, schema),
        (0..LINES).filter(fits).map(row_of_line),
    );
    let schema = "message event { optional int64 n = 1; optional binary user (JSON) = 2; optional \
                  int64 at (TIMESTAMP(MILLIS,true)) = 3; optional int32 price (DECIMAL(9,2)) = 4; \
                  }";
    let is_new = |n: usize| (n / (LINES / 4)).is_multiple_of(2);
    are_equal(
        &rows(&format!("{url}/records"), dir, schema),
        (0..LINES).map(|n| row_of_record(n, is_new(n))),
    );
    let schema = "message event { required binary path (STRING) = 1; optional int32 n = 2; }";
    are_equal(
        &rows(&format!("{url}/headers"), dir, schema),
        (0..LINES).map(|n| format!("row /page/{n}\t{n}")),
    );
    let letters = letters_of(dir);
    assert!(
        letters.contains("does not match `fields`: the number of values in the line differs"),
        "{letters}"
    );
    hdfs.fs(&["-rm", "-r", "-skipTrash", &url]);
}

/// Waits until all is read, and the channels contain only events of the dead letters: for two
/// seconds, because a batch between file and channel is not counted.
fn wait_until_stored(agent: &Agent, spool: &Path) {
    let mut in_a_row = 0;
    wait::until("the events to be delivered", Duration::from_secs(60), || {
        let files = fs::read_dir(spool).ok()?.flatten();
        let is_read =
            files.into_iter().all(|it| it.path().to_string_lossy().ends_with("COMPLETED"));
        let metrics = agent.metrics()?;
        let unread = metrics.sum("aqueduct_source_lag_bytes")?;
        let is_idle = metrics.sum("aqueduct_channel_events")? == (LINES / MISFIT) as f64;
        in_a_row = if is_read && unread == 0.0 && is_idle { in_a_row + 1 } else { 0 };
        (in_a_row >= 100).then_some(())
    });
}
