//! Kills at any moment, and failing channels: no channel loses or repeats events.

use super::rig::{AVRO_FILES, avro_bodies, build_error, bzip2, gzip, utf16, zstd};
use super::*;
use kit::testkit::narrow::Narrow;

/// Returns the lines of a file, as text.
fn lines(file: usize, count: usize) -> String {
    (0..count).map(|line| format!("{file}-{line}\n")).collect()
}

/// Kills the source repeatedly, half of the time when only one channel has a batch, and with
/// another batch size in each run; checks that both channels have `expected`.
fn survive(mut rig: Rig, mut settings: Value, expected: &[String]) {
    let is_done = |rig: &Rig| rig.names("").iter().all(|name| name.ends_with(".COMPLETED"));
    let mut lives = 0;
    while !is_done(&rig) {
        settings["batch_events"] = json!(3 + lives % 3);
        rig = rig.with(&settings);
        let before = rig.channels.events(0).len();
        if lives % 2 == 0 && before < expected.len() {
            rig.channels.refuse(1, u32::MAX);
            rig.run_until(|rig| rig.channels.events(0).len() > before);
            assert!(rig.channels.events(1).len() < rig.channels.events(0).len());
            rig.channels.refuse(1, 0);
        } else {
            // The channel that lacks a batch gets it first, and refuses once more.
            rig.channels.refuse(1, 1);
            let narrow = Arc::new(Narrow::new(rig.channels.clone(), 2));
            rig.run_with(narrow.clone(), |rig| narrow.asked() > 2 || is_done(rig));
        }
        lives += 1;
    }
    assert!(lives > 9, "{lives}");
    for channel in 0..2 {
        assert_eq!(rig.bodies(channel), expected, "channel {channel}");
    }
}

#[test]
fn reads_plain_and_gzip_lines_once_over_kills_and_refusals() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for file in 0..8 {
        let text = lines(file, 20 + file);
        expected.extend(text.lines().map(str::to_owned));
        let name = format!("{file}.log");
        let bytes = match file % 4 {
            0 => text.into_bytes(),
            1 => zstd(&text),
            2 => bzip2(&text),
            _ => gzip(&text),
        };
        rig.put_aged(&name, &bytes, 100 - file as u64);
    }
    survive(rig, json!({}), &expected);
}

#[test]
fn events_of_several_lines_are_stored_once_over_kills_and_refusals() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for file in 0..4 {
        let events: Vec<String> =
            (0..16).map(|n| format!("> {file}-{n}") + &"\n  at".repeat(n % 4)).collect();
        let text = events.join("\n") + "\n";
        let bytes = if file % 2 == 0 { text.into_bytes() } else { gzip(&text) };
        rig.put_aged(&format!("{file}.log"), &bytes, 100 - file as u64);
        expected.extend(events);
    }
    survive(rig, json!({ "multiline": { "start": "^>" } }), &expected);
}

#[test]
fn a_multiline_that_cannot_be_is_refused_by_name() {
    for (multiline, decoder, path) in [
        (json!({}), "lines", "multiline"),
        (json!({ "start": "^>" }), "json", "multiline"),
        (json!({ "start": "^>", "timeout": "5s" }), "lines", "multiline.timeout"),
        (json!({ "start": "^>", "bytes_max": "2MiB" }), "lines", "multiline.bytes_max"),
    ] {
        let settings = json!({ "directory": "/d", "multiline": multiline, "decoder": decoder });
        assert_eq!(build_error(&settings), path);
    }
    let utf16 = json!({ "start": "^>" });
    let utf16 = json!({ "directory": "/d", "multiline": utf16, "charset": "UTF-16" });
    assert_eq!(build_error(&utf16), "multiline");
}

#[test]
fn stores_events_of_whole_files_once_over_kills_and_refusals() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for file in 0..3 {
        let bodies: Vec<String> = lines(file, 20).lines().map(str::to_owned).collect();
        let events: Vec<Value> = bodies.iter().map(|body| json!({ "body": body })).collect();
        rig.put_aged(
            &format!("{file}.json"),
            json!(events).to_string().as_bytes(),
            9 - file as u64,
        );
        expected.extend(bodies);
    }
    survive(rig, json!({ "decoder": "json" }), &expected);
}

#[test]
fn the_members_of_a_compressed_file_are_read_and_a_kind_can_be_named() {
    let rig = Rig::new(&json!({}));
    let both = [gzip("1\n2"), gzip("3\n")];
    rig.put("a.log.gz", &both.concat());
    rig.run_until_renamed(1);
    assert_eq!(rig.bodies(0), ["1", "23"]);
    let rig = rig.with(&json!({ "compression": "none", "decoder": "blob" }));
    rig.put("raw.gz", &both[0]);
    rig.run_until_renamed(2);
    let last = rig.bodies(0).pop().unwrap();
    assert_eq!(last, String::from_utf8_lossy(&both[0]));
}

