//! Goal: the tools of their readers decode files of every format, byte for byte.
//!
//! Method: a collector follows a log and stores it in a real HDFS, in each format; it is killed
//! twice with -9. Then Hadoop's own shell decodes the files (`hdfs dfs -text`: Avro containers with
//! Avro's Java library, sequence files with Hadoop's `SequenceFile.Reader`, compressed files with
//! Hadoop's codecs), `zstd` decodes the others, and every line must be there once.
//!
//! Lane: core
//! Needs: hdfs zstd
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::agent::{Agent, wait_until_delivered};
use aqueduct_tests::hdfs::Hdfs;
use tempfile::TempDir;

const LINES: usize = 20_000;

/// A file format, with its file names.
struct Format<'a> {
    settings: &'a str,
    extension: &'a str,
}

/// Stores the lines in HDFS, with two kills of the collector. Returns the location.
fn stored(format: &Format<'_>, dir: &TempDir) -> String {
    let hdfs = Hdfs::shared();
    let below = format!("/formats-{}-{}", std::process::id(), format.extension.replace('.', "-"));
    let log = dir.path().join("app.log");
    let configuration = format!(
        r#"
[agent]
data_dir = "{dir}/data"
[sources.log]
type = "tail_dir"
paths = ["{log}"]
channels = ["main"]
interceptors = [
    {{ type = "static", key = "site", value = "fra" }},
    {{ type = "regex_extractor", regex = "line ([0-9]+)", serializers = [
        {{ name = "timestamp" }},
    ] }},
]
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.store]
type = "hdfs"
url = "{url}{below}"
channel = "main"
roll = {{ age_max = "1s", idle_max = "1s" }}
{settings}
"#,
        dir = dir.path().display(),
        log = log.display(),
        url = hdfs.url(),
        settings = format.settings,
    );
    let agent = Agent::configured("aqueduct-collector", dir.path(), "collector", &configuration);
    let mut agent = agent.with_conf_dir(hdfs.conf_dir());
    let mut log = fs::File::create(&log).expect("the log is made");
    for part in 0..4 {
        let numbers = part * LINES / 4..(part + 1) * LINES / 4;
        let text: String = numbers.map(|n| line(n) + "\n").collect();
        log.write_all(text.as_bytes()).expect("the log is written");
        match part {
            0 => agent.start(),
            3 => wait_until_delivered(&agent, Duration::from_secs(60)),
            _ => {
                std::thread::sleep(Duration::from_millis(1_200));
                agent.kill();
                agent.start();
            }
        }
    }
    agent.stop(Duration::from_secs(25));
    format!("{below}/*.{}", format.extension)
}

fn line(number: usize) -> String {
    format!("line {number:06} caf\u{e9} \"quoted\" \t end")
}

/// Asserts that every line is there once, in any order.
fn assert_complete(mut lines: Vec<String>, what: &str) {
    lines.sort();
    let expected: Vec<String> = (0..LINES).map(line).collect();
    assert_eq!(lines.len(), LINES, "{what}: lines");
    let differs = lines.iter().zip(&expected).find(|(read, expected)| read != expected);
    assert!(differs.is_none(), "{what}: {differs:?}");
}

