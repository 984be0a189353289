//! Records become objects, wherever the pieces of a file end.

use std::io::BufReader;

use pipeline::{BatchBuilder, BuildContext, Decoder, FileError, Message, PieceLimits};
use serde_json::{Value, json};

use super::Config;

fn decoder(settings: &Value) -> Result<Box<dyn Decoder>, String> {
    let mut all = json!({ "fields": ["id", "name", "n"], "non_text": ["id", "n"], "quote": "\"" });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let cx = BuildContext::alone("in", "/d".as_ref(), env::real());
    pipeline::testkit::build::<Config>(&all, &cx).map_err(|error| error.to_string())
}

/// Returns bodies and problems of a message.
fn decoded(settings: &Value, text: &str) -> Vec<(String, Option<String>)> {
    let mut events = BatchBuilder::default();
    let message = Message { bytes: text.as_bytes(), charset: None, headers: &[] };
    decoder(settings).unwrap().decode(&message, &mut events).unwrap();
    let batch = events.finish();
    let text = |event: pipeline::EventRef<'_>| {
        let body = String::from_utf8_lossy(event.body()).into_owned();
        (body, event.header("problem").map(str::to_owned))
    };
    batch.iter().map(text).collect()
}

fn bodies(settings: &Value, text: &str) -> Vec<String> {
    let good = |(body, problem): (String, Option<String>)| {
        assert_eq!(problem, None, "{body}");
        body
    };
    decoded(settings, text).into_iter().map(good).collect()
}

#[test]
fn null_is_what_is_written_for_it_and_never_what_is_quoted() {
    let nulls = json!({ "null": "\\N", "null_non_text": "-", "escape": "\\" });
    for (line, expected) in [
        ("1,a,2.5", r#"{"id":"1","name":"a","n":"2.5"}"#),
        ("1,\\N,-", r#"{"id":"1","name":null,"n":null}"#),
        ("1,\"\\\\N\",\\N", r#"{"id":"1","name":"\\N","n":"N"}"#),
        ("1,,", r#"{"id":"1","name":"","n":null}"#),
        ("1,\"\",\"\"", r#"{"id":"1","name":"","n":""}"#),
        ("1,-,0", r#"{"id":"1","name":"-","n":"0"}"#),
    ] {
        assert_eq!(bodies(&nulls, line), [expected], "{line}");
    }
    assert_eq!(bodies(&json!({}), "1,,\"\"\n"), [r#"{"id":"1","name":null,"n":""}"#]);
}

#[test]
fn emits_a_bad_record_with_its_reason_and_continues() {
    let text = "1,a,2\n3,b\n4,\"c\"d,5\n6,\"open,7\n8,e,9\r\n";
    let found = decoded(&json!({}), text);
    let problems =
        ["has 2 values, but", "value 2 has text between", "value 2 has an opening quote"];
    assert_eq!(found.len(), 5, "{found:?}");
    for ((body, problem), (line, expected)) in
        found[1..4].iter().zip(["3,b", "4,\"c\"d,5", "6,\"open,7"].iter().zip(problems))
    {
        assert_eq!(body, line);
        assert!(problem.as_ref().unwrap().contains(expected), "{problem:?}");
    }
    assert_eq!(found[4], (r#"{"id":"8","name":"e","n":"9"}"#.to_owned(), None));
}

#[test]
fn rejects_a_bad_record_as_an_object() {
    for line in ["{\"id\":7}", " \t{\"id\":7,\"name\":\"x\"}", "{", "{\"name\":\"\u{e4}\"}"] {
        let [(body, Some(_))] = &decoded(&json!({ "quote": "'" }), line)[..] else {
            panic!("{line} is no record")
        };
        assert_eq!(serde_json::from_str::<String>(body).unwrap(), line);
    }
    let invalid = b"{\"id\":7,\"name\":\"\xff\"}";
    let mut events = BatchBuilder::default();
    let message = Message { bytes: invalid, charset: None, headers: &[] };
    decoder(&json!({})).unwrap().decode(&message, &mut events).unwrap();
    let batch = events.finish();
    let body = batch.iter().next().unwrap().body().to_vec();
    assert!(serde_json::from_slice::<String>(&body).unwrap().contains('\u{fffd}'));
}

#[test]
fn pieces_have_the_same_records_wherever_they_end() {
    let text = "1,a,2\n\n3,\"b\nb\",4\r\n5,c\n6,\"open,7\n8,d,9";
    let all: Vec<String> = decoded(&json!({}), text).into_iter().map(|(body, _)| body).collect();
    assert_eq!(all.len(), 5, "{all:?}");
    for (bytes, events, read) in [(0, 99, 1), (40, 99, 5), (999, 2, 7), (999, 99, 999)] {
        for passed in 0..=all.len() {
            let mut file = decoder(&json!({})).unwrap().begin_file().unwrap();
            let mut reader = BufReader::with_capacity(read, text.as_bytes());
            file.skip_events(&mut reader, passed as u64).unwrap();
            let (mut found, limits) = (Vec::new(), PieceLimits { bytes, events });
            loop {
                let mut piece = BatchBuilder::default();
                let is_more = file.next(&mut reader, limits, &[], &mut piece).unwrap();
                let piece = piece.finish();
                assert!(piece.len() <= events);
                let body = |event: pipeline::EventRef<'_>| event.body().to_vec();
                found.extend(piece.iter().map(|event| String::from_utf8(body(event)).unwrap()));
                if !is_more {
                    break;
                }
            }
            assert_eq!(found, all[passed..], "{bytes} {events} {read} {passed}");
        }
    }
    let mut file = decoder(&json!({})).unwrap().begin_file().unwrap();
    let passed = file.skip_events(&mut text.as_bytes(), 6).unwrap_err();
    assert!(passed.to_string().contains("fewer events"), "{passed}");
}

#[test]
fn a_record_that_is_too_long_ends_the_file_behind_the_records_before_it() {
    let text = format!("1,a,2\n3,{},4\n", "b".repeat(100));
    let mut file = decoder(&json!({ "record_max": "50B" })).unwrap().begin_file().unwrap();
    let (mut reader, mut piece) = (text.as_bytes(), BatchBuilder::default());
    let limits = PieceLimits { bytes: 999, events: 99 };
    assert!(file.next(&mut reader, limits, &[], &mut piece).unwrap());
    assert_eq!(piece.len(), 1);
    let error = file.next(&mut reader, limits, &[], &mut piece).unwrap_err();
    assert!(matches!(error, FileError::Malformed(_)), "{error}");
    assert!(error.to_string().contains("byte 6 is longer than 50 bytes"), "{error}");
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (settings, setting) in [
        (json!({ "fields": [] }), "fields"),
        (json!({ "non_text": ["x"] }), "non_text"),
        (json!({ "delimiter": "\"" }), "quote"),
        (json!({ "delimiter": "\n" }), "line_end"),
        (json!({ "escape": "é" }), "escape"),
        (json!({ "record_max": "17MiB" }), "record_max"),
    ] {
        let problem = decoder(&settings).err().unwrap();
        assert!(problem.contains(setting), "{settings}: {problem}");
    }
}
