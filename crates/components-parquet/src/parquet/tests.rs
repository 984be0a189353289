//! Goal: files contain each event once, in columns of the declared types. Events that do not fit
//! are reported beforehand. The announced size of held-back data is an upper bound.
//!
//! Method: files are written like by a sink, and read back with the library's own reader. The
//! system tests use other readers, in Java.

use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Row as Record;
use bytes::Bytes;
use pipeline::testkit::{build, file_of};
use pipeline::{Batch, BatchBuilder, BuildContext, Catalogue, Encoder};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod formats;
mod nested;
mod statistics;
mod typed;

fn context() -> BuildContext {
    BuildContext::alone("store", Path::new("unused"), env::real())
}

fn encoder(settings: &Value) -> Box<dyn Encoder> {
    build::<Config>(settings, &context()).unwrap()
}

fn reader(bytes: Vec<u8>) -> SerializedFileReader<Bytes> {
    SerializedFileReader::new(Bytes::from(bytes)).unwrap()
}

/// Returns each row of a file, as printed by the library.
fn rows(bytes: Vec<u8>) -> Vec<String> {
    reader(bytes)
        .get_row_iter(None)
        .unwrap()
        .map(|row: Result<Record, _>| row.unwrap().to_string())
        .collect()
}

fn every_type() -> Value {
    json!([
        { "name": "host", "type": "string", "from": "header:host", "required": true },
        { "name": "ok", "type": "bool" },
        { "name": "status", "type": "int32" },
        { "name": "size", "type": "int64", "from": "response.size" },
        { "name": "ratio", "type": "float" },
        { "name": "seconds", "type": "double", "from": "response.seconds" },
        { "name": "price", "type": "decimal", "precision": 9, "scale": 2 },
        { "name": "balance", "type": "decimal", "precision": 30, "scale": 3 },
        { "name": "tags", "type": "json" },
        { "name": "day", "type": "date" },
        { "name": "at", "type": "timestamp_millis", "required": true },
        { "name": "seen", "type": "timestamp_micros", "from": "response.seen" },
        { "name": "body", "type": "bytes", "from": "body" },
    ])
}

#[test]
fn values_of_every_type_read_back_as_they_were_with_each_codec() {
    let full = r#"{"ok":true,"status":200,"response":{"size":9007199254740993,"seconds":0.1,
        "seen":"2025-11-25T12:00:00.000001Z"},"ratio":0.5,"price":12.5,
        "balance":"-1234567890123456.789",
        "tags":["a", 1],"day":"2025-11-25","at":1764072000123,"more":"is passed over"}"#;
    let bare = r#"{"at":"1970-01-01T00:00:00Z","status":null}"#;
    let mut builder = BatchBuilder::default();
    builder.push(full.as_bytes(), &[("host", "web-1")]);
    builder.push(bare.as_bytes(), &[("host", "")]);
    let batch = builder.finish();
    for codec in ["none", "snappy", "gzip", "zstd"] {
        let encoder = encoder(&json!({ "columns": every_type(), "codec": codec }));
        let bytes = file_of(&*encoder, std::slice::from_ref(&batch));
        let reader = reader(bytes.clone());
        let schema = reader.metadata().file_metadata().schema();
        let mut printed = Vec::new();
        ::parquet::schema::printer::print_schema(&mut printed, schema);
        assert_eq!(String::from_utf8(printed).unwrap().trim_end(), SCHEMA);
        let rows = rows(bytes);
        let body = format!("{:?}", full.as_bytes());
        let expected = format!(
            "{{host: \"web-1\", ok: true, status: 200, size: 9007199254740993, ratio: 0.5, \
             seconds: 0.1, price: 12.50, balance: -1234567890123456.789, tags: \"[\"a\", 1]\", \
             day: 2025-11-25, at: 2025-11-25 12:00:00.123 +00:00, \
             seen: 2025-11-25 12:00:00.000001 +00:00, body: {body}}}"
        );
        assert_eq!(rows[0], expected, "{codec}");
        assert!(
            rows[1].starts_with("{host: \"\", ok: null, status: null, size: null,"),
            "{}",
            rows[1]
        );
    }
}

const SCHEMA: &str = "message event {
  REQUIRED BYTE_ARRAY host [1] (STRING);
  OPTIONAL BOOLEAN ok [2];
  OPTIONAL INT32 status [3];
  OPTIONAL INT64 size [4];
  OPTIONAL FLOAT ratio [5];
  OPTIONAL DOUBLE seconds [6];
  OPTIONAL INT32 price [7] (DECIMAL(9,2));
  OPTIONAL FIXED_LEN_BYTE_ARRAY (16) balance [8] (DECIMAL(30,3));
  OPTIONAL BYTE_ARRAY tags [9] (JSON);
  OPTIONAL INT32 day [10] (DATE);
  REQUIRED INT64 at [11] (TIMESTAMP(MILLIS,true));
  OPTIONAL INT64 seen [12] (TIMESTAMP(MICROS,true));
  OPTIONAL BYTE_ARRAY body [13];
}";

