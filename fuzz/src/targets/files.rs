//! Files in the sources `spool_dir` and `tail_dir`, and their initial positions: from a channel,
//! and from Flume's position file.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{chosen, multiline};
use crate::rig::{Event, Files, without_ends};

/// Maximum length of lines and multi-line events, in short variants.
const SHORT: &str = "48B";
/// Longer than any input.
const LONG: &str = "64KiB";
/// Number of batches of a run that reads everything.
const ALL: usize = usize::MAX;

/// Two selector bytes, and the content of a file, or of positions.
pub(super) fn files(input: &[u8]) -> usize {
    let (choice, rest) = chosen(input);
    let (stop, content) = chosen(rest);
    match choice % 4 {
        0 => spooled(choice, stop, content),
        1 => tailed(choice, stop, content),
        2 => stored_positions(choice, content),
        _ => flume_positions(content),
    }
}

/// A file, plain or compressed and maybe truncated, as lines, joined lines, `json` or a `blob`.
/// Compresses the content here, because the decompressor itself is not under test, and a few bytes
/// may expand to very many.
fn spooled(choice: usize, stop: usize, content: &[u8]) -> usize {
    let decoder = ["lines", "lines", "json", "blob"][choice / 4 % 4];
    let policy = ["keep", "replace", "ignore", "fail"][choice / 16 % 4];
    let is_joined = decoder == "lines" && choice & 4 == 4;
    let is_short = choice & 64 == 64;
    let compression = match choice & 128 {
        0 => "none",
        _ if stop & 1 == 0 => "gzip",
        _ => "zstd",
    };
    let mut bytes = compressed(compression, content);
    let is_whole = compression == "none" || stop & 2 == 0;
    if !is_whole {
        bytes.truncate(bytes.len() * 3 / 4);
    }
    let mut settings = json!({
        "directory": "/d", "settle": "0s",
        "decoder": decoder, "decode_error_policy": policy, "file_max": LONG,
        "compression": compression, "line_max": if is_short { SHORT } else { LONG },
    });
    if is_joined {
        settings["multiline"] = multiline(if is_short { SHORT } else { LONG });
    }
    let events = in_two_lives("spool_dir", &settings, stop / 4, &bytes);
    if decoder == "lines" && policy == "keep" && !is_short && is_whole {
        assert_eq!(text(&events), without_ends(content), "every byte is stored");
    }
    events.len()
}

/// A followed file, as lines or joined lines.
fn tailed(choice: usize, stop: usize, content: &[u8]) -> usize {
    let is_short = choice & 8 == 8;
    let mut settings = json!({
        "paths": ["/d/*"], "file_header": false, "line_max": if is_short { SHORT } else { LONG },
        "batch_bytes": if choice & 16 == 16 { "100B" } else { LONG },
    });
    if choice & 4 == 4 {
        settings["multiline"] = multiline(if is_short { SHORT } else { LONG });
        settings["batch_bytes"] = json!(LONG);
    }
    let events = in_two_lives("tail_dir", &settings, stop, content);
    if !is_short {
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        assert_eq!(text(&events), without_ends(&content[..whole]), "every whole line is stored");
    }
    events.len()
}

/// An arbitrary stored position. The source continues there, or starts at the beginning.
fn stored_positions(choice: usize, value: &[u8]) -> usize {
    let key = [1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    let positions = [(Bytes::from(key), Bytes::copy_from_slice(value))];
    let files = Files::new(CONTENT, &positions);
    let (kind, settings) = match choice & 4 {
        0 => ("tail_dir", json!({ "paths": ["/d/*"], "file_header": false })),
        _ => ("spool_dir", json!({ "directory": "/d", "settle": "0s" })),
    };
    files.read(kind, &settings, ALL).expect("no position makes a source fail");
    stored_of_content(files)
}

/// A Flume position file: the source continues there, or does not open.
fn flume_positions(bytes: &[u8]) -> usize {
    let files = Files::new(CONTENT, &[]);
    files.put("/positions.json", bytes);
    let settings = json!({
        "paths": ["/d/*"], "file_header": false, "flume_positions": "/positions.json",
    });
    match files.read("tail_dir", &settings, ALL) {
        Ok(()) => stored_of_content(files),
        Err(error) => {
            assert!(error.message.contains("`flume_positions`"), "{error}");
            0
        }
    }
}

/// The file of the positions.
const CONTENT: &[u8] = b"one\ntwo\nthree\nfour\nfive\n";

/// Counts the stored events of that file: a suffix of it, whatever the positions contain.
fn stored_of_content(files: Files) -> usize {
    let events = files.events();
    let mut ended = Vec::new();
    for (body, _) in &events {
        ended.extend_from_slice(body);
        ended.push(b'\n');
    }
    assert!(
        CONTENT.ends_with(&ended),
        "the end of the file: {:?}",
        String::from_utf8_lossy(&ended)
    );
    events.len()
}

/// Returns the events of a file, which must be the same in batches of three, and with a restart
/// after some batches.
fn in_two_lives(kind: &str, settings: &Value, stop: usize, bytes: &[u8]) -> Vec<Event> {
    let mut settings = settings.clone();
    let read = |settings: &Value, lives: &[usize]| {
        let files = Files::new(bytes, &[]);
        for batches in lives {
            files.read(kind, settings, *batches).expect("no file makes a source fail");
        }
        files.events()
    };
    let at_once = read(&settings, &[ALL]);
    settings["batch_events"] = json!(3);
    let in_parts = read(&settings, &[1 + stop % 8, ALL]);
    assert_eq!(at_once, in_parts, "the same events in batches of 3, over a stop");
    at_once
}

/// Returns the concatenated bodies, without line ends.
fn text(events: &[Event]) -> Vec<u8> {
    without_ends(&events.iter().map(|(body, _)| &**body).collect::<Vec<_>>().concat())
}

fn compressed(compression: &str, content: &[u8]) -> Vec<u8> {
    match compression {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(content).expect("memory takes all");
            encoder.finish().expect("memory takes all")
        }
        "zstd" => zstd::encode_all(content, 1).expect("memory takes all"),
        _ => content.to_vec(),
    }
}
