//! `split_chars`: the events of Flume's `LineDeserializer`. `tests/run flume_bytes` compares them
//! with Flume's own.

use super::rig::build_error;
use super::*;

/// Flume's algorithm, on the characters of Java.
fn oracle(text: &str, chars: usize) -> Vec<String> {
    let (mut events, mut line, mut read) = (Vec::new(), Vec::new(), 0);
    for unit in text.encode_utf16() {
        read += 1;
        let is_end = unit == u16::from(b'\n');
        if !is_end {
            line.push(unit);
        }
        if is_end || read == chars {
            events.push(String::from_utf16(&line).unwrap());
            (line, read) = (Vec::new(), 0);
        }
    }
    if read > 0 {
        events.push(String::from_utf16(&line).unwrap());
    }
    events
}

#[test]
fn long_lines_continue_in_further_events_and_empty_lines_are_events() {
    let text = "ab\r\n\nabcd\näöüß\nabcde\nabcdefghi\n\n日本語テキスト\nab😀\nlast";
    let expected = [
        "ab\r",
        "",
        "abcd",
        "",
        "äöüß",
        "",
        "abcd",
        "e",
        "abcd",
        "efgh",
        "i",
        "",
        "日本語テ",
        "キスト",
        "ab😀",
        "",
        "last",
        "",
    ];
    // The LF after the fourth character is an empty event.
    assert_eq!(oracle(&format!("{text}\n"), 4), expected);
    for (charset, bytes) in [
        ("UTF-8", format!("{text}\n").into_bytes()),
        ("UTF-16", rig::utf16(&format!("{text}\n"), true, u16::to_le_bytes)),
    ] {
        for batch_events in [1, 2, 100] {
            let rig = Rig::new(&json!({
                "split_chars": 4, "charset": charset, "batch_events": batch_events,
            }));
            rig.put("a", &bytes);
            rig.run_until_renamed(1);
            assert_eq!(rig.bodies(0), expected, "{charset}");
            assert_eq!(rig.bodies(1), expected, "{charset}");
        }
    }
}

#[test]
fn a_killed_source_resumes_within_a_long_line() {
    let text = format!("{}\n\n{}\r\nend", "0123456789".repeat(50), "äöü".repeat(40));
    let expected = oracle(&text, 7);
    for events in [1, 20, expected.len() - 1] {
        let rig = Rig::new(&json!({ "split_chars": 7, "batch_events": 3 }));
        rig.put("a", text.as_bytes());
        rig.run_until_events(events);
        // On a busy machine the first run may complete the file.
        if rig.names("") != ["a.COMPLETED"] {
            rig.run_until_renamed(1);
        }
        assert_eq!(rig.bodies(0), expected, "{events}");
    }
}

#[test]
fn an_empty_file_is_an_empty_event() {
    let rig = Rig::new(&json!({ "split_chars": 4 }));
    rig.put_aged("a", b"", 20);
    rig.put_aged("b", b"x\n", 10);
    rig.run_until_renamed(2);
    assert_eq!(rig.bodies(0), ["", "x"]);
}

#[test]
fn a_character_of_two_units_is_not_divided() {
    let rig = Rig::new(&json!({ "split_chars": 4 }));
    rig.put("a", "abc😀de\n".as_bytes());
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["abc", "😀de", ""]);
}

#[test]
fn applies_the_policy_to_invalid_text_and_refuses_invalid_settings() {
    for (policy, expected) in [("replace", vec!["a\u{fffd}b", "c"]), ("ignore", vec!["abc", ""])] {
        let rig = Rig::new(&json!({ "split_chars": 3, "decode_error_policy": policy }));
        rig.put("a", b"a\xffbc\n");
        rig.run_until_renamed(1);
        assert_eq!(rig.bodies(0), expected, "{policy}");
    }
    for settings in [
        json!({ "split_chars": 0 }),
        json!({ "split_chars": 4, "decoder": "blob" }),
        json!({ "split_chars": 4, "pieces": {} }),
    ] {
        let mut all = settings;
        all["directory"] = json!("/d");
        assert_eq!(build_error(&all), "split_chars", "{all}");
    }
}
