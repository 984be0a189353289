//! Goal: rows are read as objects that databases accept, from any start, and invalid files are
//! rejected with a reason.
//!
//! Method: decodes files of the encoder `parquet`, of the library's own writer for additional
//! types, and of parquet-mr for nested columns, starting at each row.

use ::parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use pipeline::PieceLimits;
use pipeline::testkit::{build, file_of};
use pipeline::{Batch, BatchBuilder, BuildContext, Encoder};
use serde_json::{Value, json};

use super::*;
use crate::parquet::Config as EncoderConfig;

const ALL: PieceLimits = PieceLimits { bytes: usize::MAX, events: usize::MAX };

fn context() -> BuildContext {
    BuildContext::alone("in", "/d".as_ref(), env::real())
}

fn written(settings: &Value, bodies: &[&str]) -> Bytes {
    let encoder: Box<dyn Encoder> = build::<EncoderConfig>(settings, &context()).unwrap();
    file_of(&*encoder, &[Batch::of(bodies)]).into()
}

/// Returns bodies and problems, after skipping rows.
fn read(
    file: &Bytes,
    settings: &Value,
    passed: u64,
    limits: PieceLimits,
) -> Result<Vec<(String, Option<String>)>, FileError> {
    let decoder = build::<Config>(settings, &context()).unwrap();
    let mut decoder = decoder.by_parts().unwrap().begin(Arc::new(InMemory(file.clone())));
    let nothing = &mut std::io::empty();
    decoder.skip_events(nothing, passed)?;
    let mut found = Vec::new();
    loop {
        let mut events = BatchBuilder::default();
        let is_more = decoder.next(nothing, limits, &[("a", "b")], &mut events)?;
        let batch = events.finish();
        assert!(batch.len() <= limits.events && (!batch.is_empty() || !is_more));
        for event in batch.iter() {
            assert_eq!(event.header("a"), Some("b"));
            let body = String::from_utf8(event.body().to_vec()).unwrap();
            found.push((body, event.header("problem").map(str::to_owned)));
        }
        if !is_more {
            return Ok(found);
        }
    }
}

/// Returns all rows of a file with the default settings.
pub(crate) fn objects(
    file: &Bytes,
    limits: PieceLimits,
) -> Result<Vec<(String, Option<String>)>, FileError> {
    read(file, &json!({}), 0, limits)
}

