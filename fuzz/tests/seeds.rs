//! Reads every seed with the shipped compiler, without a fuzzer: the guarantees of its target hold,
//! also for mutations.
//!
//! Method: like `fuzz/run`, on the seeds in `corpus`, on random mutations of them, and on random
//! bytes. `PROPTEST_CASES=100000` is a campaign if no fuzzer is available. [`made`] creates seeds
//! from golden files and encoded ones; `BLESS=1` writes them.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
#![expect(clippy::disallowed_methods, reason = "the seeds are real files")]

mod made;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use aqueduct_fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Returns the seeds of a target, by name.
fn seeds(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let more = target.more_seeds.map(|more| folder("../..").join(more));
    let folders = [Some(folder(target.name)), more].into_iter().flatten();
    let mut seeds: Vec<_> = folders
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// The seeds of a target.
type Seeds = Vec<Vec<u8>>;

static SEEDS: LazyLock<Vec<(&Target, Seeds)>> = LazyLock::new(|| {
    let only = |target| seeds(target).into_iter().map(|(_, seed)| seed).collect();
    TARGETS.iter().map(|target| (target, only(target))).collect()
});

#[test]
fn seeds_are_what_they_are_made_of() {
    for (target, name, seed) in made::all() {
        let path = folder(target).join(name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(folder(target)).unwrap();
            std::fs::write(&path, &seed).unwrap();
        }
        let written = std::fs::read(&path).unwrap();
        assert!(written == seed, "{}: BLESS=1 makes it anew", path.display());
    }
}

/// In one thread, because memory is counted for all threads together.
#[test]
#[expect(clippy::print_stdout, reason = "a panic shows the output: which seed it was")]
fn seeds_and_changes_of_them_keep_every_promise() {
    let mut folders: Vec<_> = std::fs::read_dir(folder("")).unwrap().collect();
    folders.retain(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !TARGETS.iter().any(|target| *target.name == *name)
    });
    assert!(folders.is_empty(), "these seeds have no target: {folders:?}");
    for target in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 5, "{} has seeds", target.name);
        let found: usize = seeds
            .iter()
            .map(|(path, seed)| {
                println!("{}", path.display());
                target.check(seed)
            })
            .sum();
        let least = target.seeds_hold;
        assert!(found >= least, "{}: {found} found in the seeds, not {least}", target.name);
    }
    let persistence = FileFailurePersistence::Off;
    let mut runner = TestRunner::new(Config {
        failure_persistence: Some(Box::new(persistence)),
        ..Config::default()
    });
    runner
        .run(&changed(), |(target, input)| {
            target.check(&input);
            Ok(())
        })
        .unwrap();
}

/// A target, and a mutated, maybe truncated seed of it; or random bytes.
fn changed() -> impl Strategy<Value = (&'static Target, Vec<u8>)> {
    let index = any::<prop::sample::Index>;
    let changes = prop::collection::vec((index(), any::<u8>()), 1..12);
    let cut = prop_oneof![3 => Just(0usize), 1 => 0usize..300];
    let random = prop::collection::vec(any::<u8>(), 0..3_000);
    let random = prop_oneof![8 => Just(None), 1 => random.prop_map(Some)];
    (index(), index(), changes, cut, random).prop_map(|(target, seed, changes, cut, random)| {
        let (target, seeds) = target.get(&SEEDS);
        let mut input = random.unwrap_or_else(|| seed.get(seeds).clone());
        if !input.is_empty() {
            for (at, byte) in changes {
                let at = at.index(input.len());
                input[at] = byte;
            }
        }
        input.truncate(input.len().saturating_sub(cut).max(1));
        (*target, input)
    })
}
