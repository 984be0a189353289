//! What a client of the Avro source sends may be any bytes, also on the compiler that ships: no
//! panic.
//!
//! Method: what the fuzz target `avro` (`fuzz/`) does, on its corpus and on random changes of it.
//! `PROPTEST_CASES=1000000` is a campaign where no fuzzer is at hand. `BLESS=1` makes the corpus
//! anew: calls as Flume 1.11 was seen to send them, and calls of other clients.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![expect(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::path::{Path, PathBuf};

use aqueduct_components::avro::coding::Coding;
use aqueduct_components::avro::datum::{put_bytes, put_event, put_long};
use aqueduct_components::avro::{HASH, PROTOCOL, frame, read_all};
use proptest::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/avro")
}

fn corpus() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter_map(|digit| char::from(digit).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A client of another release, which sends its protocol; then a batch in three blocks.
fn other_client() -> Vec<u8> {
    let protocol = PROTOCOL.replace("Licensed", "Released");
    let (mut first, mut second) = (vec![7; 16], vec![0]);
    put_long(&mut first, 1);
    put_bytes(&mut first, protocol.as_bytes());
    first.extend(HASH);
    // Neither metadata nor a name: a handshake alone.
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

fn bless() {
    std::fs::create_dir_all(folder()).unwrap();
    let append = hex("00000001 00000002 0000002b 86aadae2c45474c0fe93ffd0f2350a65 00 \
         86aadae2c45474c0fe93ffd0f2350a65 02 00 00 0c617070656e64 00000009 02026b02760004 6869");
    let batch = hex("00000002 00000002 0000000d 00 16617070656e644261746368 \
         0000000d 04 02026b027600 0241 00 0242 00");
    let unknown = [&append[..12], &[9; 16], &append[28..]].concat();
    let of_flume = [append.clone(), batch].concat();
    for (name, calls) in [
        ("flume-append", append),
        ("flume-append-batch", of_flume),
        ("unknown-client", unknown),
        ("other-client", other_client()),
    ] {
        std::fs::write(folder().join(name), [&[0], &calls[..]].concat()).unwrap();
        let zlib = Coding::of_client(true, 6).encode(calls).unwrap();
        std::fs::write(folder().join(format!("{name}-deflate")), [&[1], &zlib[..]].concat())
            .unwrap();
    }
}

#[test]
fn the_corpus_is_read_and_says_what_was_sent() {
    if std::env::var_os("BLESS").is_some() {
        bless();
    }
    let corpus = corpus();
    assert!(corpus.len() >= 8, "the corpus is there");
    // 1, 3, 6 and 0 events, plain and compressed.
    assert_eq!(corpus.iter().map(|input| read_all(input)).sum::<usize>(), 20);
}

proptest! {
    #[test]
    fn a_changed_corpus_is_read_without_a_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop_oneof![3 => Just(0usize), 1 => 0usize..60],
    ) {
        thread_local!(static CORPUS: Vec<Vec<u8>> = corpus());
        let mut input = CORPUS.with(|corpus| which.get(corpus).clone());
        for (at, byte) in &changes {
            let at = at.index(input.len());
            input[at] = *byte;
        }
        input.truncate(input.len().saturating_sub(cut));
        read_all(&input);
    }

    #[test]
    fn random_bytes_are_read_without_a_panic(
        input in prop::collection::vec(any::<u8>(), 0..3_000),
    ) {
        read_all(&input);
    }
}
