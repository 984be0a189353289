//! Bad files: set aside, counted, and skipped.

use kit::testkit::narrow::Narrow;
use std::io::Write;

use super::rig::{AVRO_FILES, avro_bodies, bzip2, gzip, utf16, zstd};
use super::*;

fn has(name: &'static str) -> impl Fn(&Rig) -> bool {
    move |rig: &Rig| rig.path(name).exists()
}

#[test]
fn sets_aside_a_file_that_grows_while_it_is_read() {
    let rig = Rig::new(&json!({ "batch_events": 1 }));
    rig.put_aged("a.log", b"1\n2\n3\n", 30);
    rig.put_aged("b.log", b"next\n", 20);
    let narrow = Arc::new(Narrow::new(rig.channels.clone(), 1));
    let changed = std::cell::Cell::new(false);
    rig.run_with(narrow.clone(), |rig| {
        if !changed.get() && rig.bodies(1) == ["1"] {
            let mut file = fs::File::options().append(true).open(rig.path("a.log")).unwrap();
            file.write_all(b"4\n").unwrap();
            changed.set(true);
            narrow.give(100);
        }
        rig.path("b.log.COMPLETED").exists()
    });
    assert_eq!(rig.names(""), ["a.log.FAILED", "b.log.COMPLETED"]);
    assert_eq!(rig.counted("file_set_aside"), 1);
    assert_eq!(rig.bodies(0).last().unwrap(), "next");
}

#[test]
fn a_file_that_changes_between_two_runs_is_set_aside() {
    for tracking in ["rename", "position"] {
        let rig = Rig::new(&json!({ "batch_events": 1, "tracking_policy": tracking }));
        rig.put("a.log", b"1\n2\n3\n");
        let narrow = Arc::new(Narrow::new(rig.channels.clone(), 1));
        rig.run_with(narrow, |rig| rig.bodies(1) == ["1"]);
        rig.put("a.log", b"other\n");
        rig.put("b.log", b"next\n");
        rig.run_until(|rig| rig.counted("file_set_aside") > 0 && rig.bodies(1).len() == 2);
        assert_eq!(rig.bodies(0), ["1", "next"], "{tracking}");
        assert_eq!(rig.path("a.log").exists(), tracking == "position");
    }
}