/// Returns the output of Hadoop's shell for the files, line by line.
fn text_of(pattern: &str) -> Vec<String> {
    let bytes = Hdfs::shared().fs(&["-text", pattern]);
    String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// Decodes bytes as Avro's library prints them in JSON: as Latin-1 characters.
fn avro_bytes(value: &serde_json::Value) -> String {
    let characters = value.as_str().expect("bytes").chars();
    let bytes: Vec<u8> = characters.map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect();
    String::from_utf8(bytes).expect("UTF-8")
}

/// Returns the body of an event in JSON, as printed by Avro's library.
fn avro_body(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(event["headers"]["site"], "fra", "{line}");
    avro_bytes(&event["body"])
}

/// Lines of equal length are records of a schema with that many bytes.
#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn bodies_of_a_schema_of_their_own_are_read_by_avros_own_library() {
    let size = line(0).len();
    let schema = serde_json::json!({ "type": "record", "name": "Line", "fields": [
        { "name": "line", "type": { "type": "fixed", "name": "Text", "size": size } } ] });
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = &format!(
        "encoder = {{ type = \"avro_schema\", codec = \"deflate\", schema = '{schema}' }}"
    );
    let pattern = stored(&Format { settings, extension: "avro" }, &dir);
    let line = |line: &String| {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        avro_bytes(&record["line"])
    };
    assert_complete(text_of(&pattern).iter().map(line).collect(), "avro_schema");
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn avro_containers_are_read_by_avros_own_library() {
    for settings in ["encoder = \"avro\"", "encoder = { type = \"avro\", codec = \"deflate\" }"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pattern = stored(&Format { settings, extension: "avro" }, &dir);
        let bodies = text_of(&pattern).iter().map(|line| avro_body(line)).collect();
        assert_complete(bodies, settings);
        Hdfs::shared().fs(&["-rm", "-r", Path::new(&pattern).parent().unwrap().to_str().unwrap()]);
    }
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn compressed_files_are_read_by_hadoop_and_by_the_tools_of_their_formats() {
    for (codec, extension) in [
        ("gzip", "log.gz"),
        ("bzip2", "log.bz2"),
        ("deflate", "log.deflate"),
        ("snappy", "log.snappy"),
        ("lz4", "log.lz4"),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = &format!("codec = \"{codec}\"");
        let pattern = stored(&Format { settings, extension }, &dir);
        assert_complete(text_of(&pattern), codec);
    }

    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = "encoder = \"json\"\ncodec = { type = \"zstd\", level = 1 }";
    let pattern = stored(&Format { settings, extension: "json.zst" }, &dir);
    let compressed = Hdfs::shared().read(&pattern);
    let mut zstd = Command::new("zstd")
        .args(["-d", "-c", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zstd runs");
    let mut input = zstd.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || input.write_all(&compressed));
    let output = zstd.wait_with_output().expect("zstd ends");
    writer.join().expect("the writer ends").expect("zstd reads all of it");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let body = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        event["body"].as_str().expect("a body").to_owned()
    };
    assert_complete(text.lines().map(body).collect(), "zstd");
}

/// Returns the body of a record as printed by Hadoop: the key, a tab, the value, which is text, or
/// for `BytesWritable` hexadecimal digits. The key is the line number.
fn sequence_body(line: &str, is_text: bool) -> String {
    let (key, value) = line.split_once('\t').expect("a key and a value");
    let body = if is_text {
        value.to_owned()
    } else {
        let bytes = value.split(' ').map(|hex| u8::from_str_radix(hex, 16).expect("a byte"));
        String::from_utf8(bytes.collect()).expect("UTF-8")
    };
    let number: usize = key.parse().expect("a number");
    assert!(body.starts_with(&format!("line {number:06} ")), "the key is the timestamp: {line}");
    body
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn sequence_files_are_read_by_hadoops_own_reader() {
    for (write_format, compression, codec) in [
        ("text", "none", "deflate"),
        ("writable", "record", "gzip"),
        ("writable", "block", "deflate"),
    ] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = &format!(
            "encoder = {{ type = \"sequence_file\", write_format = \"{write_format}\", \
             compression = \"{compression}\", codec = \"{codec}\" }}"
        );
        let pattern = stored(&Format { settings, extension: "seq" }, &dir);
        let is_text = write_format == "text";
        let bodies = text_of(&pattern).iter().map(|line| sequence_body(line, is_text)).collect();
        assert_complete(bodies, settings);
        Hdfs::shared().fs(&["-rm", "-r", Path::new(&pattern).parent().unwrap().to_str().unwrap()]);
    }
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn headers_and_text_are_written_as_flume_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = "encoder = \"header_and_text\"";
    let pattern = stored(&Format { settings, extension: "log" }, &dir);
    let bodies = text_of(&pattern).into_iter().map(|line| {
        let (headers, body) = line.split_once("} ").expect("headers in front");
        assert!(headers.starts_with('{') && headers.contains("site=fra"), "{line}");
        body.to_owned()
    });
    assert_complete(bodies.collect(), "header_and_text");
}
