//! The reader of frames takes any bytes, also on the compiler that ships: no panic.
//!
//! Method: what the fuzz target `frames` (`fuzz/`) does, on its corpus and on random changes of it.
//! `PROPTEST_CASES=1000000` is a campaign where no fuzzer is at hand. `BLESS=1` makes the corpus
//! anew from the golden directories.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![expect(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::path::{Path, PathBuf};

use aqueduct_channel::testkit::read_segment;
use proptest::prelude::*;

const BLOCK: usize = 4096;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<_> = std::fs::read_dir(here("../../fuzz/corpus/frames"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Each group of a golden segment, to be mended: its checksums are those of another place.
fn bless() {
    let folder = here("../../fuzz/corpus/frames");
    std::fs::create_dir_all(&folder).unwrap();
    for version in ["v1", "v2"] {
        let segment = here("tests/golden").join(version).join("0000000000000000.seg");
        let bytes = std::fs::read(segment).unwrap();
        for (at, group) in bytes.chunks(BLOCK).enumerate().skip(1) {
            let end = group.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 8);
            let group = &group[..end.min(group.len())];
            std::fs::write(folder.join(format!("{version}-{at}")), [&[1], group].concat()).unwrap();
        }
        std::fs::write(folder.join(format!("{version}-all")), [&[1], &bytes[BLOCK..]].concat())
            .unwrap();
    }
}

#[test]
fn the_corpus_is_read_and_says_what_was_put() {
    if std::env::var_os("BLESS").is_some() {
        bless();
    }
    let inputs = corpus();
    assert!(inputs.len() >= 10, "the corpus is there");
    let (mut records, mut events) = (0, 0);
    for (_, input) in &inputs {
        let read = read_segment(input);
        (records, events) = (records + read.0, events + read.1);
    }
    // Were the checksums not mended, the decoders would see none of it.
    assert!(records > 20 && events > 5, "{records} records, {events} events");
}

fn changed(mut input: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: usize) -> Vec<u8> {
    for (at, byte) in changes {
        let at = at.index(input.len());
        input[at] = *byte;
    }
    input.truncate(input.len().saturating_sub(cut).max(1));
    input[0] = 1;
    input
}

proptest! {
    #[test]
    fn a_changed_corpus_is_read_without_a_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop_oneof![3 => Just(0usize), 1 => 0usize..300],
    ) {
        thread_local!(static CORPUS: Vec<(String, Vec<u8>)> = corpus());
        let input = CORPUS.with(|corpus| which.get(corpus).1.clone());
        read_segment(&changed(input, &changes, cut));
    }

    #[test]
    fn random_bytes_are_read_without_a_panic(
        input in prop::collection::vec(any::<u8>(), 0..5_000),
    ) {
        read_segment(&input);
    }
}
