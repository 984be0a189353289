//! Goal: the output equals that of Hadoop's own writer for the same records.
//!
//! Method: comparison with files that Hadoop 3.4.1 wrote (`tests/golden/sequence_file`, by the Java
//! program there). Without compression they are equal byte for byte, except for the sync marker.
//! With compression, a strict reader parses both: the same header, the same blocks with the same
//! records, the same parts after decompression.

use std::io::Read;

use bytes::Buf;
use flate2::read::ZlibDecoder;
use pipeline::{Batch, BatchBuilder};
use serde_json::{Value, json};

use super::super::testkit::{encoder, file};
use super::*;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/sequence_file/",
            $name,
            ".seq"
        ))
    };
}

/// Returns the records of the Java program, in batches of 7.
fn batches(records: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::default();
    for number in 0..records {
        let body: Vec<u8> = (0..number % 200).map(|at| b'a' + ((number + at) % 26) as u8).collect();
        let time = (1_700_000_000_000 + number).to_string();
        builder.push(&body, &[("host", "web-1"), ("timestamp", &time)]);
        if number % 7 == 6 {
            batches.push(mem::take(&mut builder).finish());
        }
    }
    batches.push(builder.finish());
    batches
}

/// Returns the end of the header, including the sync marker.
fn head_end(bytes: &[u8]) -> usize {
    let mut at = 4;
    for _ in 0..2 {
        at += 1 + usize::from(bytes[at]);
    }
    let is_compressed = bytes[at] == 1;
    at += 2;
    if is_compressed {
        at += 1 + usize::from(bytes[at]);
    }
    at + 4 + 16
}

/// Replaces the sync marker of a file by zeros.
fn without_marker(bytes: &[u8]) -> Vec<u8> {
    let end = head_end(bytes);
    let marker = &bytes[end - 16..end];
    let mut plain = bytes.to_vec();
    let starts: Vec<usize> =
        (0..=bytes.len() - 16).filter(|&at| &bytes[at..at + 16] == marker).collect();
    for at in starts {
        plain[at..at + 16].fill(0);
    }
    plain
}

/// Reads a number like Hadoop's `WritableUtils.readVInt`.
fn vint(bytes: &mut &[u8]) -> usize {
    match bytes.get_i8() {
        first @ 0.. => first as usize,
        first => {
            let count = (-112 - i32::from(first)) as usize;
            (0..count).fold(0, |number, _| number << 8 | usize::from(bytes.get_u8()))
        }
    }
}

fn split<'a>(bytes: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    taken
}

fn inflated(compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    ZlibDecoder::new(compressed).read_to_end(&mut plain).unwrap();
    plain
}

fn unsnapped(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !bytes.is_empty() {
        let (_, length) = (bytes.get_u32(), bytes.get_u32() as usize);
        plain.extend(snap::raw::Decoder::new().decompress_vec(split(&mut bytes, length)).unwrap());
    }
    plain
}

/// Returns the blocks of a file: the number of records, and the four parts, decompressed.
fn blocks(bytes: &[u8], plain: fn(&[u8]) -> Vec<u8>) -> Vec<(usize, Vec<Vec<u8>>)> {
    let end = head_end(bytes);
    let (marker, mut rest) = (&bytes[end - 16..end], &bytes[end..]);
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        assert_eq!(split(&mut rest, 4), SYNC_ESCAPE);
        assert_eq!(split(&mut rest, 16), marker);
        let records = vint(&mut rest);
        let parts = (0..4).map(|_| {
            let length = vint(&mut rest);
            plain(split(&mut rest, length))
        });
        blocks.push((records, parts.collect()));
    }
    blocks
}

/// Returns the records of a file of compressed values: key and value, decompressed.
fn records(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut rest = &bytes[head_end(bytes)..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (length, key) = (rest.get_u32() as usize, rest.get_u32());
        assert_eq!(key, 8);
        records.push((rest.get_u64(), inflated(split(&mut rest, length - 8))));
    }
    records
}

fn settings(format: &str, compression: &str, codec: &str) -> Value {
    json!({
        "type": "sequence_file", "write_format": format, "compression": compression,
        "codec": codec, "block_size": "8KiB",
    })
}

#[test]
fn plain_files_are_those_of_hadoops_writer_but_for_the_marker() {
    for (format, count, golden) in
        [("writable", 1_100, &golden!("writable-none")[..]), ("text", 200, golden!("text-none"))]
    {
        let ours = file(&settings(format, "none", "deflate"), &batches(count));
        let (ours, golden) = (without_marker(&ours), without_marker(golden));
        assert_eq!(ours.len(), golden.len(), "{format}");
        let differs = ours.iter().zip(&golden).position(|(our, golden)| our != golden);
        assert_eq!(differs, None, "{format}: the first byte that differs");
    }
}

