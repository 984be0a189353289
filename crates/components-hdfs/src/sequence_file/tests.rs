//! Goal: files from Hadoop's writer and from Sqoop are read correctly from any position, and
//! damaged files produce no wrong events.
//!
//! Method: files from Hadoop 3.4.1 and Sqoop 1.4.7, in each format; files of this program's encoder
//! with each codec; files truncated at every byte, and files with wrong sync marks.

use std::collections::BTreeMap;

use pipeline::PieceLimits;
use pipeline::{Batch, Choice, Encoder};
use serde_json::{Value, json};

use super::*;

macro_rules! golden {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../formats/tests/golden/sequence_file/",
                $name,
                ".seq"
            )) as &[u8],
        )
    };
}

const OF_HADOOP: [(&str, &[u8]); 12] = [
    golden!("writable-none"),
    golden!("text-none"),
    golden!("writable-record"),
    golden!("text-record"),
    golden!("writable-block"),
    golden!("text-block"),
    golden!("writable-block-snappy"),
    golden!("writable-block-bzip2"),
    golden!("writable-block-lz4"),
    golden!("text-record-snappy"),
    golden!("text-record-bzip2"),
    golden!("text-record-lz4"),
];
const OF_SQOOP: [&[u8]; 2] = [
    include_bytes!("../../tests/golden/sequence_file/sqoop-none.seq"),
    include_bytes!("../../tests/golden/sequence_file/sqoop-block-bzip2.seq"),
];

const ALL: PieceLimits = PieceLimits { bytes: usize::MAX, events: usize::MAX };

/// Returns a build context with all decoders.
fn context() -> BuildContext {
    const GROUPS: &[&pipeline::Group] = &[&formats::GROUP, &crate::GROUP];
    let catalogue = pipeline::Catalogue { groups: GROUPS, ..pipeline::Catalogue::EMPTY };
    BuildContext { catalogue, ..BuildContext::alone("in", "/d".as_ref(), env::real()) }
}

fn decoder(settings: &Value) -> Box<dyn Decoder> {
    pipeline::testkit::build::<Config>(settings, &context()).unwrap()
}

/// A decoded event.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    body: Vec<u8>,
    headers: BTreeMap<String, String>,
}

/// Returns the events of a file after skipping some, and why reading stopped early.
fn read_from(
    settings: &Value,
    file: &[u8],
    passed: u64,
    limits: PieceLimits,
) -> (Vec<Event>, Option<String>) {
    let mut decoder = decoder(settings).begin_file().unwrap();
    let (mut file, mut found) = (file, Vec::new());
    if let Err(error) = decoder.skip_events(&mut file, passed) {
        return (found, Some(error.to_string()));
    }
    loop {
        let mut events = BatchBuilder::default();
        let next = decoder.next(&mut file, limits, &[("file", "/a")], &mut events);
        let batch = events.finish();
        assert!(batch.len() <= limits.events);
        found.extend(batch.iter().map(|event| {
            let headers = event.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
            Event { body: event.body().to_vec(), headers: headers.collect() }
        }));
        match next {
            Ok(true) => {}
            Ok(false) => return (found, None),
            Err(error) => return (found, Some(error.to_string())),
        }
    }
}

fn read(settings: &Value, file: &[u8]) -> (Vec<Event>, Option<String>) {
    read_from(settings, file, 0, ALL)
}

/// Returns the body of a record, as the program that wrote Hadoop's files created it.
fn body(number: usize) -> Vec<u8> {
    (0..number % 200).map(|at| b'a' + ((number + at) % 26) as u8).collect()
}

#[test]
fn files_of_hadoops_writer_are_read_in_every_form() {
    for (name, file) in OF_HADOOP {
        let (events, problem) = read(&json!({ "key_header": "timestamp" }), file);
        assert_eq!(problem, None, "{name}");
        assert_eq!(events.len(), if name == "writable-none" { 1_100 } else { 200 }, "{name}");
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event.body, body(number), "{name} {number}");
            let key = (1_700_000_000_000 + number).to_string();
            assert_eq!(event.headers.get("timestamp"), Some(&key), "{name}");
            assert_eq!(event.headers.get("file").map(String::as_str), Some("/a"));
        }
    }
}

/// Returns a file written by this program's encoder.
fn written(settings: &Value, bodies: &[Vec<u8>]) -> Vec<u8> {
    let choice = pipeline::Settings::from_json(settings).read::<Choice<dyn Encoder>>().unwrap();
    let encoder = choice.build("encoder", &context()).unwrap();
    let mut file = encoder.begin();
    let mut bytes = Vec::new();
    for bodies in bodies.chunks(7) {
        bytes.extend_from_slice(&file.encode(&Batch::of(bodies)));
    }
    bytes.extend_from_slice(&file.finish());
    bytes
}

