//! Decoding of each charset, and its line ends.

use super::*;

fn charset(name: &str) -> Charset {
    Charset::named(name).unwrap()
}

fn decoded(name: &str, bytes: &[u8]) -> String {
    let (charset, mark) = charset(name).of_text(bytes);
    charset.decode(&bytes[mark..], Odd::Fail, false).unwrap()
}

#[test]
fn names_of_java_and_of_the_web_are_known_and_near_ones_are_named() {
    for (name, expected) in [
        ("UTF-8", Charset::Utf8),
        ("utf8", Charset::Utf8),
        ("US-ASCII", Charset::Utf8),
        ("ISO8859_1", Charset::Latin1),
        ("latin1", Charset::Latin1),
        ("Cp1252", Charset::Table(WINDOWS_1252)),
        ("UTF-16", Charset::Utf16),
        ("UTF-16LE", Charset::Table(UTF_16LE)),
    ] {
        assert_eq!(charset(name), expected, "{name}");
    }
    for name in ["Shift_JIS", "SJIS", "MS932", "GBK", "GB2312", "GB18030", "Big5", "EUC_JP"] {
        assert!(matches!(charset(name), Charset::Table(_)), "{name}");
    }
    for name in NAMES {
        assert!(Charset::named(name).is_ok(), "{name}");
    }
    let error = Charset::named("window-1252").unwrap_err();
    assert_eq!(error, "unknown charset `window-1252`; did you mean `windows-1252`?");
    assert!(Charset::named("ISO-2022-JP").unwrap_err().contains("before the line"));
    assert!(Charset::named("").unwrap_err().contains("known: `utf-8`"));
}

#[test]
fn text_is_what_java_writes_in_that_charset() {
    let utf16 = |mark: &[u8], to: fn(u16) -> [u8; 2]| {
        let text: Vec<u8> = "gr\u{fc}\u{1f980}".encode_utf16().flat_map(to).collect();
        [mark, &text].concat()
    };
    let crab = "gr\u{fc}\u{1f980}";
    for (name, bytes, text) in [
        ("ISO-8859-1", b"\x80\xe4".to_vec(), "\u{80}ä"),
        ("windows-1252", b"\x80\xe4".to_vec(), "€ä"),
        ("ISO-8859-15", b"\xa4".to_vec(), "€"),
        ("Shift_JIS", b"\x93\xfa\x96{\\".to_vec(), "日本\\"),
        ("GBK", b"\xd6\xd0\xce\xc4".to_vec(), "中文"),
        ("UTF-16", utf16(&[], u16::to_be_bytes), crab),
        ("UTF-16", utf16(&[0xfe, 0xff], u16::to_be_bytes), crab),
        ("UTF-16", utf16(&[0xff, 0xfe], u16::to_le_bytes), crab),
        ("UTF-16LE", utf16(&[0xff, 0xfe], u16::to_le_bytes), crab),
        ("UTF-16LE", utf16(&[], u16::to_le_bytes), crab),
        ("UTF-16BE", utf16(&[], u16::to_be_bytes), crab),
    ] {
        assert_eq!(decoded(name, &bytes), text, "{name}");
    }
}

#[test]
fn applies_the_policy_to_invalid_bytes_and_cuts_whole_characters() {
    let gbk = charset("GBK");
    let odd = b"\xd6\xd0\xff.\xd6";
    assert_eq!(gbk.decode(odd, Odd::Fail, false), Err(2));
    assert_eq!(gbk.decode(&odd[..2], Odd::Fail, false).as_deref(), Ok("中"));
    assert_eq!(gbk.decode(odd, Odd::Replace, false).unwrap(), "中\u{fffd}.\u{fffd}");
    assert_eq!(gbk.decode(odd, Odd::Ignore, false).unwrap(), "中.");
    assert_eq!(gbk.decode(b"\xd6\xd0\xd6", Odd::Fail, true).unwrap(), "中");
    let wide = charset("UTF-16LE");
    assert_eq!(wide.decode(b"a\0\0\xd8b\0c", Odd::Ignore, false).unwrap(), "ab");
    assert_eq!(wide.decode(b"a\0\0\xd8b\0", Odd::Fail, false), Err(2));
}

#[test]
fn a_line_ends_at_a_whole_character_and_nowhere_else() {
    for name in NAMES {
        let (charset, _) = charset(name).of_text(b"");
        // Every third two-byte value: each first byte with 85 second bytes.
        for number in (0..=u16::MAX).step_by(3) {
            let line = number.to_be_bytes();
            if charset.unit() == 1 && line.contains(&b'\n') {
                continue;
            }
            let end: &[u8] = match charset {
                Charset::Table(table) if table == UTF_16LE => b"\n\0",
                _ if charset.unit() == 2 => b"\0\n",
                _ => b"\n",
            };
            if line == end {
                continue;
            }
            let one = [&line, end].concat();
            assert_eq!(charset.line_end(&one), Some(one.len()), "{name} {line:?}");
            let alone = charset.decode(&one, Odd::Replace, false).unwrap();
            let both = charset.decode(&one.repeat(2), Odd::Replace, false).unwrap();
            assert_eq!(both, alone.repeat(2), "{name} {line:?}");
            assert_eq!(alone.matches('\n').count(), 1, "{name} {line:?}");
            assert!(alone.ends_with('\n'), "{name} {line:?}");
            let grown = charset.growth() * one.len();
            assert!(charset.is_utf8() || alone.len() <= grown, "{name} {line:?}");
        }
    }
    let little = charset("UTF-16LE");
    assert_eq!(little.line_end(b"\0\n\0\n\n\0"), Some(6));
    assert_eq!(little.line_end(b"a\0\n"), None);
    assert_eq!(little.return_before(b"a\0\r\0"), 2);
    let big = charset("UTF-16BE");
    assert_eq!(big.line_end(b"\n\0\0\n"), Some(4));
    assert_eq!(big.return_before(b"\0\r"), 2);
    assert_eq!(charset("GBK").return_before(b"a\r"), 1);
}

#[test]
fn the_first_units_end_at_a_whole_character() {
    let named = |name| Charset::named(name).unwrap();
    let utf16: Vec<u8> = "a😀b".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (charset, bytes, units, expected) in [
        ("UTF-8", "aäb".as_bytes(), 2, Some(3)),
        ("UTF-8", "aäb".as_bytes(), 3, Some(4)),
        ("UTF-8", "aäb".as_bytes(), 4, None),
        ("UTF-8", "a😀b".as_bytes(), 2, Some(1)),
        ("UTF-8", "a😀b".as_bytes(), 3, Some(5)),
        ("UTF-8", b"a\xff\xffb", 3, Some(3)),
        ("ISO-8859-1", b"a\xe4b", 2, Some(2)),
        ("UTF-16", &utf16, 2, Some(2)),
        ("UTF-16", &utf16, 3, Some(6)),
        ("GBK", b"\xd6\xd0\xd6\xd0a", 2, Some(4)),
    ] {
        let found = named(charset).first_units(bytes, units, Odd::Replace);
        assert_eq!(found, Ok(expected), "{charset} {bytes:?} {units}");
    }
    assert_eq!(Charset::Utf8.first_units(b"a\xffb", 3, Odd::Fail), Err(1));
    assert_eq!(Charset::Utf8.first_units(b"a\xffb", 2, Odd::Ignore), Ok(Some(3)));
}
