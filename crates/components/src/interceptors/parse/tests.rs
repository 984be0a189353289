//! Goal: each format extracts the fields of its texts, as headers or as JSON; other texts stay
//! whole and are counted. Method: the interceptor as a configuration builds it, with batches of
//! samples.

use pipeline::Batch;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{bodies, built, cx, refused, through, values};
use super::*;

/// Returns the fields of one text as JSON, or the reason why parsing failed.
fn fields(settings: &Value, text: &str) -> String {
    let mut all = json!({ "into": "body", "on_failure": "header" });
    all.as_object_mut().unwrap().append(&mut settings.as_object().unwrap().clone());
    let batch = through::<Config>(&all, Batch::of([text]));
    match batch.shared_header("parse_error") {
        Some(reason) => {
            assert_eq!(bodies(&batch), [text], "what fails stays as it is");
            reason.to_owned()
        }
        None => bodies(&batch).remove(0),
    }
}

#[test]
fn json_objects_become_fields_with_dotted_names() {
    let json = |text: &str| fields(&json!({ "format": "json" }), text);
    for (text, expected) in [
        (r#"{"a":"x","n":1.50,"t":true,"l":[1, 2]}"#, r#"{"a":"x","n":1.50,"t":true,"l":[1, 2]}"#),
        (r#" {"user":{"name":"ann","id":7},"z":null} "#, r#"{"user.name":"ann","user.id":7}"#),
        (r#"{"a":"\"\u00e4\n"}"#, "{\"a\":\"\\\"ä\\n\"}"),
        (r#"{"big":12345678901234567890123}"#, r#"{"big":12345678901234567890123}"#),
        ("{}", "{}"),
        ("[1]", "not a JSON object"),
        ("{\"a\":1} x", "not a JSON object"),
        ("{\"a\":", "not a JSON object"),
        ("", "not a JSON object"),
        (r#"{"a":"\ud800"}"#, "not a JSON object"),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(12), "}".repeat(12));
    let expected = format!("{{\"a.a.a.a.a.a.a.a\":{}1{}}}", "{\"a\":".repeat(4), "}".repeat(4));
    assert_eq!(json(&deep), expected, "what lies deeper stays as it is written");
    assert_eq!(json(&"{\"a\":".repeat(100_000)), "not a JSON object", "depth has a limit");
}

#[test]
fn pairs_become_fields() {
    for (text, expected) in [
        (
            "level=info msg=\"it is \\\"up\\\"\" took=5ms fast",
            r#"{"level":"info","msg":"it is \"up\"","took":"5ms","fast":"true"}"#,
        ),
        ("a= b=1", r#"{"a":"","b":"1"}"#),
        ("a=b=c", r#"{"a":"b=c"}"#),
        ("just some words", "no pair of key and value"),
        ("", "no pair of key and value"),
        ("=x", "a pair has no key"),
        ("a=\"open", "a quote is not closed"),
        ("a=\"b\"c", "text after a closing quote"),
    ] {
        assert_eq!(fields(&json!({ "format": "logfmt" }), text), expected, "{text}");
    }
    let with = |pair: &str, value: &str| {
        json!({ "format": {
            "type": "key_value", "pair_separator": pair, "key_value_separator": value,
        } })
    };
    for (settings, text, expected) in [
        (json!({ "format": "key_value" }), "a=1, b = 2 ,c=", r#"{"a":"1","b":"2","c":""}"#),
        (with(";", ":"), "a: 1; b:\"x;y\"; c:3", r#"{"a":"1","b":"x;y","c":"3"}"#),
        (with(" ", "="), "a=\"1 2\" b=2", r#"{"a":"1 2","b":"2"}"#),
        (with("&", "="), "a=1&b", "a pair has no value"),
        (with("&", "="), "a&b=1", "a pair has no value"),
        (with("&", "="), " ", "no pair of key and value"),
    ] {
        assert_eq!(fields(&settings, text), expected, "{text}");
    }
}

#[test]
fn columns_become_fields() {
    let csv = json!({ "format": { "type": "csv", "columns": ["a", "", "c"] } });
    let long = "x".repeat(5000);
    for (text, expected) in [
        ("1,2,3", r#"{"a":"1","c":"3"}"#),
        ("\"x,\"\"y\"\"\",2,", r#"{"a":"x,\"y\"","c":""}"#),
        (&*format!("{long},2,3"), &*format!("{{\"a\":\"{long}\",\"c\":\"3\"}}")),
        ("1,2", "the number of values in the line differs from the number of names in `fields`"),
        (
            "1,2,3,4",
            "the number of values in the line differs from the number of names in `fields`",
        ),
        ("1,2,3,4,5", "the line has more values than `fields` has names"),
        ("", "the line is empty"),
        ("1,2,3\n4,5,6", "more than one line"),
    ] {
        assert_eq!(fields(&csv, text), expected, "{text}");
    }
    let tabs = json!({
        "format": { "type": "csv", "columns": ["a", "b"], "delimiter": "\t" },
    });
    assert_eq!(fields(&tabs, "1,0\t2"), r#"{"a":"1,0","b":"2"}"#);
}

#[test]
fn access_logs_become_fields() {
    let line = "203.0.113.7 - ann [25/Nov/2026:10:20:30 +0100] \"GET /a?b=1 HTTP/1.1\" 200 512";
    let common = r#"{"clientip":"203.0.113.7","ident":"-","auth":"ann","#.to_owned()
        + r#""timestamp":"25/Nov/2026:10:20:30 +0100","verb":"GET","request":"/a?b=1","#
        + r#""httpversion":"1.1","response":200,"bytes":512"#;
    assert_eq!(fields(&json!({ "format": "common" }), line), format!("{common}}}"));
    let combined = format!("{line} \"-\" \"curl \\\"8\\\"\"");
    let expected = format!("{common},\"referrer\":\"-\",\"agent\":\"curl \\\\\\\"8\\\\\\\"\"}}");
    assert_eq!(fields(&json!({ "format": "combined" }), &combined), expected);
    // A scanner's request to a TLS port, in nginx's log.
    let odd = "::1 - - [25/Nov/2026:10:20:30 +0100] \"\\x16\\x03\" 400 - \"-\" \"-\"";
    let read = fields(&json!({ "format": "combined" }), odd);
    assert!(read.contains("\"rawrequest\":\"\\\\x16\\\\x03\",\"response\":400,\"ref"), "{read}");
    assert_eq!(fields(&json!({ "format": "combined" }), "x"), "not a line of an access log");
}

#[test]
fn fields_become_headers_and_what_fails_keeps_its_own() {
    let settings = json!({ "format": "logfmt", "prefix": "f_", "on_failure": "header" });
    let mut batch = Batch::of(["a=1 b=2", "no", "b=3 c=4 b=5"]);
    batch.set_header("f_a", "old", Existing::Keep);
    let batch = through::<Config>(&settings, batch);
    assert_eq!(values(&batch, "f_a"), ["1", "old", "old"]);
    assert_eq!(values(&batch, "f_b"), ["2", "-", "3"], "of two values the first counts");
    assert_eq!(values(&batch, "f_c"), ["-", "-", "4"]);
    assert_eq!(values(&batch, "parse_error"), ["-", "no pair of key and value", "-"]);
    assert_eq!(bodies(&batch), ["a=1 b=2", "no", "b=3 c=4 b=5"]);
}

#[test]
fn no_field_is_taken_of_an_event_that_fails_at_its_end() {
    let batch = Batch::of(["a=1 b=\"open", "c=3"]);
    let batch = through::<Config>(&json!({ "format": "logfmt" }), batch);
    assert_eq!(batch.header_names().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn keeps_or_drops_unparsed_events_and_counts_them() {
    for (on_failure, left) in [("keep", 3), ("drop", 2)] {
        let cx = cx();
        let settings = json!({ "format": "json", "on_failure": on_failure });
        let parse = pipeline::testkit::build::<Config>(&settings, &cx).unwrap();
        let mut batch = Batch::of(["{\"a\":1}", "oops", "{\"a\":2}"]);
        parse.intercept(&mut batch, &mut Rejects::default());
        assert_eq!(batch.len(), left, "{on_failure}");
        let counted = "aqueduct_parse_failed_events_total{component=\"test\"} 1\n";
        assert!(cx.metrics.text().contains(counted), "{}", cx.metrics.text());
    }
}

#[test]
fn a_header_can_be_parsed_and_fields_be_chosen() {
    let settings = json!({ "format": "json", "header": "meta", "fields": ["b"] });
    let mut batch = Batch::of(["x", "y"]);
    batch.set_column("meta", [Some("{\"a\":1,\"b\":2}"), None].into_iter());
    let batch = through::<Config>(&settings, batch);
    assert_eq!(values(&batch, "b"), ["2", "-"]);
    assert_eq!(values(&batch, "a"), ["-", "-"]);
}

#[test]
fn names_of_fields_have_a_limit() {
    let cx = cx();
    let settings = json!({ "format": "json", "fields_max": 2 });
    let parse = pipeline::testkit::build::<Config>(&settings, &cx).unwrap();
    let long = format!("{{\"{}\":1}}", "n".repeat(256));
    let mut batch =
        Batch::of(["{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":1,\"b\":2}", &long, "{\"\":1}"]);
    parse.intercept(&mut batch, &mut Rejects::default());
    assert_eq!(values(&batch, "b"), ["2", "2", "-", "-"]);
    assert_eq!(batch.header_names().count(), 2);
    let counted = "aqueduct_parse_left_out_fields_total{component=\"test\"} 4\n";
    assert!(cx.metrics.text().contains(counted), "{}", cx.metrics.text());
}

#[test]
fn settings_of_another_format_and_missing_ones_are_refused() {
    for (format, path) in [
        (json!("none"), "format"),
        (json!({ "type": "json", "columns": ["a"] }), "format.columns"),
        (json!({ "columns": ["a"] }), "format"),
        (json!("csv"), "format"),
        (json!({ "type": "csv", "columns": [] }), "format.columns"),
        (json!({ "type": "csv", "columns": ["a"], "delimiter": "ab" }), "format.delimiter"),
        (json!("grok"), "format"),
        (json!({ "type": "grok", "pattern": "%{NO:x}" }), "format.pattern"),
        (json!({ "type": "key_value", "pair_separator": "" }), "format.pair_separator"),
        (json!({ "type": "key_value", "pair_separator": "=" }), "format.key_value_separator"),
    ] {
        assert_eq!(refused::<Config>(&json!({ "format": format })), path, "{format}");
    }
    for (settings, path) in [
        (json!({ "format": "json", "fields_max": 0 }), "fields_max"),
        (json!({ "format": "json", "failure_header": "" }), "failure_header"),
    ] {
        assert_eq!(refused::<Config>(&settings), path, "{settings}");
    }
}

#[test]
fn a_routing_sees_what_may_be_written() {
    let parse = |settings: Value| built::<Config>(&settings).unwrap();
    let all = parse(json!({ "format": "json", "prefix": "f_" }));
    assert!(all.routing_effect(Some("f_x")).is_some());
    assert_eq!((all.routing_effect(Some("x")), all.routing_effect(None)), (None, None));
    let one = parse(json!({ "format": "json", "fields": ["a"] }));
    assert!(one.routing_effect(Some("a")).is_some() && one.routing_effect(Some("b")).is_none());
    let drops = parse(json!({ "format": "json", "on_failure": "drop" }));
    assert!(drops.routing_effect(None).is_some());
}

/// Returns formats, each with a sample text.
fn samples() -> Vec<(Value, &'static str)> {
    vec![
        (json!("json"), r#"{"a":{"b":[1,"x"]},"c":"\u00e4"}"#),
        (json!("logfmt"), "a=1 b=\"x \\\" y\" c"),
        (json!("key_value"), "a=1, b=\"2, 3\""),
        (json!({ "type": "csv", "columns": ["a", "b"] }), "1,\"x, y\""),
        (json!("common"), "1.2.3.4 - - [25/Nov/2026:10:20:30 +0100] \"GET / HTTP/1.1\" 200 5"),
        (json!({ "type": "grok", "pattern": "%{IP:ip} %{DATA:x}$" }), "::1 abc"),
    ]
}

proptest! {
    /// Each event is returned: as JSON with its fields, or unchanged with a reason.
    #[test]
    fn no_text_breaks_a_parser(
        at in 0..6usize,
        cut in any::<prop::sample::Index>(),
        junk in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let (format, sample) = samples().swap_remove(at);
        let cut = cut.index(sample.len() + 1);
        let text = [&sample.as_bytes()[..cut], &junk, &sample.as_bytes()[cut..]].concat();
        let settings = json!({ "format": format, "into": "body", "on_failure": "header" });
        let batch = through::<Config>(&settings, Batch::of([&text]));
        let event = batch.iter().next().unwrap();
        match event.header("parse_error") {
            Some(_) => prop_assert_eq!(event.body(), &text),
            None => {
                let json: Value = serde_json::from_slice(event.body()).unwrap();
                prop_assert!(json.is_object());
            }
        }
        let settings = json!({ "format": samples()[at].0, "prefix": "f_" });
        let batch = through::<Config>(&settings, Batch::of([&text]));
        prop_assert_eq!(batch.iter().next().unwrap().body(), &text);
        prop_assert_eq!(&Batch::decode(batch.encode()).unwrap(), &batch);
    }
}

#[test]
fn moves_unparsed_events_to_the_dead_letters_if_set() {
    for into in ["headers", "body"] {
        let settings = json!({ "format": "logfmt", "into": into, "on_failure": "dead_letters" });
        let mut batch = Batch::of(["a=1", "=1", "a=\"open", "a=2", "=2"]);
        let mut rejects = Rejects::default();
        built::<Config>(&settings).unwrap().intercept(&mut batch, &mut rejects);
        assert_eq!(batch.len(), 2, "{into}");
        let rejects: Vec<_> = rejects.into_iter().collect();
        let events: Vec<Vec<String>> = rejects.iter().map(|one| bodies(&one.events)).collect();
        assert_eq!(events, [vec!["=1", "=2"], vec!["a=\"open"]], "{into}");
        assert!(rejects.iter().all(|reject| reject.reason == "not_parsed"));
        assert_ne!(rejects[0].detail, rejects[1].detail);
    }
}

#[test]
fn the_routing_by_bodies_knows_what_is_written_into_bodies_alone() {
    let effect = |into: &str| {
        let settings = json!({ "format": "json", "into": into });
        built::<Config>(&settings).unwrap().body_effect()
    };
    assert!(effect("body").is_some());
    assert_eq!(effect("headers"), None);
}
