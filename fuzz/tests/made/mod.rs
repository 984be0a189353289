//! Binary seeds: golden files of channels, calls of Flume's clients, data of shippers and brokers,
//! our own messages.

mod brokers;
mod rows;
mod shippers;

use std::path::Path;

use formats::avro::coding::Coding;
use formats::avro::datum::{put_bytes, put_event, put_long};
use formats::avro::{HASH, PROTOCOL, frame};
use pipeline::file_position::{Fingerprint, Position};
use pipeline::{Batch, BatchBuilder, Epoch, Floors, Identity, KeySet, Origin, Sequence};
use prost::Message;
use wire::v1::{FromReceiver, FromSender, Hello, Stored, Welcome, from_receiver, from_sender};
use wire::{Packing, keys, pack};

/// Size of a segment block.
const BLOCK: usize = 4096;

/// The target, the name and the bytes of a seed.
type Seed = (&'static str, String, Vec<u8>);

/// Returns all seeds.
pub(crate) fn all() -> Vec<Seed> {
    let own = [frames(), flume_channel(), avro(), bodies(), messages(), positions()].concat();
    [own, brokers::all(), rows::all(), shippers::all()].concat()
}

fn golden(path: &str) -> Vec<u8> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    std::fs::read(crates.join(path)).unwrap()
}

/// Returns each group of a golden segment. Their checksums, which depend on the offset, must be
/// fixed.
fn frames() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for version in ["v1", "v2"] {
        let bytes = golden(&format!("channel/tests/golden/{version}/0000000000000000.seg"));
        for (at, group) in bytes.chunks(BLOCK).enumerate().skip(1) {
            let end = group.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 8);
            let group = &group[..end.min(group.len())];
            seeds.push(("frames", format!("{version}-{at}"), [&[1], group].concat()));
        }
        seeds.push(("frames", format!("{version}-all"), [&[1], &bytes[BLOCK..]].concat()));
    }
    seeds
}

/// Returns Avro container files with each codec.
fn bodies() -> Vec<Seed> {
    let codecs = ["null", "deflate", "snappy", "zstandard", "bzip2"];
    let seed = |codec| {
        let file = golden(&format!("formats/tests/golden/avro/{codec}.avro"));
        ("bodies", format!("avro-{codec}"), [&[133], &file[..]].concat())
    };
    codecs.map(seed).to_vec()
}

