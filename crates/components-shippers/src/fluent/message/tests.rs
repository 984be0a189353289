//! Each mode of the protocol yields the same events; an invalid message has a reason.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::Batch;
use rmp::encode as write;

use super::*;

/// Returns an `EventTime` and the record `{"log": "line N"}`, in an array if they are an entry.
fn event(number: u32, is_entry: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if is_entry {
        write::write_array_len(&mut out, 2).unwrap();
    }
    write::write_ext_meta(&mut out, 8, 0).unwrap();
    out.extend_from_slice(&(1_700_000_000 + number).to_be_bytes());
    out.extend_from_slice(&5_999_999_u32.to_be_bytes());
    write::write_map_len(&mut out, 1).unwrap();
    write::write_str(&mut out, "log").unwrap();
    write::write_str(&mut out, &format!("line {number}")).unwrap();
    out
}

fn entries() -> Vec<u8> {
    (0..3).flat_map(|number| event(number, true)).collect()
}

/// Returns a message of a tag, these bytes, and options.
fn with(carried: &[u8], values: u32, options: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    write::write_array_len(&mut out, 1 + values + u32::from(!options.is_empty())).unwrap();
    write::write_str(&mut out, "web.access").unwrap();
    out.extend_from_slice(carried);
    if !options.is_empty() {
        write::write_map_len(&mut out, options.len() as u32 + 1).unwrap();
        write::write_str(&mut out, "size").unwrap();
        write::write_uint(&mut out, 3).unwrap();
        for (name, value) in options {
            write::write_str(&mut out, name).unwrap();
            write::write_str(&mut out, value).unwrap();
        }
    }
    out
}

fn packed(bytes: &[u8], is_text: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if is_text {
        write::write_str_len(&mut out, bytes.len() as u32).unwrap();
        out.extend_from_slice(bytes);
    } else {
        write::write_bin(&mut out, bytes).unwrap();
    }
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A message with its events.
#[derive(Debug)]
struct Whole {
    batch: Batch,
    chunk: Option<Chunk>,
}

fn read(bytes: &[u8]) -> Result<Option<Whole>, Problem> {
    let mapping = Mapping::new("fluent", Some("log".into()), &BTreeMap::new()).unwrap();
    let rules = Rules { mapping: &mapping, message_max: 10_000, body_max: usize::MAX };
    let mut events = BatchBuilder::default();
    let read = message(bytes, &rules, &mut events)?;
    let whole = |Message { chunk, .. }| Whole { batch: events.finish(), chunk };
    Ok(read.map(whole))
}

fn shown(message: &Whole) -> Vec<(String, String)> {
    let events = message.batch.iter().map(|event| {
        assert_eq!(event.header("fluent.tag"), Some("web.access"));
        let body = String::from_utf8(event.body().to_vec()).unwrap();
        (body, event.header("timestamp").unwrap().to_owned())
    });
    events.collect()
}

#[test]
fn each_mode_gives_the_same_events() {
    let several = [&[0x93][..], &entries()].concat();
    let halves = [gzip(&event(0, true)), gzip(&[event(1, true), event(2, true)].concat())].concat();
    let chunk = ("chunk", "p8n9gmxTQVC8/nh2wlKKeQ==");
    for (message, has_chunk) in [
        (with(&several, 1, &[]), false),
        (with(&several, 1, &[chunk]), true),
        (with(&packed(&entries(), false), 1, &[chunk]), true),
        (with(&packed(&entries(), true), 1, &[]), false),
        (with(&packed(&halves, false), 1, &[("compressed", "gzip"), chunk]), true),
    ] {
        let message = read(&message).unwrap().unwrap();
        let expected = [0, 1, 2].map(|n| (format!("line {n}"), format!("170000000{n}005")));
        assert_eq!(shown(&message), expected);
        assert_eq!(message.chunk, has_chunk.then(|| Chunk(chunk.1.into())));
    }
    let one = read(&with(&event(1, false), 2, &[chunk])).unwrap().unwrap();
    assert_eq!(shown(&one), [("line 1".to_owned(), "1700000001005".to_owned())]);
    assert_eq!(one.chunk, Some(Chunk(chunk.1.into())));
    assert!(read(&[0xc0]).unwrap().is_none());
}

#[test]
fn the_time_is_seconds_or_event_time_and_one_of_fluent_bit_has_company() {
    for (time, millis) in [
        (Token::Uint(7), Some(7000)),
        (Token::Int(-1), Some(-1000)),
        (Token::Float(1.5), Some(1500)),
        (Token::Extension(0, &[0, 0, 0, 1, 0, 15, 66, 64]), Some(1001)),
        (Token::Extension(1, &[0; 8]), None),
        (Token::Uint(u64::MAX), None),
        (Token::Nil, None),
    ] {
        assert_eq!(super::millis(time), millis, "{time:?}");
    }
    let entry = [0x91, 0x92, 0x92, 0x07, 0x80, 0x81, 0xa3, b'l', b'o', b'g', 0xa1, b'x'];
    let message = read(&with(&entry, 1, &[])).unwrap().unwrap();
    assert_eq!(shown(&message), [("x".to_owned(), "7000".to_owned())]);
}

#[test]
fn reports_the_problem_of_an_invalid_message() {
    let mut metrics = with(&[0x90], 1, &[("a", "b")]);
    let at = metrics.len() - 4;
    metrics.splice(at.., [&[0xad][..], b"fluent_signal", &[1]].concat());
    for (bytes, expected) in [
        (vec![0x05], "array of 2 to 4"),
        (vec![0x92, 0x01, 0x90], "must be its tag"),
        (with(&[0x91, 0x05], 1, &[]), "an entry must be"),
        (with(&[0x91, 0x92, 0x80, 0x80], 1, &[]), "the time"),
        (with(&[0x05], 1, &[]), "has a tag but no record"),
        (with(&packed(b"x", false), 1, &[("compressed", "gzip")]), "not gzip"),
        (with(&packed(b"x", false), 1, &[("compressed", "zstd")]), "known: gzip"),
        (with(&packed(&entries()[..20], false), 1, &[]), "truncated"),
        (metrics, "only logs"),
    ] {
        let error = read(&bytes).unwrap_err();
        assert!(error.contains(expected), "{expected} in {error}");
    }
    let large = gzip(&vec![0xc0; 10_001]);
    let bomb = with(&packed(&large, false), 1, &[("compressed", "gzip")]);
    assert!(read(&bomb).unwrap_err().contains("message_max"));
}

#[test]
fn the_answer_names_the_chunk() {
    let acknowledgement = Chunk(b"abc".to_vec()).acknowledgement();
    assert_eq!(acknowledgement, *b"\x81\xa3ack\xa3abc");
}
