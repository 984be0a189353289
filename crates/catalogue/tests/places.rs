//! A connector is registered in few places outside its crate, the ones that CONTRIBUTING.md names.
//!
//! Method: the code of the other crates is searched for the name of a sample connector.

#![expect(clippy::unwrap_used, reason = "every error fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source and a sink with a crate, a feature and metrics of their own.
const SAMPLE: &str = "rabbitmq";

const PLACES: [&str; 6] = [
    "Cargo.toml",
    "crates/aqueduct/Cargo.toml",
    "crates/catalogue/Cargo.toml",
    "crates/catalogue/src/lib.rs",
    "crates/collector/Cargo.toml",
    "crates/components/src/lib.rs",
];

/// Whether code of the file has the name as a word.
fn names_it(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap();
    // Classes of Flume users that a component replaces: no part of the component.
    if file.ends_with("crates/flume/src/table/foreign.rs") {
        return false;
    }
    let code = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '/']));
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric())).any(|it| it == SAMPLE)
}

/// The manifests and the code of all crates but the sample's.
fn files(root: &Path) -> Vec<PathBuf> {
    let own = format!("components-{SAMPLE}");
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap());
    let others = crates.map(|entry| entry.path());
    let others = others.filter(|path| path.is_dir() && !path.ends_with(&own));
    let mut left: Vec<PathBuf> =
        others.flat_map(|path| [path.join("src"), path.join("Cargo.toml")]).collect();
    let mut files = vec![root.join("Cargo.toml")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "rs" || it == "toml") {
            files.push(path);
        }
    }
    files
}

#[test]
fn a_connector_is_registered_in_the_places_that_contributing_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found: BTreeSet<String> = files(&root)
        .into_iter()
        .filter(|file| names_it(file))
        .map(|file| file.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    assert_eq!(found, PLACES.map(str::to_owned).into());
    let guide = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    for place in PLACES.into_iter().chain(["fuzz/src/targets", "tests/tests/system"]) {
        assert!(guide.contains(&format!("`{place}`")), "CONTRIBUTING.md does not name {place}");
    }
}
