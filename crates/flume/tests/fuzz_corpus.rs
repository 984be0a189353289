//! The fuzz target `properties` (`fuzz/`) on its corpus, with the compiler that ships: no panic.

#![expect(clippy::disallowed_methods, reason = "the corpus is real files")]

use std::path::Path;

#[test]
fn the_corpus_is_read_without_a_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/properties");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        aqueduct_flume::fuzzed(&std::fs::read(entry.unwrap().path()).unwrap());
        read += 1;
    }
    assert!(read >= 10, "the corpus is there: {read}");
}
