//! The reader takes any bytes, also on the compiler that ships: no panic.
//!
//! Method: what the fuzz target `flume_channel` (`fuzz/`) does, on its corpus and on random changes
//! of it. `PROPTEST_CASES=1000000` is a campaign where no fuzzer is at hand. `BLESS=1` makes the
//! corpus anew from the golden channels.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![expect(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::path::{Path, PathBuf};

use aqueduct_flume_channel::fuzzed::read;
use proptest::prelude::*;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<_> = std::fs::read_dir(here("../../fuzz/corpus/flume_channel"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// The files of the golden channels, each as what it is; of long ones the beginning.
fn bless() {
    let folder = here("../../fuzz/corpus/flume_channel");
    std::fs::create_dir_all(&folder).unwrap();
    let golden = |path: &str| std::fs::read(here("tests/golden").join(path)).unwrap();
    let write = |name: &str, parts: &[&[u8]]| {
        std::fs::write(folder.join(name), parts.concat()).unwrap();
    };
    for number in 1..=3 {
        let log = golden(&format!("v2-before-1432/data{number}/log-{number}"));
        write(&format!("v2-log-{number}"), &[&[0], &log[24..]]);
    }
    for (directory, number) in [(1, 1), (2, 2), (1, 3), (2, 4), (1, 5), (2, 6)] {
        let log = golden(&format!("v3/data{directory}/log-{number}"));
        write(&format!("v3-log-{number}"), &[&[1], &log]);
    }
    let meta = golden("v3/checkpoint/checkpoint.meta");
    let length = [u8::try_from(meta.len()).unwrap()];
    write("v3-checkpoint", &[&[2], &length, &meta, &golden("v3/checkpoint/checkpoint")]);
    write("v2-checkpoint", &[&[2, 0], &golden("v2/checkpoint/checkpoint")]);
    write("v3-backup", &[&[3], &golden("v3/backup/checkpoint.snappy")]);
    write("v3-inflight", &[&[4], &golden("v3/checkpoint/inflightputs")]);
}

#[test]
fn the_corpus_is_read_and_says_what_was_put() {
    if std::env::var_os("BLESS").is_some() {
        bless();
    }
    let inputs = corpus();
    assert!(inputs.len() >= 12, "the corpus is there");
    let found: usize = inputs.iter().map(|(_, input)| read(input)).sum();
    assert!(found > 300, "{found} records and events");
}

fn changed(mut input: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: usize) -> Vec<u8> {
    for (at, byte) in changes {
        let at = at.index(input.len());
        input[at] = *byte;
    }
    input.truncate(input.len().saturating_sub(cut).max(1));
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
        read(&changed(input, &changes, cut));
    }

    #[test]
    fn random_bytes_are_read_without_a_panic(
        input in prop::collection::vec(any::<u8>(), 0..5_000),
    ) {
        read(&input);
    }
}
