//! Files through the whole sources `spool_dir` and `tail_dir`, and the positions that they begin
//! with: what a channel keeps, and the position file of Flume.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::{chosen, multiline};
use crate::rig::{Event, Files, without_ends};

/// Longest line, and event of several lines, where they are short.
const SHORT: &str = "48B";
/// The same where no input has a longer one.
const LONG: &str = "64KiB";
/// Batches of a life that is not stopped before it has read everything.
const ALL: usize = usize::MAX;

/// Two bytes that choose, and the content of a file, or of positions.
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

/// A file in whole, or compressed and perhaps cut off, as lines, joined lines, `json` or a `blob`.
/// It is the content that is compressed here: what a decompressor takes any bytes for is not the
/// question, and a few bytes may stand for very many.
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

/// A file that is followed, as lines or joined lines.
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

/// What a channel says of a file: any bytes. The source reads on, or from the beginning.
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

/// A position file of Flume: the source goes on there, or does not begin.
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

/// The file that positions are of.
const CONTENT: &[u8] = b"one\ntwo\nthree\nfour\nfive\n";

/// How many events were stored of that file: what follows a place in it, whatever positions say.
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

/// The events of a file, which are the same in batches of three, and over a stop after some batches
/// and another start.
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

/// Bodies of all events, end to end, without bytes at which lines end.
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