#[test]
fn reads_files_of_the_encoder() {
    let settings = json!({ "columns": [
        { "name": "id", "type": "int64" },
        { "name": "n", "type": "int32" },
        { "name": "ok", "type": "bool" },
        { "name": "few", "type": "decimal", "precision": 9, "scale": 3 },
        { "name": "many", "type": "decimal", "precision": 30, "scale": 3 },
        { "name": "f", "type": "float" },
        { "name": "d", "type": "double" },
        { "name": "s\"", "type": "string" },
        { "name": "raw", "type": "bytes" },
        { "name": "j", "type": "json" },
        { "name": "day", "type": "date" },
        { "name": "at", "type": "timestamp_micros" },
    ] });
    let row = concat!(
        r#"{"id":9007199254740993,"n":-7,"ok":true,"few":-12.500,"many":-1234567890123456.789,"#,
        r#""f":0.1,"d":1e300,"s\"":"ä\"\u0001","raw":"x","j":{"a":[1.10]},"day":"2026-11-26","#,
        r#""at":"1969-12-31T23:59:59.75Z"}"#,
    );
    let file = written(&settings, &[row, r#"{"id":1}"#]);
    let found = read(&file, &json!({}), 0, ALL).unwrap();
    let d: String = format!("1{}", "0".repeat(300));
    let expected = row.replace("\"x\"", "\"eA==\"").replace("1e300", &d);
    let expected = expected.replace(r#"{"a":[1.10]}"#, r#""{\"a\":[1.10]}""#);
    assert_eq!(found[0], (expected, None));
    let nulls: Value = serde_json::from_str(&found[1].0).unwrap();
    let nulls = nulls.as_object().unwrap();
    assert!(nulls.len() == 12 && nulls.values().filter(|it| it.is_null()).count() == 11);
}

#[test]
fn pieces_have_the_same_rows_wherever_reading_begins() {
    let columns = json!([
        { "name": "id", "type": "int32" }, { "name": "v", "type": "string" },
    ]);
    // Several row groups, each with less than 64 KiB of rows.
    let settings = json!({ "columns": columns, "row_group_size": "64KiB" });
    let body = |id: u32| match id % 3 {
        0 => format!(r#"{{"id":{id},"v":null}}"#),
        _ => format!(r#"{{"id":{id},"v":"{}"}}"#, "x".repeat(60)),
    };
    let bodies: Vec<String> = (0..4000).map(body).collect();
    let file = written(&settings, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let groups = Footer::read(&InMemory(file.clone())).unwrap().groups();
    assert!(groups > 2, "{groups}");
    let all: Vec<_> = bodies.iter().map(|body| (body.clone(), None)).collect();
    for (bytes, events) in [(0, 9), (150, 9), (9999, 1), (9999, 3), (usize::MAX, 1500)] {
        for passed in [0, 1, 1023, 1024, 1025, 3998, 3999, 4000] {
            let found = read(&file, &json!({}), passed, PieceLimits { bytes, events }).unwrap();
            assert!(found == all[passed as usize..], "{bytes} {events} {passed}");
        }
    }
    let error = read(&file, &json!({}), 4001, ALL).unwrap_err().to_string();
    assert!(error.contains("fewer events"), "{error}");
    let error = read(&file, &json!({ "row_group_max": "1KiB" }), 0, ALL).unwrap_err().to_string();
    assert!(error.contains("but `row_group_max` is 1024"), "{error}");
}

/// Returns a file of one row with types of other writers.
fn of_others(day: i32) -> Bytes {
    let schema = "message m { required int96 old; required int64 local (TIMESTAMP(NANOS,false)); \
                  required int64 before (TIMESTAMP_MILLIS); required int32 t (TIME(MILLIS,true)); \
                  required int32 u (INTEGER(32,false)); required int64 ul (UINT_64); \
                  required fixed_len_byte_array(16) id (UUID); optional int32 day (DATE); \
                  required binary plain; required binary text (UTF8); required double d; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    macro_rules! put {
        ($kind:ident, $value:expr, $levels:expr) => {{
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<::parquet::data_type::$kind>();
            typed.write_batch(&[$value], $levels, None).unwrap();
            column.close().unwrap();
        }};
    }
    let mut old = Int96::new();
    // A quarter of a second after noon on the first day of 1970.
    let nanos: u64 = 43_200_250_000_000;
    old.set_data(nanos as u32, (nanos >> 32) as u32, 2_440_588);
    put!(Int96Type, old, None);
    put!(Int64Type, 1_500_000_000, None);
    put!(Int64Type, -1, None);
    put!(Int32Type, 3_661_007, None);
    put!(Int32Type, -1, None);
    put!(Int64Type, -1, None);
    put!(FixedLenByteArrayType, FixedLenByteArray::from(vec![0x1f; 16]), None);
    put!(Int32Type, day, Some(&[1]));
    put!(ByteArrayType, ByteArray::from(vec![0, 255]), None);
    put!(ByteArrayType, ByteArray::from(vec![b'x', if day > 9 { 255 } else { b'y' }]), None);
    put!(DoubleType, f64::NEG_INFINITY, None);
    group.close().unwrap();
    writer.into_inner().unwrap().into()
}

#[test]
fn values_of_other_writers_have_the_text_that_a_database_takes() {
    let expected = concat!(
        r#"{"old":"1970-01-01T12:00:00.25Z","local":"1970-01-01T00:00:01.5","#,
        r#""before":"1969-12-31T23:59:59.999Z","t":"01:01:01.007","u":4294967295,"#,
        r#""ul":18446744073709551615,"id":"1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f","#,
        r#""day":"1970-01-02","plain":"AP8=","text":"xy","d":"-Infinity"}"#,
    );
    let file = of_others(1);
    assert_eq!(read(&file, &json!({}), 0, ALL).unwrap(), [(expected.to_owned(), None)]);
    // A row with a value without text is rejected, without any loss.
    let (body, problem) = &read(&of_others(2_932_897), &json!({}), 0, ALL).unwrap()[0];
    let problem = problem.as_ref().unwrap();
    assert_eq!(problem, r#""text": text that is not UTF-8"#);
    let body: String = serde_json::from_str(body).unwrap();
    assert!(body.contains(r#""day":"10000-01-01""#) && body.contains(r#""text":"eP8=""#), "{body}");
    // As one message.
    let decoder = build::<Config>(&json!({}), &context()).unwrap();
    let mut events = BatchBuilder::default();
    let message = Message { bytes: &file, charset: None, headers: &[] };
    decoder.decode(&message, &mut events).unwrap();
    assert_eq!(events.finish().iter().next().unwrap().body(), expected.as_bytes());
}

#[test]
fn files_that_are_none_are_refused_with_their_reason() {
    let good = of_others(1);
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(file)
    };
    let end = good.len();
    for (file, expected) in [
        (Bytes::new(), "too short"),
        (Bytes::from_static(b"PAR1PAR"), "too short"),
        (good.slice(..end - 1), "does not end"),
        (with(end - 4, b"PARE"), "encrypted"),
        (with(end - 8, &[255; 4]), "invalid footer length"),
        (with(end - 20, &[255; 12]), "cannot decode the footer"),
    ] {
        let error = read(&file, &json!({}), 0, ALL).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // A damaged byte never crashes the process, and never adds rows.
    for at in 4..end {
        for bit in [1, 128] {
            let file = with(at, &[good[at] ^ bit]);
            let found = read(
                &file,
                &json!({ "row_group_max": "1MiB" }),
                0,
                PieceLimits { bytes: 1 << 20, events: 9 },
            );
            assert!(found.map_or(true, |rows| rows.len() < 1000), "byte {at}");
        }
    }
}

/// Written by parquet-mr with `WriteNested.java` in the same folder.
const NESTED: &[u8] = include_bytes!("../../tests/golden/nested.parquet");

#[test]
fn columns_within_columns_are_objects_and_lists() {
    let file = Bytes::from_static(NESTED);
    let found = read(&file, &json!({}), 0, ALL).unwrap();
    let full = concat!(
        r#"{"id":1,"point":{"x":1.5,"name":"a\"b"},"list":[7,null,-8],"old":[1,2],"#,
        r#""bare":["x","y"],"lists":[[1,2],null,[],[3]],"map":{"k 1":1,"k 2":null},"#,
        r#""numbers":{"5":{"n":50},"6":null,"7":{"n":null}},"#,
        r#""pairs":[{"a":1,"b":[10,11]},{"a":null,"b":[]}],"end":"e"}"#,
    );
    let nothing = concat!(
        r#"{"id":2,"point":null,"list":null,"old":null,"bare":[],"lists":null,"map":null,"#,
        r#""numbers":null,"pairs":null,"end":null}"#,
    );
    let empty = concat!(
        r#"{"id":3,"point":{"x":-0.5,"name":null},"list":[],"old":[],"bare":[],"lists":[],"#,
        r#""map":{},"numbers":{},"pairs":[],"end":null}"#,
    );
    let first = [full, nothing, empty].map(|body| (body.to_owned(), None));
    assert_eq!(found[..3], first);
    for (number, (body, problem)) in found.iter().enumerate().skip(3) {
        let number = number + 1;
        let element = |at: usize| if at % 4 == 3 { Value::Null } else { json!(number + at) };
        let list: Vec<Value> = (0..number % 7).map(element).collect();
        let list = if number % 3 == 0 { Value::Null } else { json!(list) };
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(body["id"] == number && body["list"] == list && problem.is_none(), "{body}");
    }
    assert_eq!(found.len(), 2999);
    for passed in [1, 2, 1023, 1024, 1025, 2998] {
        let rest = read(&file, &json!({}), passed, PieceLimits { bytes: 9999, events: 7 });
        assert!(rest.unwrap() == found[passed as usize..], "{passed}");
    }
}

#[test]
fn a_value_within_a_column_that_has_no_text_is_a_row_that_is_refused() {
    let schema = "message m { optional group g { repeated int32 t (TIME(MILLIS,true)); } \
                  required int32 id; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let times = column.typed::<::parquet::data_type::Int32Type>();
    times.write_batch(&[1, -1], Some(&[2, 2, 1, 0]), Some(&[0, 1, 0, 0])).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let ids = column.typed::<::parquet::data_type::Int32Type>();
    ids.write_batch(&[7, 8, 9], None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    let file = writer.into_inner().unwrap().into();
    let found = read(&file, &json!({}), 0, ALL).unwrap();
    let (body, problem) = &found[0];
    assert!(problem.as_ref().unwrap().contains("\"g\": -1/1000 s"), "{problem:?}");
    let body: String = serde_json::from_str(body).unwrap();
    assert_eq!(body, r#"{"g":{"t":["00:00:00.001",-1]},"id":7}"#);
    let others = [r#"{"g":{"t":[]},"id":8}"#, r#"{"g":null,"id":9}"#];
    assert_eq!(found[1..], others.map(|body| (body.to_owned(), None)));
}

/// Files with one row, a list of nulls: three, and 200 million in 164 bytes.
const NULLS: [&[u8]; 2] = [
    include_bytes!("../../tests/golden/three-nulls.parquet"),
    include_bytes!("../../tests/golden/nulls-in-a-row.parquet"),
];

#[test]
fn a_row_of_more_values_than_are_read_is_refused_before_they_are_decoded() {
    let [three, many] = NULLS.map(Bytes::from_static);
    let expected = (r#"{"values":[null,null,null]}"#.to_owned(), None);
    assert_eq!(read(&three, &json!({}), 0, ALL).unwrap(), [expected]);
    let error = read(&many, &json!({}), 0, ALL).unwrap_err();
    assert!(matches!(error, FileError::Malformed(_)), "it is not tried again");
    let error = error.to_string();
    assert!(
        error.contains("200000000 values") && error.contains("`values.list.element`"),
        "{error}"
    );
}

#[test]
fn pages_that_become_too_large_are_refused_before_they_are_decompressed() {
    let text = "x".repeat(1 << 20);
    let body = format!(r#"{{"v":"{text}"}}"#);
    let settings = json!({ "columns": [{ "name": "v", "type": "string" }] });
    let file = written(&settings, &[&body]);
    assert!(file.len() < 32 << 10, "{}", file.len());
    assert_eq!(read(&file, &json!({}), 0, ALL).unwrap()[0].0, body);
    let error = read(&file, &json!({ "row_group_max": "64KiB" }), 0, ALL).unwrap_err().to_string();
    assert!(error.contains("after decompression"), "{error}");
}