#[test]
fn a_killed_source_takes_up_a_file_that_was_moved_within_the_directory() {
    let rig = Rig::new(&json!({ "batch_events": 5 }));
    rig.put("a.log", lines(0, 200).as_bytes());
    let narrow = Arc::new(Narrow::new(rig.channels.clone(), 2));
    rig.run_with(narrow.clone(), |_| narrow.asked() > 2);
    assert_eq!(rig.bodies(1).len(), 10);
    fs::rename(rig.path("a.log"), rig.path("b.log")).unwrap();
    rig.run_until_renamed(1);
    let expected: Vec<String> = lines(0, 200).lines().map(str::to_owned).collect();
    assert_eq!(rig.bodies(0), expected);
}

#[test]
fn records_of_container_files_are_stored_once_over_kills_and_refusals() {
    let rig = Rig::new(&json!({}));
    let mut expected = Vec::new();
    for (number, file) in (0..).zip(AVRO_FILES.into_iter().cycle().take(9)) {
        // Every other file is also compressed as a whole.
        let file =
            if number % 2 == 0 { file.to_vec() } else { ::zstd::encode_all(file, 1).unwrap() };
        rig.put_aged(&format!("{number}.avro"), &file, 100 - number);
        expected.extend(avro_bodies());
    }
    let events = rig.channels.clone();
    survive(rig, json!({ "decoder": "avro", "basename_header": "name" }), &expected);
    for event in events.events(1) {
        assert_eq!(event.headers["flume.avro.schema.hash"], "adaeb18a83d2bf1c");
        assert!(event.headers["name"].ends_with(".avro"));
    }
}

#[test]
fn lines_in_other_charsets_are_stored_once_over_kills_and_refusals() {
    let text: String = (0..30).map(|n| format!("{n} grü\u{df} \u{1f980} 中文\r\n")).collect();
    let gbk: Vec<u8> =
        (0..30).flat_map(|n| [format!("{n} ").as_bytes(), b"\xd6\xd0\n"].concat()).collect();
    for (charset, bytes, line) in [
        ("UTF-16", utf16(&text, true, u16::to_le_bytes), "grü\u{df} \u{1f980} 中文"),
        ("UTF-16", utf16(&text, true, u16::to_be_bytes), "grü\u{df} \u{1f980} 中文"),
        ("UTF-16LE", utf16(&text, false, u16::to_le_bytes), "grü\u{df} \u{1f980} 中文"),
        ("GBK", gbk.clone(), "中"),
        ("windows-1252", gbk, "ÖÐ"),
    ] {
        let rig = Rig::new(&json!({}));
        for file in 0..3 {
            let packed =
                if file == 1 { ::zstd::encode_all(&*bytes, 1).unwrap() } else { bytes.clone() };
            rig.put_aged(&format!("{file}.log"), &packed, 9 - file);
        }
        let expected: Vec<String> = (0..90).map(|n| format!("{} {line}", n % 30)).collect();
        survive(rig, json!({ "charset": charset, "decode_error_policy": "fail" }), &expected);
    }
}

#[test]
fn another_charset_after_a_restart_reads_the_rest_of_a_file_in_it() {
    let cases: [(&str, &[u8], &[&str]); 3] = [
        ("windows-1252", b"1\n2\n\x80\n", &["2", "\u{20ac}"]),
        ("UTF-16", b"1\n2\n\x80\n", &["\u{320a}\u{800a}"]),
        // The skipped rest begins within a character.
        ("UTF-16", b"10\n2\n\x80\n", &[]),
    ];
    for (charset, bytes, expected) in cases {
        let rig = Rig::new(&json!({ "batch_events": 1 }));
        rig.put_aged("a.log", bytes, 9);
        let narrow = Arc::new(Narrow::new(rig.channels.clone(), 1));
        rig.run_with(narrow, |rig| rig.bodies(1).len() == 1);
        rig.put("b.log", b"");
        let rig = rig.with(&json!({ "charset": charset, "batch_events": 1 }));
        rig.run_until(|rig| rig.path("b.log.COMPLETED").exists());
        assert_eq!(rig.bodies(0)[1..], *expected, "{charset}");
        assert_eq!(rig.counted("file_set_aside"), u64::from(expected.is_empty()));
    }
}
