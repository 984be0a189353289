//! The format is parsed like Java does. Expected values come from `java.util.Properties`.

use proptest::prelude::*;

use super::*;

fn pairs(text: &str) -> Vec<(String, String, u32)> {
    let read = read(&"a.conf".into(), text).unwrap();
    read.into_iter().map(|it| (it.key, it.value, it.place.line)).collect()
}

#[test]
fn separators_comments_continuations_and_escapes_are_those_of_java() {
    for (text, key, value) in [
        ("a=b", "a", "b"),
        ("  a = b ", "a", "b "),
        ("a:b", "a", "b"),
        ("a b", "a", "b"),
        ("a\t=\tb", "a", "b"),
        ("a = = b", "a", "= b"),
        ("a  :  b:c=d", "a", "b:c=d"),
        ("a", "a", ""),
        ("a=", "a", ""),
        ("a\\=b=c", "a=b", "c"),
        ("a\\ b=c", "a b", "c"),
        ("a=b\\\n   c", "a", "bc"),
        ("a=b\\\n   # c", "a", "b# c"),
        ("a=b\\\\", "a", "b\\"),
        ("a=b\\\\\\\nc", "a", "b\\c"),
        ("a=\\t\\n\\r\\f\\q", "a", "\t\n\r\x0cq"),
        ("a=\\u00e9\\uD83D\\uDE00", "a", "é😀"),
        ("a=^\\\\d+$", "a", "^\\d+$"),
        ("\u{feff}a=b", "a", "b"),
        ("a=b\r\n", "a", "b"),
        ("a=b\\\r\n  c", "a", "bc"),
        ("a=b\\", "a", "b"),
        ("# x\n! y\n\n  # z\na=b", "a", "b"),
    ] {
        let read = pairs(text);
        assert_eq!(read.len(), 1, "{text:?}: {read:?}");
        assert_eq!((read[0].0.as_str(), read[0].1.as_str()), (key, value), "{text:?}");
    }
}

#[test]
fn a_comment_is_not_continued_and_a_key_knows_its_first_line() {
    let text = "# c \\\na = 1\n\nb = 2 \\\n  3\nc=4";
    let expected = [("a", "1", 2), ("b", "2 3", 4), ("c", "4", 6)];
    assert_eq!(pairs(text), expected.map(|(key, value, at)| (key.into(), value.into(), at)));
}

#[test]
fn a_wrong_unicode_escape_is_refused_with_its_line() {
    for text in ["\na=\\u12", "\na=\\u12g4", "\na=\\uD83Dx", "\na=\\uDE00"] {
        let error = read(&"a.conf".into(), text).unwrap_err();
        assert_eq!(error.place.to_string(), "a.conf:2", "{text}");
    }
}

#[test]
fn of_several_values_of_a_key_the_last_counts_and_the_others_are_named() {
    let mut report = Report::default();
    let all = read(&"a.conf".into(), "a = 1\nb =  \na = 2\n").unwrap();
    let kept = merged(all, &mut report);
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].value.as_str(), kept[0].place.line), ("2", 3));
    let lines: Vec<_> = report.0.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("a.conf:2: b: the key has no value"), "{lines:?}");
    assert!(lines[1].starts_with("a.conf:1: a: the key is set again at a.conf:3"), "{lines:?}");
}

proptest! {
    /// Any text is parsed or rejected, and a text escaped by Java's `store` is read back unchanged.
    #[test]
    fn any_text_is_read_without_a_panic(text in "[\\\\u0-9a-f=: #!\n\r\ta-z]{0,200}|.{0,100}") {
        let _ = read(&"a".into(), &text);
    }

    #[test]
    fn what_java_writes_is_read_back(key in ".{1,20}", value in ".{0,40}") {
        let escape = |text: &str| {
            text.encode_utf16().fold(String::new(), |all, unit| format!("{all}\\u{unit:04x}"))
        };
        let read = pairs(&format!("{}={}", escape(&key), escape(&value)));
        prop_assert_eq!(read, vec![(key, value, 1)]);
    }
}
