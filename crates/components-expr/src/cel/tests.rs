//! Goal: an expression says what CEL says, every mistake is found when it is compiled, and no text
//! makes it panic.
//!
//! Method: tables; and random expressions over random events, of which the interpreter of the
//! library, which the component does not use, is asked as well.

use std::collections::HashMap;
use std::path::Path;

use ::cel::{Context, Program, Value};
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Existing};
use proptest::prelude::*;
use serde_json::json;

use super::compile::compile;
use super::tree::LOOKED_AT_MAX;
use super::*;

fn batch() -> Batch {
    let mut batch = Batch::of(["GET /a?x=1 ünï"]);
    for (name, value) in [("level", "ERROR"), ("ms", "250.5"), ("status", "502"), ("x-id", "7")] {
        batch.set_header(name, value, Existing::Keep);
    }
    batch
}

/// What an expression is for the first event.
fn value(text: &str, batch: &Batch) -> Option<bool> {
    let test = compile(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
    test.of(&mut Look::at(batch.iter().next().unwrap())).ok()
}

#[test]
fn an_expression_is_what_cel_says() {
    for (text, expected) in [
        (r#"headers.level == "ERROR" && double(headers.ms) > 200.0"#, Some(true)),
        (r#"headers.level == "ERROR" && double(headers.ms) > 251"#, Some(false)),
        (r#"headers["x-id"] == "7""#, Some(true)),
        ("int(headers.status) / 100 == 5 && int(headers.status) % 100 == 2", Some(true)),
        (r#"headers.level in ["WARN", "ERROR"]"#, Some(true)),
        ("int(headers.status) in [500, 503]", Some(false)),
        (r#"body.contains("/a?") && body.startsWith("GET ") && !body.endsWith("z")"#, Some(true)),
        ("body.contains(headers.level)", Some(false)),
        (r#"body.matches("^[A-Z]+ /\\w")"#, Some(true)),
        (r#"matches(headers.level, "err")"#, Some(false)),
        ("size(body) == 14 && body.size() != 17", Some(true)),
        ("has(headers.level) && !has(headers.none)", Some(true)),
        (r#""x-id" in headers && !("none" in headers)"#, Some(true)),
        ("has(headers.none) ? int(headers.none) > 1 : headers.status > \"5\"", Some(true)),
        ("(has(headers.none) ? 1.5 : 2.5) == 2.5", Some(true)),
        ("int(double(headers.ms)) == 250 && -int(headers.status) < 0", Some(true)),
        // One side decides where the other fails.
        ("headers.none == \"a\" || headers.level == \"ERROR\"", Some(true)),
        ("headers.level != \"ERROR\" && headers.none == \"a\"", Some(false)),
        ("headers.none == \"a\" && headers.level == \"ERROR\"", None),
        ("headers.none == \"a\"", None),
        ("int(headers.level) > 1", None),
        ("int(headers.ms) > 1", None),
        ("1 / (int(headers.status) - 502) == 1", None),
        ("9223372036854775807 + int(headers.status) > 0", None),
        ("int(double(headers.ms) * 1e300) > 0", None),
    ] {
        assert_eq!(value(text, &batch()), expected, "{text}");
    }
}

#[test]
fn bytes_that_are_not_text_are_looked_at_as_they_are() {
    let batch = Batch::of([&b"a\xffERR\xfe"[..]]);
    for text in ["body.contains(\"ERR\")", "body.matches(\"(?-u)\\\\xffERR\")", "size(body) == 6"] {
        assert_eq!(value(text, &batch), Some(true), "{text}");
    }
    assert_eq!(value("int(body) == 1", &batch), None);
}

#[test]
fn each_mistake_is_found_when_it_is_compiled_with_its_place_and_remedy() {
    let deep = format!("{}true{}", "!(".repeat(60), ")".repeat(60));
    let long = format!("body == \"{}\"", "x".repeat(4096));
    let patterns = vec!["body.matches(\"a\")"; 17].join(" || ");
    for (text, place, part) in [
        ("", "line 1", ""),
        ("headers.level = \"x\"", "line 1, character 1", ""),
        ("true &&\n  nope == 1", "line 2, character 3", "unknown name `nope`; available:"),
        ("headers == 1", "character 1", "headers.NAME or headers[\"NAME\"]"),
        ("body.level == \"a\"", "character", "unknown field `.level`"),
        ("headers.ms > 200", "character 12", "write int(…) or double(…) around the text"),
        ("int(headers.a) > double(headers.b)", "character", "double(…) around the whole number"),
        ("size(body)", "", "it is a whole number, but must be true or false"),
        ("headers.a && true", "character", "this is text, but must be true or false"),
        ("body + \"a\" == \"b\"", "character", "texts cannot be joined"),
        ("body.matches(headers.a)", "character", "a pattern must be a constant text"),
        ("body.matches(\"(\")", "character", "invalid pattern"),
        ("body.matches(\"\\\\w{1000}\\\\w{1000}\")", "character", "size limit"),
        ("headers[body] == \"a\"", "character", "the name of a header must be a constant text"),
        ("[1].all(x, x > 0)", "character", "loops"),
        ("body.split(\",\") == 1", "character", "known: `has`, `size`"),
        ("contains(body, \"a\")", "character", "known: `has`, `size`"),
        ("duration(body) == 1", "character", "unknown function `duration` with 1 values"),
        ("headers.a in [\"a\", 1]", "character", "`in` needs text"),
        ("headers.a in body", "character", "a list or `headers`"),
        ("[1] == [1]", "character", "to the right of `in`"),
        ("{1: 2} == {1: 2}", "character", "only text, numbers"),
        ("headers.a == null", "character", "use has(headers.NAME)"),
        ("1u == 1u", "character", "without `u`"),
        ("body == b\"a\"", "character", "without `b`"),
        ("true < false", "character", "have no order"),
        ("1.5 % 2.0 == 1.0", "character", "needs whole numbers"),
        (&deep, "", "deep"),
        (&long, "", "over the limit of 4096"),
        (&patterns, "character", "at most 16 patterns"),
    ] {
        let problem = compile(text).err().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(problem.contains(place) && problem.contains(part), "{text}: {problem}");
    }
}

fn cx() -> BuildContext {
    BuildContext::alone("access-1", Path::new("unused"), env::real())
}

#[test]
fn an_event_of_which_it_fails_is_counted_and_holds_as_the_setting_says() {
    for holds_on_error in [false, true] {
        let mut batch = Batch::of(["a", "b", "c", "d"]);
        batch.set_column("ms", [Some("7"), None, Some("x"), Some("1")].into_iter());
        let settings =
            json!({ "expression": "int(headers.ms) > 5", "holds_on_error": holds_on_error });
        let cx = cx();
        let condition = build::<Config>(&settings, &cx).unwrap();
        let mut wanted = [true; 4];
        condition.narrow(&batch, &mut wanted);
        assert_eq!(wanted, [true, holds_on_error, holds_on_error, false]);
        // What is not in question is neither looked at nor counted.
        let mut wanted = [false; 4];
        condition.narrow(&batch, &mut wanted);
        assert_eq!(wanted, [false; 4]);
        let counted = "aqueduct_cel_failed_events_total{component=\"access-1\"} 2\n";
        assert!(cx.metrics.text().contains(counted), "{}", cx.metrics.text());
    }
    let error = build::<Config>(&json!({ "expression": "nope" }), &cx()).err().unwrap();
    assert_eq!(error.path, "expression");
}

#[test]
fn an_expression_looks_at_so_many_bytes_of_an_event_and_no_more() {
    let half = "x".repeat(LOOKED_AT_MAX / 2);
    for (body, expected) in [(half.clone(), Some(false)), (format!("{half}x"), None)] {
        let batch = Batch::of([body]);
        let text = "body.contains(\"a\") || body.matches(\"a\")";
        assert_eq!(value(text, &batch), expected);
    }
}

#[test]
fn a_long_or_deep_text_is_read_or_refused_in_the_stack_of_a_thread() {
    for text in [
        "(".repeat(4096),
        "!".repeat(4096),
        "-".repeat(4096),
        vec!["1"; 2048].join("+"),
        vec!["true"; 600].join("&&"),
        "a.".repeat(2048),
        "a[".repeat(2048),
        "[".repeat(4096),
        "{".repeat(4096),
        "true?".repeat(800),
        "f(".repeat(2048),
        "\"".repeat(4096),
        "a.f().".repeat(600),
    ] {
        // It need not be taken; it ends.
        let _ = compile(&text);
    }
    assert!(compile(&vec!["true"; 600].join("&&")).is_ok());
}

/// Texts: those of an event, and constants.
fn text() -> impl Strategy<Value = String> {
    let all = ["body", "headers.a", "headers.b", "headers[\"c\"]", "\"5\"", "\"a\"", "\"\""];
    prop::sample::select(all.to_vec()).prop_map(str::to_owned)
}

fn int() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-9i64..9).prop_map(|n| n.to_string()),
        Just(i64::MAX.to_string()),
        text().prop_map(|text| format!("int({text})")),
        text().prop_map(|text| format!("size({text})")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let operator = prop::sample::select(&["+", "-", "*", "/", "%"][..]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            inner.prop_map(|a| format!("int(double({a}))")),
        ]
    })
}

fn double() -> impl Strategy<Value = String> {
    prop_oneof![
        (-9i32..9).prop_map(|n| format!("{n}.5")),
        text().prop_map(|text| format!("double({text})")),
        int().prop_map(|int| format!("double({int})")),
        (text(), 0..9).prop_map(|(text, n)| format!("(double({text}) + {n}.25)")),
    ]
}

fn test() -> impl Strategy<Value = String> {
    let order = || prop::sample::select(&["==", "!=", "<", "<=", ">", ">="][..]);
    let method = prop::sample::select(&["contains", "startsWith", "endsWith"][..]);
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("has(headers.a)".to_owned()),
        Just("\"b\" in headers".to_owned()),
        (text(), order(), text()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (int(), order(), int()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (double(), order(), double()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
        (text(), method, text()).prop_map(|(a, m, b)| format!("{a}.{m}({b})")),
        text().prop_map(|a| format!("{a}.matches(\"^a|[0-9]$\")")),
        text().prop_map(|a| format!("{a} in [\"a\", \"5\"]")),
        int().prop_map(|a| format!("{a} in [1, 5, -3]")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) == ({b})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

fn held() -> impl Strategy<Value = Option<&'static str>> {
    let all = ["", "5", "-3", "7.5", "a", "ab", "aé", "9223372036854775807", "1e300", "+5", " 5"];
    prop::option::of(prop::sample::select(all.to_vec()))
}

/// What the interpreter of the library says.
fn oracle(text: &str, body: &str, headers: &[(&str, Option<&str>)]) -> Option<bool> {
    let mut context = Context::default();
    let there = headers.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let headers: HashMap<String, String> =
        there.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    context.add_variable("headers", headers).unwrap();
    context.add_variable("body", body.to_owned()).unwrap();
    match Program::compile(text).unwrap().execute(&context) {
        Ok(Value::Bool(value)) => Some(value),
        Ok(other) => panic!("{text} is {other:?}"),
        Err(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn an_expression_is_what_the_interpreter_of_the_library_says(
        text in test(), body in held(), a in held(), b in held(), c in held(),
    ) {
        let body = body.unwrap_or_default();
        let headers = [("a", a), ("b", b), ("c", c)];
        let mut batch = Batch::of([body]);
        for (name, value) in headers {
            batch.set_column(name, std::iter::once(value));
        }
        prop_assert_eq!(value(&text, &batch), oracle(&text, body, &headers), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ -~é\n]{0,80}", words in prop::collection::vec(
        prop::sample::select(vec![
            "headers", "body", ".", "a", "[", "]", "(", ")", "\"", "'", "==", "&&", "||", "!", "?",
            ":", "in", "has", "int", "size", "matches", "1", "2.5", "-", "+", "{", "}", ",", "\\",
            "r", "b", "\n", "//", "é", "true",
        ]), 0..40,
    )) {
        for text in [text, words.concat(), words.join(" ")] {
            if let Ok(test) = compile(&text) {
                let batch = batch();
                let _ = test.of(&mut Look::at(batch.iter().next().unwrap()));
            }
        }
    }
}