#[test]
fn reads_files_that_this_program_wrote_with_each_codec() {
    let bodies: Vec<_> = (0..220).map(body).collect();
    for compression in ["none", "record", "block"] {
        for codec in ["deflate", "gzip", "bzip2", "snappy", "lz4", "zstd"] {
            for format in ["writable", "text"] {
                let settings = json!({
                    "type": "sequence_file", "compression": compression, "codec": codec,
                    "write_format": format, "block_size": "8KiB",
                });
                let (events, problem) = read(&json!({}), &written(&settings, &bodies));
                assert_eq!(problem, None, "{compression} {codec} {format}");
                let is_same = events.iter().map(|event| &event.body).eq(&bodies);
                assert!(is_same, "{compression} {codec} {format}");
            }
        }
    }
    let empty = written(&json!({ "type": "sequence_file", "compression": "block" }), &[]);
    assert_eq!(read(&json!({}), &empty), (vec![], None));
    assert_eq!(read(&json!({}), b""), (vec![], None));
}

#[test]
fn pieces_have_the_same_events_wherever_reading_begins() {
    let decoder = json!({ "type": "delimited", "fields": ["v"], "line_end": "e" });
    for settings in [json!({}), json!({ "decoder": decoder })] {
        for (_, file) in [OF_HADOOP[3], OF_HADOOP[8]] {
            let (all, _) = read(&settings, file);
            assert!(all.len() >= 199);
            for passed in [0, 1, 7, 100, 101, 199, all.len()] {
                for (bytes, events) in [(0, 9), (100, 9), (9_999, 1), (9_999, 64)] {
                    let limits = PieceLimits { bytes, events };
                    let (found, problem) = read_from(&settings, file, passed as u64, limits);
                    assert!(found == all[passed..] && problem.is_none(), "{passed} {limits:?}");
                }
            }
            let (_, problem) = read_from(&settings, file, all.len() as u64 + 1, ALL);
            assert!(problem.unwrap().contains("fewer events"));
        }
    }
}

#[test]
fn values_go_through_a_decoder_and_what_is_none_of_its_messages_is_named() {
    let bodies = [&b"1,\"a\nb\""[..], b"2", b"3,\n"].map(<[u8]>::to_vec);
    let file = written(&json!({ "type": "sequence_file", "write_format": "text" }), &bodies);
    let inner = json!({ "type": "delimited", "fields": ["id", "v"], "quote": "\"" });
    let (events, problem) = read(&json!({ "decoder": inner }), &file);
    assert_eq!(problem, None);
    let bodies: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(&event.body)).collect();
    assert_eq!(bodies, [r#"{"id":"1","v":"a\nb"}"#, "2", r#"{"id":"3","v":null}"#]);
    assert!(events[1].headers["problem"].contains("has 1 values"), "{:?}", events[1]);
    let (events, _) = read(&json!({ "decoder": "json" }), &file);
    let bodies: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(&event.body)).collect();
    assert_eq!(bodies[0], "\"1,\\\"a\\nb\\\"\"", "{bodies:?}");
    assert!(events.iter().all(|event| event.headers.contains_key("problem")));
}

/// Returns the columns of the Sqoop files.
fn of_sqoop() -> Value {
    let column = |name: &str, kind: &str| json!({ "name": name, "type": kind });
    json!([
        column("id", "long"),
        column("n", "integer"),
        column("s", "integer"),
        column("price", "big_decimal"),
        column("ok", "boolean"),
        column("f", "float"),
        column("d", "double"),
        column("name", "string"),
        column("day", "date"),
        column("at", "timestamp"),
        column("t", "time"),
        column("raw", "bytes"),
    ])
}