/// Returns the files of golden channels, each with its type; only the start of long ones.
fn flume_channel() -> Vec<Seed> {
    let golden = |path: &str| golden(&format!("flume-channel/tests/golden/{path}"));
    let mut seeds = Vec::new();
    let mut add = |name: String, parts: &[&[u8]]| {
        seeds.push(("flume_channel", name, parts.concat()));
    };
    for number in 1..=3 {
        let log = golden(&format!("v2-before-1432/data{number}/log-{number}"));
        add(format!("v2-log-{number}"), &[&[0], &log[24..]]);
    }
    for (directory, number) in [(1, 1), (2, 2), (1, 3), (2, 4), (1, 5), (2, 6)] {
        let log = golden(&format!("v3/data{directory}/log-{number}"));
        add(format!("v3-log-{number}"), &[&[1], &log]);
    }
    let meta = golden("v3/checkpoint/checkpoint.meta");
    let length = [u8::try_from(meta.len()).unwrap()];
    let checkpoint = golden("v3/checkpoint/checkpoint");
    add("v3-checkpoint".into(), &[&[2], &length, &meta, &checkpoint]);
    add("v2-checkpoint".into(), &[&[2, 0], &golden("v2/checkpoint/checkpoint")]);
    add("v3-backup".into(), &[&[3], &golden("v3/backup/checkpoint.snappy")]);
    add("v3-inflight".into(), &[&[4], &golden("v3/checkpoint/inflightputs")]);
    seeds
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter_map(|digit| char::from(digit).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Returns the bytes of a client of another release, which sends its protocol; then a batch in
/// three blocks.
fn other_client() -> Vec<u8> {
    let protocol = PROTOCOL.replace("Licensed", "Released");
    let (mut first, mut second) = (vec![7; 16], vec![0]);
    put_long(&mut first, 1);
    put_bytes(&mut first, protocol.as_bytes());
    first.extend(HASH);
    // Neither metadata nor a name: only a handshake.
    first.extend([0, 0, 0]);
    put_bytes(&mut second, b"appendBatch");
    for n in 0..3_u8 {
        put_long(&mut second, 2);
        put_event(&mut second, &[("host", "web-1"), ("n", "\u{fc}")], &[n; 20]);
        put_event(&mut second, &[], b"");
    }
    second.push(0);
    [frame::write(1, &[&first]), frame::write(2, &[&second])].concat()
}

/// Returns calls as sent by Flume 1.11, and calls of other clients; plain and compressed.
fn avro() -> Vec<Seed> {
    let append = hex("00000001 00000002 0000002b 86aadae2c45474c0fe93ffd0f2350a65 00 \
         86aadae2c45474c0fe93ffd0f2350a65 02 00 00 0c617070656e64 00000009 02026b02760004 6869");
    let batch = hex("00000002 00000002 0000000d 00 16617070656e644261746368 \
         0000000d 04 02026b027600 0241 00 0242 00");
    let unknown = [&append[..12], &[9; 16], &append[28..]].concat();
    let of_flume = [append.clone(), batch].concat();
    let mut seeds = Vec::new();
    for (name, calls) in [
        ("flume-append", append),
        ("flume-append-batch", of_flume),
        ("unknown-client", unknown),
        ("other-client", other_client()),
    ] {
        seeds.push(("avro", name.to_owned(), [&[0], &calls[..]].concat()));
        let zlib = Coding::of_client(true, 6).encode(calls).unwrap();
        seeds.push(("avro", format!("{name}-deflate"), [&[1], &zlib[..]].concat()));
    }
    seeds
}

/// Returns messages of our own protocol, and positions, after their selector byte.
fn messages() -> Vec<Seed> {
    let key = |sequence| Identity {
        origin: Origin([7; 16]),
        epoch: Epoch(3),
        sequence: Sequence(sequence),
    };
    let set: KeySet = [key(1), key(2), key(9)].into_iter().collect();
    let mut floors = Floors::default();
    floors.raise(Origin([7; 16]), Epoch(2));
    let mut builder = BatchBuilder::default();
    for n in 0..20_u8 {
        let text = n.to_string();
        builder.push(&[n; 9], &[("host", "web-1"), ("n", &text)][..usize::from(n % 3)]);
    }
    let headers: Batch = builder.finish();
    let lines = Batch::of(["GET /", "POST /", ""]);
    let sender = |message| FromSender { message: Some(message) }.encode_to_vec();
    let receiver = |message| FromReceiver { message: Some(message) }.encode_to_vec();
    let put = |batch, packing| sender(from_sender::Message::Put(pack(key(1), batch, packing)));
    let hello = sender(from_sender::Message::Hello(Hello {
        agent: "edge-1".into(),
        features: vec!["zstd".into()],
        keys: keys::encode(&set),
        floors: keys::encode_floors(&floors),
    }));
    let welcome = receiver(from_receiver::Message::Welcome(Welcome {
        stored_keys: keys::encode(&set),
        committed_keys: keys::encode(&set),
        ..Welcome::default()
    }));
    let stored = receiver(from_receiver::Message::Stored(Stored { keys: keys::encode(&set) }));
    let position = Position {
        device: 1,
        inode: 2,
        offset: 30,
        skipping: false,
        head: Fingerprint::new(b"first"),
        tail: Fingerprint::new(b"last"),
        path: "/var/log/a.log".into(),
    };
    [
        (0, "hello", hello),
        (0, "put-plain", put(&headers, Packing::Plain)),
        (0, "put-zstd", put(&headers, Packing::Zstd(1))),
        (1, "welcome", welcome),
        (1, "stored", stored),
        (2, "batch-headers", headers.encode().to_vec()),
        (2, "batch-lines", lines.encode().to_vec()),
        (3, "keys", keys::encode(&set).to_vec()),
        (4, "floors", keys::encode_floors(&floors).to_vec()),
        (5, "position", position.encode(&position.path).to_vec()),
    ]
    .into_iter()
    .map(|(choice, name, bytes)| ("wire", name.to_owned(), [&[choice], &bytes[..]].concat()))
    .collect()
}

/// Returns positions of the file in the target `files`, of `tail_dir` and of `spool_dir`.
fn positions() -> Vec<Seed> {
    let content = b"one\ntwo\nthree\nfour\nfive\n";
    let at = |offset: usize, skipping| Position {
        device: 1,
        inode: 1,
        offset: offset as u64,
        skipping,
        head: Fingerprint::new(&content[..offset]),
        tail: Fingerprint::new(&content[..offset]),
        path: "/d/a".into(),
    };
    let tailed = |position: Position| position.encode(Path::new("/d/a")).to_vec();
    let spooled = {
        let position = Position {
            head: Fingerprint::new(content),
            tail: Fingerprint::new(b""),
            ..at(4, false)
        };
        let len = (content.len() as u64).to_le_bytes();
        [&b"S\0"[..], &len, &0_u64.to_le_bytes(), &tailed(position)].concat()
    };
    [
        (2, "position-tailed", tailed(at(4, false))),
        (2, "position-tailed-in-a-line", tailed(at(6, true))),
        (6, "position-spooled", spooled),
    ]
    .into_iter()
    .map(|(choice, name, bytes)| ("files", name.to_owned(), [&[choice, 0], &bytes[..]].concat()))
    .collect()
}
