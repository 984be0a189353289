//! Goal: `cargo demo` stays cheap to build.
//!
//! Method: cargo lists the packages that the demo depends on, with the features of its own build.

use std::collections::BTreeSet;
use std::process::Command;

/// Most packages in the tree of the demo, build dependencies included.
const PACKAGES_MAX: usize = 220;

/// Packages that the demo must not depend on.
const HEAVY: &[&str] = &[
    "aqueduct-catalogue",
    "aqueduct-storage-hdfs",
    "aqueduct-storage-objects",
    "aqueduct-storage-webhdfs",
    "clap_complete",
    "clap_mangen",
    "hdfs-native",
    "object_store",
    "parquet",
    "ratatui",
    "rcgen",
    "rdkafka",
    "rusqlite",
];

#[test]
fn depends_on_few_packages_and_on_no_heavy_one() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", "aqueduct-demo", "-e", "normal,build", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let packages: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    for &heavy in HEAVY {
        assert!(!packages.iter().any(|(name, _)| *name == heavy), "depends on {heavy}");
    }
    assert!(packages.len() <= PACKAGES_MAX, "{} packages: {packages:#?}", packages.len());
}