#[test]
fn rows_of_sqoop_have_the_values_of_their_table() {
    for file in OF_SQOOP {
        let (events, problem) = read(&json!({ "columns": of_sqoop() }), file);
        assert_eq!(problem, None);
        let body = |at: usize| String::from_utf8(events[at].body.clone()).unwrap();
        assert_eq!(events.len(), 4);
        let tiny = body(0).replace(&format!("{}", 1e300), "1e300");
        assert_eq!(
            tiny,
            "{\"id\":1,\"n\":-7,\"s\":3,\"price\":12.5000,\"ok\":true,\"f\":0.1,\"d\":1e300,\
             \"name\":\"ä \\\"quoted\\\", line\\nend\",\"day\":\"2026-11-26\",\
             \"at\":\"2026-11-26T12:34:56.789012Z\",\"t\":\"23:59:58\",\"raw\":\"AP8=\"}"
        );
        let nulls = of_sqoop();
        let nulls = nulls.as_array().unwrap().iter().skip(1);
        let nulls: String = nulls.map(|it| format!(",{}:null", it["name"])).collect();
        assert_eq!(body(1), format!("{{\"id\":2{nulls}}}"));
        assert_eq!(
            body(2),
            "{\"id\":9223372036854775807,\"n\":2147483647,\"s\":-32768,\
             \"price\":-99999999999999999999999999.9999,\"ok\":false,\"f\":-1.5,\"d\":\"NaN\",\
             \"name\":\"\",\"day\":\"1969-12-31\",\"at\":\"1969-12-31T23:59:59.999999Z\",\
             \"t\":\"00:00:00\",\"raw\":\"\"}"
        );
        assert!(body(3).contains("\"price\":0.0000"), "{}", body(3));
        assert!(body(3).contains("\"day\":\"0001-01-01\",\"at\":\"9999-12-31T23:59:59Z\""));
        assert_eq!(value_class(&file[..60]).as_deref(), Some("kinds"));
    }
}

#[test]
fn rejects_a_class_without_columns_and_wrong_columns() {
    let (events, problem) = read(&json!({}), OF_SQOOP[0]);
    let problem = problem.unwrap();
    assert!(events.is_empty() && problem.contains("`kinds`"), "{problem}");
    assert!(problem.contains("`columns`") && problem.contains("Avro or Parquet"), "{problem}");
    let (events, problem) = read(&json!({ "columns": of_sqoop() }), OF_HADOOP[0].1);
    assert!(events.is_empty() && problem.unwrap().contains("remove `columns`"));
    // Types that need more or fewer bytes than available.
    for (at, kind) in [(0, "integer"), (1, "long"), (3, "double"), (7, "bytes"), (9, "date")] {
        let mut columns = of_sqoop();
        columns[at]["type"] = json!(kind);
        let (events, problem) = read(&json!({ "columns": columns }), OF_SQOOP[0]);
        let problem = problem.unwrap();
        assert!(events.is_empty() && problem.contains("does not match `columns`"), "{problem}");
    }
    let columns: Vec<_> = of_sqoop().as_array().unwrap()[..11].to_vec();
    let (events, problem) = read(&json!({ "columns": columns }), OF_SQOOP[0]);
    assert!(events.is_empty() && problem.unwrap().contains("bytes are left after the last column"));
}

#[test]
fn emits_the_first_events_of_a_truncated_file_and_reports_it() {
    for (name, file) in [OF_HADOOP[3], OF_HADOOP[4], OF_HADOOP[8]] {
        let (all, _) = read(&json!({}), file);
        let mut whole = 0;
        let is_tried = |end: &usize| *end < 300 || *end + 300 > file.len() || end.is_multiple_of(7);
        for end in (1..file.len()).filter(is_tried) {
            let (found, problem) = read(&json!({}), &file[..end]);
            assert!(found == all[..found.len()], "{name} {end}");
            // A file may end after a record or a block.
            whole += usize::from(problem.is_none());
        }
        assert!(whole <= all.len() + 9, "{name}: {whole} ends are said to be whole ones");
    }
}

#[test]
fn marks_that_are_not_those_of_the_file_are_damage() {
    for (name, file) in OF_HADOOP {
        let (all, _) = read(&json!({}), file);
        let head = file.windows(16).position(|at| {
            file.windows(20).filter(|mark| mark[..4] == [0xff; 4]).any(|mark| mark[4..] == *at)
        });
        // Files with a single piece have no mark after their head.
        let Some(head) = head else { continue };
        let mut other = file.to_vec();
        other[head] ^= 1;
        let (found, problem) = read(&json!({}), &other);
        assert!(problem.unwrap().contains("sync mark"), "{name}");
        assert!(found.len() < all.len() && found == all[..found.len()], "{name}");
    }
}

#[test]
fn a_file_of_another_form_is_named() {
    let (_, file) = OF_HADOOP[0];
    let mut old = file.to_vec();
    old[3] = 5;
    let mut codec = OF_HADOOP[2].1.to_vec();
    let at = codec.windows(12).position(|at| at == b"DefaultCodec").unwrap();
    codec[at..at + 12].copy_from_slice(b"BrotliCodec_");
    for (file, expected) in [
        (&b"PAR1 and so on"[..], "not a SequenceFile"),
        (&old, "of version 5"),
        (&codec, "BrotliCodec_` is not supported"),
    ] {
        let (events, problem) = read(&json!({}), file);
        let problem = problem.unwrap();
        assert!(events.is_empty() && problem.contains(expected), "{problem}");
    }
    let (_, problem) = read(&json!({ "record_max": "100B" }), file);
    assert!(problem.unwrap().contains("`record_max`"));
}