#[test]
fn an_unwritable_value_has_a_reason_without_the_value() {
    let columns = json!([
        { "name": "n", "type": "int32", "from": "a.n" },
        { "name": "host", "type": "string", "from": "header:host", "required": true },
    ]);
    let mut builder = BatchBuilder::default();
    let host = [("host", "web-1")];
    builder.push(br#"{"a":{"n":1}}"#, &host);
    builder.push(br#"{"a":{"n":"secret"}}"#, &host);
    builder.push(br#"{"a":7}"#, &host);
    builder.push(br#"{"a":{"n":2147483648}}"#, &host);
    builder.push(br#"{"a":{}}"#, &[]);
    builder.push(b"plain text", &host);
    builder.push(br#"{"a":null}"#, &host);
    let found = encoder(&json!({ "columns": columns })).unwritable(&builder.finish());
    let found: Vec<(usize, &str)> =
        found.iter().map(|it| (it.index, problem(&it.reason))).collect();
    assert_eq!(
        found,
        [
            (1, "column `n` (int32) does not accept a string"),
            (2, "column `n`: its path needs an object, but the event has a number"),
            (3, "column `n` (int32) does not accept a number out of range"),
            (4, "column `host` (string) is required, but missing or null in the event"),
            (5, "the body is not a JSON object, from which the columns get their values"),
        ]
    );
}

/// Returns a reason without the advice.
fn problem(reason: &str) -> &str {
    reason.split("; ").next().unwrap_or_default()
}

fn lines(numbers: std::ops::Range<usize>) -> Batch {
    let mut builder = BatchBuilder::default();
    for n in numbers {
        let body = json!({ "n": n, "text": format!("line {n} {}", "x".repeat(n % 200)) });
        builder.push(body.to_string().as_bytes(), &[]);
    }
    builder.finish()
}

fn small(memory_max: &str) -> Value {
    let columns = json!([
        { "name": "n", "type": "int64", "required": true },
        { "name": "text", "type": "string" },
    ]);
    json!({ "columns": columns, "row_group_size": "64KiB", "memory_max": memory_max })
}

#[test]
fn a_full_row_group_ends_and_has_statistics() {
    let batches: Vec<Batch> = (0..20).map(|n| lines(n * 100..(n + 1) * 100)).collect();
    let bytes = file_of(&*encoder(&small("1MiB")), &batches);
    let reader = reader(bytes.clone());
    let groups = reader.metadata().row_groups();
    assert!((3..=8).contains(&groups.len()), "{}", groups.len());
    let mut next = 0;
    for group in groups {
        let last = next + group.num_rows() - 1;
        let statistics = group.column(0).statistics().unwrap();
        let long = |bytes: Option<&[u8]>| i64::from_le_bytes(bytes.unwrap().try_into().unwrap());
        assert_eq!(long(statistics.min_bytes_opt()), next);
        assert_eq!(long(statistics.max_bytes_opt()), last);
        assert_eq!(statistics.null_count_opt(), Some(0));
        next = last + 1;
    }
    let rows = rows(bytes);
    assert_eq!(rows.len(), 2_000);
    for (n, row) in rows.iter().enumerate() {
        let text = format!("line {n} {}", "x".repeat(n % 200));
        assert_eq!(*row, format!("{{n: {n}, text: \"{text}\"}}"));
    }
}

#[test]
fn open_files_share_one_account_and_give_back_what_they_held() {
    let settings = small("1MiB");
    let config = pipeline::Settings::from_json(&settings).read::<Config>().unwrap();
    let columns = column::read(config.columns).unwrap();
    let account = Account::new(config.memory_max.0);
    let reading = Reading {
        format: Format::Json,
        fields: Vec::new(),
        delimiter: config.delimiter,
        null: String::new(),
        schema: None,
        schema_urls: Vec::new(),
        schemas: BTreeMap::new(),
        registry_id: None,
    };
    let body = reading.body(&columns).unwrap();
    let form = Arc::new(Form {
        schema: shape::schema(&columns),
        properties: Arc::new(WriterProperties::new()),
        rows: Rows::new(columns, body),
        group_bytes: 1 << 20,
    });
    let batch = lines(0..200);
    let mut files: Vec<_> =
        (0..40).map(|_| file::File::new(Arc::clone(&form), account.open())).collect();
    let (mut most, mut early) = (0, 0);
    for _ in 0..20 {
        for file in &mut files {
            early += usize::from(file.encode(&batch).len() > 4);
            most = most.max(account.held());
        }
    }
    assert!(most < (1 << 20) + 40 * (64 << 10), "{most}");
    assert!(early > 100, "row groups end before they are full: {early}");
    for mut file in files {
        file.finish();
    }
    assert_eq!(account.held(), 0);
}

#[test]
fn a_file_without_events_is_a_footer_with_the_schema() {
    let bytes = file_of(&*encoder(&json!({ "columns": every_type() })), &[]);
    assert_eq!(reader(bytes).metadata().file_metadata().num_rows(), 0);
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let column = |more: Value| {
        let mut column = json!({ "name": "a", "type": "string" });
        column.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "columns": [column] })
    };
    let twice = json!([{ "name": "A", "type": "bool" }, { "name": "a", "type": "bool" }]);
    let same_id = json!([
        { "name": "a", "type": "bool" }, { "name": "b", "type": "bool", "field_id": 1 },
    ]);
    for (settings, setting) in [
        (json!({ "columns": [] }), "columns"),
        (column(json!({ "name": "" })), "columns.0.name"),
        (json!({ "columns": twice }), "columns.1.name"),
        (column(json!({ "field_id": 0 })), "columns.0.field_id"),
        (json!({ "columns": same_id }), "columns.1.field_id"),
        (column(json!({ "from": "a..b" })), "columns.0.from"),
        (column(json!({ "precision": 3 })), "columns.0.precision"),
        (column(json!({ "scale": 3 })), "columns.0.scale"),
        (column(json!({ "type": "decimal" })), "columns.0.precision"),
        (column(json!({ "type": "decimal", "precision": 77 })), "columns.0.precision"),
        (column(json!({ "type": "decimal", "precision": 3, "scale": 4 })), "columns.0.scale"),
        (column(json!({ "type": "list<text>" })), "columns.0.type"),
        (json!({ "columns": every_type(), "row_group_size": "1KiB" }), "row_group_size"),
        (json!({ "columns": every_type(), "memory_max": "63MiB" }), "memory_max"),
    ] {
        let error = build::<Config>(&settings, &context()).err().unwrap();
        assert_eq!(error.path, setting, "{settings}");
    }
}

const CATALOGUE: Catalogue =
    Catalogue { groups: &[&::formats::GROUP, &crate::GROUP], unavailable: &[] };

/// A codec of the sink would hide the footer from readers.
#[test]
fn a_codec_around_a_file_is_refused() {
    let format = |codec: &str| {
        let cx = BuildContext { catalogue: CATALOGUE, ..context() };
        let settings = json!({ "type": "parquet", "columns": every_type() });
        let encoder = pipeline::Settings::from_json(&settings).read().unwrap();
        ::formats::format::Format::new(&encoder, &pipeline::Choice::from_kind(codec), &cx)
    };
    assert!(format("none").is_ok_and(|format| format.extension() == "parquet"));
    let error = format("gzip").err().unwrap();
    assert_eq!(error.setting, "codec");
    assert!(error.problem.contains("set `encoder = { type = \"parquet\", codec = … }` instead"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With any batches, short and long, wide and null, the bounds hold and everything is read
    /// back.
    #[test]
    fn bounds_hold_and_no_event_is_missing(
        batches in prop::collection::vec((0_usize..400, 0_usize..600, 1_usize..9), 1..6),
        codec in prop::sample::select(vec!["none", "snappy", "gzip", "zstd"]),
    ) {
        let columns = json!([
            { "name": "n", "type": "int64", "required": true },
            { "name": "text", "type": "string" },
            { "name": "all", "type": "json", "from": "inner" },
            { "name": "part", "type": "string", "from": "inner.part" },
            { "name": "raw", "type": "bytes", "from": "body" },
            { "name": "b", "type": "bool" },
        ]);
        let settings = json!({ "columns": columns, "row_group_size": "64KiB", "codec": codec });
        let (mut batched, mut n, mut state) = (Vec::new(), 0_u64, 7_u64);
        for (rows, width, gap) in batches {
            let mut builder = BatchBuilder::default();
            for row in 0..rows {
                // Incompressible text.
                let noise = (0..width).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    char::from(b'#' + (state >> 59) as u8)
                });
                let noise: String = noise.filter(|it| *it != '\\').collect();
                let mut body = json!({ "n": n, "inner": { "part": noise } });
                if row % gap == 0 {
                    body["text"] = json!(noise);
                    body["b"] = json!(row % 2 == 0);
                }
                builder.push(body.to_string().as_bytes(), &[]);
                n += 1;
            }
            batched.push(builder.finish());
        }
        let rows = rows(file_of(&*encoder(&settings), &batched));
        prop_assert_eq!(rows.len() as u64, n);
        for (n, row) in rows.iter().enumerate() {
            prop_assert!(row.starts_with(&format!("{{n: {n}, ")), "{}", row);
        }
    }
}
