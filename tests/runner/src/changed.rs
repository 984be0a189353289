//! Maps changed files to the tests that they concern. Pure: the caller runs git.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cargo::Package;

/// What `@core` in the paths of a test stands for.
const CORE: [&str; 28] = [
    "crates/admin",
    "crates/agent",
    "crates/channel",
    "crates/collector",
    "crates/components",
    "crates/components-files",
    "crates/components-grpc",
    "crates/components-hdfs",
    "crates/config",
    "crates/control",
    "crates/crypto",
    "crates/delivery",
    "crates/edge",
    "crates/env",
    "crates/formats",
    "crates/kit",
    "crates/ledger",
    "crates/metrics",
    "crates/peers",
    "crates/pipeline",
    "crates/program",
    "crates/proof",
    "crates/rows",
    "crates/storage",
    "crates/storage-hdfs",
    "crates/support",
    "crates/tls",
    "crates/wire",
];
/// A change of these may affect anything.
const EVERYTHING: [&str; 5] = ["Cargo.toml", "Cargo.lock", ".cargo", "vendor", "tests/runner"];

/// Returns whether a changed file concerns every crate and every test of the core.
pub(crate) fn concerns_all(changed: &[String]) -> bool {
    changed.iter().any(|file| EVERYTHING.iter().any(|path| is_below(file, path)))
}

/// Returns whether one of the changed files is below one of these paths.
pub(crate) fn concerns<'a>(changed: &[String], paths: impl Iterator<Item = &'a str>) -> bool {
    let expand = |path: &'a str| match path {
        "@core" => CORE.to_vec(),
        _ => vec![path],
    };
    paths.flat_map(expand).any(|path| changed.iter().any(|file| is_below(file, path)))
}

fn is_below(file: &str, path: &str) -> bool {
    file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the changed packages, and those that depend on them.
pub(crate) fn packages(changed: &[String], all: &[Package]) -> BTreeSet<String> {
    let folder = |package: &Package| package.folder.to_string_lossy().into_owned();
    let touched = |package: &&Package| {
        // A package in a subfolder of another one, like tests/torture, is not part of it.
        changed.iter().any(|file| {
            let owner = all.iter().filter(|it| is_below(file, &folder(it)));
            owner.max_by_key(|it| folder(it).len()).is_some_and(|it| it.name == package.name)
        })
    };
    let mut found: BTreeSet<String> =
        all.iter().filter(touched).map(|package| package.name.clone()).collect();
    loop {
        let more: Vec<String> = all
            .iter()
            .filter(|it| !found.contains(&it.name) && !it.needs.is_disjoint(&found))
            .map(|it| it.name.clone())
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Returns the system tests that use a changed helper of `tests/src`, according to their sources.
/// `helpers` and `tests` are names with sources.
pub(crate) fn users(
    changed: &[String],
    helpers: &[(String, String)],
    tests: &[(String, String)],
) -> BTreeSet<String> {
    let of = |file: &String| {
        let rest = file.strip_prefix("tests/src/")?;
        let name = rest.split('/').next()?;
        Some(name.strip_suffix(".rs").unwrap_or(name).to_owned())
    };
    let mut touched: BTreeSet<String> = changed.iter().filter_map(of).collect();
    if touched.contains("lib") {
        return tests.iter().map(|(name, _)| name.clone()).collect();
    }
    while let Some((name, _)) = helpers.iter().find(|(name, source)| {
        !touched.contains(name) && touched.iter().any(|it| names_module(source, "crate", it))
    }) {
        touched.insert(name.clone());
    }
    let uses = |source: &str| touched.iter().any(|it| names_module(source, "aqueduct_tests", it));
    tests.iter().filter(|(_, source)| uses(source)).map(|(name, _)| name.clone()).collect()
}

/// Returns whether `source` imports the module from this crate, alone or in braces.
fn names_module(source: &str, of: &str, module: &str) -> bool {
    let prefix = format!("{of}::");
    source.match_indices(&prefix).any(|(start, _)| {
        let rest = &source[start + prefix.len()..];
        let end =
            if rest.starts_with('{') { rest.find('}') } else { rest.find([':', ';', ',', ' ']) };
        let words = rest[..end.unwrap_or(rest.len())]
            .split(|it: char| !(it.is_alphanumeric() || it == '_'));
        words.into_iter().any(|word| word == module)
    })
}

/// Returns the name of the system test that contains a changed file.
pub(crate) fn own_test(file: &str) -> Option<&str> {
    let path = Path::new(file).strip_prefix("tests/tests/system").ok()?;
    let first = path.components().next()?.as_os_str().to_str()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, folder: &str, needs: &[&str]) -> Package {
        let needs = needs.iter().map(|&it| it.to_owned()).collect();
        Package { name: name.to_owned(), folder: folder.into(), needs, ..Package::default() }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn finds_changed_packages_and_those_built_on_them() {
        let all = [
            package("wire", "crates/wire", &[]),
            package("agent", "crates/agent", &["wire"]),
            package("edge", "crates/edge", &["agent"]),
            package("sql", "crates/sql", &[]),
            package("tests", "tests", &[]),
            package("torture", "tests/torture", &["tests"]),
        ];
        let found =
            packages(&owned(&["crates/wire/src/lib.rs", "tests/torture/src/main.rs"]), &all);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["agent", "edge", "torture", "wire"]);
    }

    #[test]
    fn matches_whole_names_of_paths_and_the_core() {
        let changed = owned(&["crates/components-kafka/src/lib.rs"]);
        assert!(!concerns(&changed, ["crates/components"].into_iter()));
        assert!(concerns(&changed, ["docs", "crates/components-kafka"].into_iter()));
        assert!(concerns(&owned(&["crates/wire/src/lib.rs"]), ["@core"].into_iter()));
        assert!(concerns_all(&owned(&["Cargo.lock"])) && !concerns_all(&changed));
        assert_eq!(own_test("tests/tests/system/kafka/cuts.rs"), Some("kafka"));
        assert_eq!(own_test("tests/src/kafka.rs"), None);
    }

    #[test]
    fn finds_users_of_helpers_through_other_helpers() {
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let helpers = [pair("hdfs", "use crate::http;"), pair("http", "")];
        let tests = [
            pair("nginx", "use aqueduct_tests::hdfs::Hdfs;"),
            pair("nats", "use aqueduct_tests::{wait, site};"),
            pair("files", "use aqueduct_tests::{http, wait};"),
        ];
        let found = users(&owned(&["tests/src/http.rs"]), &helpers, &tests);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["files", "nginx"]);
    }
}