#[test]
fn a_broken_compressed_file_gives_its_whole_lines_and_is_set_aside() {
    // It does not compress well, so that half of the compressed file contains some lines.
    let text: String =
        (0..60_000_u64).map(|n| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    for (name, whole) in
        [("a.log.gz", gzip(&text)), ("a.log.zst", zstd(&text)), ("a.log.bz2", bzip2(&text))]
    {
        let rig = Rig::new(&json!({}));
        rig.put_aged(name, &whole[..whole.len() / 2], 30);
        rig.put("b.log", b"next");
        rig.run_until(has("b.log.COMPLETED"));
        let bodies = rig.bodies(0);
        let (next, lines) = bodies.split_last().unwrap();
        assert_eq!(next, "next");
        assert!(lines.len() > 1_000, "{name}: {}", lines.len());
        assert!(text.lines().take(lines.len()).eq(lines), "{name}");
        assert!(rig.path(&format!("{name}.FAILED")).exists());
        assert_eq!(rig.counted("file_set_aside"), 1);
    }
}

#[test]
fn a_text_that_begins_with_the_letters_of_bzip2_is_a_text() {
    let rig = Rig::new(&json!({}));
    rig.put("a.log", b"BZh9 is a line\nand another\n");
    rig.run_until(has("a.log.COMPLETED"));
    assert_eq!(rig.bodies(0), ["BZh9 is a line", "and another"]);
    assert_eq!(rig.counted("file_set_aside"), 0);
}

#[test]
fn bytes_that_are_no_utf8_are_treated_as_set() {
    for (policy, expected) in [
        ("keep", vec!["1", "a\u{fffd}b", "2"]),
        ("replace", vec!["1", "a\u{fffd}b", "2"]),
        ("ignore", vec!["1", "ab", "2"]),
        ("fail", vec!["1"]),
    ] {
        let rig = Rig::new(&json!({ "decode_error_policy": policy }));
        rig.put("a.log", b"1\na\xffb\n2\n");
        rig.run_until(|rig| has("a.log.COMPLETED")(rig) || has("a.log.FAILED")(rig));
        assert_eq!(rig.bodies(0), expected, "{policy}");
        assert_eq!(rig.counted("file_set_aside"), u64::from(policy == "fail"));
    }
}

#[test]
fn a_file_that_cannot_be_decoded_or_is_too_large_is_set_aside_in_whole() {
    let rig = Rig::new(&json!({ "decoder": "json", "file_max": "1KiB" }));
    rig.put_aged("a.json", b"[{\"body\": \"never\"}, {", 50);
    rig.put_aged("b.json", " ".repeat(2_000).as_bytes(), 40);
    rig.put_aged("c.json", b"", 35);
    rig.put_aged("d.json", b"[{\"body\": \"1\"}]", 30);
    rig.put("a.json.FAILED", b"of yesterday");
    rig.run_until(has("d.json.COMPLETED"));
    assert_eq!(rig.bodies(0), ["1"]);
    let names = ["a.json.2.FAILED", "a.json.FAILED", "b.json.FAILED"];
    assert_eq!(rig.names("")[..3], names);
    assert_eq!(rig.counted("file_set_aside"), 2);
}

#[test]
fn a_broken_container_file_gives_its_whole_blocks_and_is_set_aside() {
    let [plain, packed, _] = AVRO_FILES;
    let all = avro_bodies();
    let mut marker = plain.to_vec();
    *marker.last_mut().unwrap() ^= 1;
    for (name, bytes, stored) in [
        ("cut", &packed[..packed.len() - 1], 6),
        ("marker", &*marker, 6),
        ("block", &plain[..plain.len() - 200], 6),
        ("head", &plain[..100], 0),
        ("text", b"no container\n", 0),
        ("empty", b"", 0),
    ] {
        let rig = Rig::new(&json!({ "decoder": "avro", "batch_events": 4 }));
        rig.put_aged("a.avro", bytes, 30);
        rig.put("b.avro", packed);
        rig.run_until(has("b.avro.COMPLETED"));
        let expected = [&all[..stored], &all].concat();
        assert_eq!(rig.bodies(0), expected, "{name}");
        assert_eq!(rig.path("a.avro.FAILED").exists(), name != "empty", "{name}");
        assert_eq!(rig.counted("file_set_aside"), u64::from(name != "empty"), "{name}");
    }
}

#[test]
fn text_in_another_charset_is_cut_at_a_character_and_treated_as_set() {
    let long = "ab€€€€";
    let text = format!("1\n{long}\r\n€€€€\r\n2");
    for to in [u16::to_le_bytes, u16::to_be_bytes] {
        let rig = Rig::new(&json!({ "charset": "UTF-16", "line_max": "9B" }));
        rig.put("a.log", &utf16(&text, true, to));
        rig.run_until_renamed(1);
        assert_eq!(rig.bodies(0), ["1", "ab€€", "€€€€", "2"]);
        assert_eq!(rig.counted("line_cut"), 1);
    }
    // A lone surrogate, and half a code unit at the end.
    let odd = [&utf16("1\na", true, u16::to_le_bytes)[..], b"\0\xd8b\0\n\0c\0\n"].concat();
    for (policy, expected) in [
        ("keep", vec!["1", "a\u{fffd}b", "c\u{fffd}"]),
        ("ignore", vec!["1", "ab", "c"]),
        ("fail", vec!["1"]),
    ] {
        let rig = Rig::new(&json!({ "charset": "utf-16", "decode_error_policy": policy }));
        rig.put("a.log", &odd);
        rig.run_until(|rig| has("a.log.COMPLETED")(rig) || has("a.log.FAILED")(rig));
        assert_eq!(rig.bodies(0), expected, "{policy}");
        assert_eq!(rig.counted("file_set_aside"), u64::from(policy == "fail"));
    }
}

#[test]
fn a_file_that_is_read_in_whole_is_decoded_and_bytes_are_bytes() {
    let rig = Rig::new(&json!({ "decoder": "json", "charset": "UTF-16" }));
    rig.put("a.json", &utf16(r#"[{"body": "€"}]"#, true, u16::to_le_bytes));
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["€"]);
    // The policy applies to text: a decoder of bytes gets no text.
    let rig = Rig::new(&json!({ "decoder": "blob", "decode_error_policy": "fail" }));
    rig.put("a.bin", b"\xff\xfe\0");
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), [String::from_utf8_lossy(b"\xff\xfe\0")]);
}

#[test]
fn a_long_line_is_passed_over_in_any_charset() {
    let long = "€".repeat(1 << 20);
    let rig = Rig::new(&json!({ "charset": "UTF-16LE", "line_max": "100B" }));
    rig.put(
        "a.log",
        &::zstd::encode_all(&*utf16(&format!("{long}\nnext\n"), false, u16::to_le_bytes), 1)
            .unwrap(),
    );
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["€".repeat(50), "next".to_owned()]);
}