#[test]
fn compressed_values_are_those_of_hadoops_writer() {
    for (format, golden) in
        [("writable", &golden!("writable-record")[..]), ("text", golden!("text-record"))]
    {
        let ours = file(&settings(format, "record", "deflate"), &batches(200));
        let end = head_end(golden);
        assert_eq!(ours[..end - 16], golden[..end - 16], "{format}: header");
        assert_eq!(records(&ours), records(golden), "{format}");
        assert_eq!(records(&ours).len(), 200);
    }
}

#[test]
fn blocks_are_those_of_hadoops_writer() {
    for (format, codec, plain, golden) in [
        ("writable", "deflate", inflated as fn(&[u8]) -> _, &golden!("writable-block")[..]),
        ("text", "deflate", inflated, golden!("text-block")),
        ("writable", "snappy", unsnapped, golden!("writable-block-snappy")),
    ] {
        let ours = file(&settings(format, "block", codec), &batches(200));
        let end = head_end(golden);
        assert_eq!(ours[..end - 16], golden[..end - 16], "{format}: header");
        let read = blocks(&ours, plain);
        assert_eq!(read, blocks(golden, plain), "{format} {codec}");
        assert_eq!((read.len(), read.iter().map(|block| block.0).sum::<usize>()), (3, 200));
    }
}

#[test]
fn a_file_without_events_is_a_header() {
    for compression in ["none", "record", "block"] {
        let bytes = file(&settings("writable", compression, "gzip"), &[]);
        assert_eq!(bytes.len(), head_end(&bytes), "{compression}");
    }
}

#[test]
fn numbers_of_hadoop_keep_their_limits() {
    for (number, expected) in [
        (0, &[0][..]),
        (127, &[127]),
        (128, &[0x8f, 0x80]),
        (255, &[0x8f, 0xff]),
        (256, &[0x8e, 1, 0]),
        (0x7fff_ffff, &[0x8c, 0x7f, 0xff, 0xff, 0xff]),
    ] {
        let mut bytes = Vec::new();
        put_vint(&mut bytes, number);
        assert_eq!(bytes, expected, "{number}");
        assert_eq!(vint(&mut &bytes[..]), number);
    }
}

#[test]
fn a_time_that_is_no_number_is_unwritable_and_a_missing_one_is_now() {
    let encoder = encoder(&json!("sequence_file"));
    let mut builder = BatchBuilder::default();
    builder.push(b"a", &[("timestamp", "-5")]);
    builder.push(b"b", &[("timestamp", "today")]);
    builder.push(b"c", &[]);
    let events = builder.finish();
    let unwritable: Vec<usize> = encoder.unwritable(&events).iter().map(|it| it.index).collect();
    assert_eq!(unwritable, [1]);

    let now = || jiff::Timestamp::now().as_millisecond();
    let before = now();
    let bytes = file(&json!("sequence_file"), &[Batch::of(["c"])]);
    let mut key = &bytes[head_end(&bytes) + 8..];
    assert!((before..=now()).contains(&key.get_i64()));
}

#[test]
fn incompressible_events_stay_within_the_bound() {
    let mut state = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..length).map(|_| byte()).collect()
    };
    let batches: Vec<Batch> =
        (0..40).map(|n| Batch::of((0..20).map(|_| noise(n * 97)).collect::<Vec<_>>())).collect();
    let bodies: u64 = batches.iter().map(|batch| batch.body_bytes()).sum();
    for compression in ["record", "block"] {
        for codec in ["deflate", "gzip", "snappy", "lz4", "zstd"] {
            let bytes = file(&settings("writable", compression, codec), &batches);
            assert!(bytes.len() as u64 > bodies, "{compression} {codec}: nothing to look at");
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for (settings, problem) in [
        (json!({ "type": "sequence_file", "codec": "none" }), "Hadoop has no class for `none`"),
        (json!({ "type": "sequence_file", "block_size": "513KiB" }), "to 512KiB"),
    ] {
        let choice = pipeline::Settings::from_json(&settings);
        let choice = choice.read::<Choice<dyn Encoder>>().unwrap();
        let cx = crate::alone("out", std::path::Path::new("unused"), env::real());
        let error = choice.build("encoder", &cx).err().unwrap().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
