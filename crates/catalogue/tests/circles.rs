//! Files of a crate do not import each other in large circles.
//!
//! Method: the files of each crate are read as modules, and their imports as arrows: `use` with a
//! path from `crate`, `super` or `self`, and such paths in the code. A name that a module exports
//! from its child leads to the child. That a module names its children is no arrow, and test code
//! has none. Files that lead to each other in both directions are a circle.
//!
//! ```text
//!   a.rs ── use crate::b::B ──► b.rs ── use super::c::C ──► c.rs ── use crate::a::A ──► a.rs
//! ```
//!
//! To cut a circle, move a type to the module that owns it, put shared types into a module without
//! imports, or pass a value instead of the parent.

#![expect(clippy::unwrap_used, reason = "every error fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The most files of a circle. It only gets smaller.
const FILES_MAX: usize = 4;

/// The names of a module, from the root of its crate.
type Name = Vec<String>;

/// A file, the paths that its code without comments and tests uses, and the names that it exports
/// from its children.
struct Module {
    file: String,
    used: Vec<Name>,
    exports: BTreeMap<String, Name>,
}

/// The modules of a crate.
type Modules = BTreeMap<Name, Module>;

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut left, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files
}

/// The module of a file, from its path below `src`.
fn name_of(file: &str) -> Name {
    let mut name: Name = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let last = name.last().map_or("", |it| it);
    if last == "mod" || (name.len() == 1 && matches!(last, "lib" | "main")) {
        name.pop();
    }
    name
}

/// The code without comments, up to the tests.
fn code_of(text: &str) -> String {
    let lines = text.lines().map(|line| line.find("//").map_or(line, |at| &line[..at]));
    let lines: Vec<&str> = lines.collect();
    let is_test = |at: &usize| {
        lines[*at].trim() == "#[cfg(test)]"
            && lines.get(at + 1).is_some_and(|next| next.trim_start().starts_with("mod "))
    };
    let end = (0..lines.len()).find(is_test).unwrap_or(lines.len());
    lines[..end].join("\n")
}

/// The paths of a `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(path: &str) -> Vec<Name> {
    let Some((before, after)) = path.split_once('{') else {
        let names = path.split("::").map(|it| it.split(" as ").next().unwrap_or(it).trim());
        return vec![names.filter(|it| !it.is_empty()).map(str::to_owned).collect()];
    };
    let (mut depth, mut parts) = (1, vec![String::new()]);
    for character in after.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match (character, depth) {
            (_, 0) => break,
            (',', 1) => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(character),
        }
    }
    let before = expand(before).remove(0);
    let inner = parts.iter().filter(|part| !part.trim().is_empty());
    inner.flat_map(|part| expand(part)).map(|part| [before.clone(), part].concat()).collect()
}

/// The code in two parts: the `use` statements, with whether each is public and its paths; and the
/// rest.
fn parts(code: &str) -> (Vec<(bool, Name)>, String) {
    let (mut uses, mut rest, mut done) = (Vec::new(), String::new(), 0);
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rfind('\n').map_or(0, |it| it + 1);
        let before = code[line..at].trim();
        let is_public = before == "pub" || (before.starts_with("pub(") && before.ends_with(')'));
        if at >= done && (is_public || before.is_empty()) {
            let statement = code[at + 4..].split(';').next().unwrap_or_default();
            uses.extend(expand(statement).into_iter().map(|path| (is_public, path)));
            rest.push_str(&code[done..at]);
            done = at + 4 + statement.len();
        }
    }
    rest.push_str(&code[done..]);
    (uses, rest)
}

/// Paths in code such as `super::words::count(…)`, without their last name.
fn paths(code: &str) -> Vec<Name> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_inner = |it: char| it.is_alphanumeric() || it == '_' || it == ':';
        if code[..at].ends_with(is_inner) {
            continue;
        }
        let end = code[at..].find(|it: char| !is_inner(it)).map_or(code.len(), |it| at + it);
        let mut path: Name = code[at..end].split("::").map(str::to_owned).collect();
        path.pop();
        // A name of the root itself is no module.
        if path.iter().any(|it| !matches!(&**it, "crate" | "super")) {
            found.push(path);
        }
    }
    found
}

fn modules(source: &Path) -> Modules {
    let files = files_below(source).into_iter().map(|path| {
        let file = path.strip_prefix(source).unwrap().display().to_string();
        let (uses, rest) = parts(&code_of(&fs::read_to_string(&path).unwrap()));
        (name_of(&file), file, uses, paths(&rest))
    });
    let files: Vec<_> = files.collect();
    let names: BTreeSet<Name> = files.iter().map(|(name, ..)| name.clone()).collect();
    let module = |(name, file, uses, paths): (Name, String, Vec<(bool, Name)>, Vec<Name>)| {
        let mut exports = BTreeMap::new();
        for (_, path) in uses.iter().filter(|(is_public, _)| *is_public) {
            let path = path.strip_prefix(&["self".to_owned()]).unwrap_or(path);
            let target = longest(&names, &name, path);
            if let (Some(last), true) = (path.last(), target.len() > name.len()) {
                exports.insert(last.clone(), target);
            }
        }
        let used = uses.into_iter().map(|(_, path)| path).chain(paths).collect();
        (name, Module { file, used, exports })
    };
    files.into_iter().map(module).collect()
}

/// The module that a path from `base` leads to.
fn longest(names: &BTreeSet<Name>, base: &[String], path: &[String]) -> Name {
    let mut found = base.to_vec();
    for part in path {
        found.push(part.clone());
        if !names.contains(&found) {
            found.pop();
            break;
        }
    }
    found
}

/// The arrows between the files of a crate.
fn arrows(modules: &Modules) -> BTreeMap<&str, BTreeSet<&str>> {
    let names: BTreeSet<Name> = modules.keys().cloned().collect();
    let is_test = |name: &Name| name.iter().any(|it| matches!(&**it, "tests" | "testkit"));
    let target = |from: &Name, path: &Name| {
        let (mut base, mut path) = (from.clone(), path.as_slice());
        match path.first().map_or("", |it| it) {
            "crate" => base.clear(),
            "super" | "self" => {}
            _ => return None,
        }
        while let Some((first, rest)) = path.split_first() {
            match &**first {
                "super" => drop(base.pop()),
                "crate" | "self" => {}
                _ => break,
            }
            path = rest;
        }
        let found = longest(&names, &base, path);
        let export = path.get(found.len() - base.len());
        let export = export.and_then(|it| modules.get(&found)?.exports.get(it)).cloned();
        Some(export.unwrap_or(found))
    };
    let arrows = modules.iter().filter(|(name, _)| !is_test(name)).map(|(name, module)| {
        let targets = module.used.iter().filter_map(|path| target(name, path));
        let targets = targets.filter(|found| found != name).filter_map(|it| modules.get(&it));
        (&*module.file, targets.map(|it| &*it.file).collect())
    });
    arrows.collect()
}

/// The circles: each file with all files that lead to it and that it leads to.
fn circles(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &str| {
        let (mut left, mut found) = (vec![from.to_owned()], BTreeSet::new());
        while let Some(file) = left.pop() {
            for next in arrows.get(&*file).into_iter().flatten() {
                if found.insert((*next).to_owned()) {
                    left.push((*next).to_owned());
                }
            }
        }
        found
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        arrows.keys().map(|file| (*file, reached(file))).collect();
    let circle = |file: &&str| -> BTreeSet<String> {
        let both = reached[*file]
            .iter()
            .filter(|other| reached.get(&***other).is_some_and(|back| back.contains(*file)));
        both.cloned().collect()
    };
    arrows.keys().map(circle).filter(|circle| circle.len() > FILES_MAX).collect()
}

/// The larger circles of all crates.
fn found(crates: &Path) -> BTreeSet<(String, BTreeSet<String>)> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        let modules = modules(&entry.join("src"));
        found.extend(circles(&arrows(&modules)).into_iter().map(|it| (name.clone(), it)));
    }
    found
}

#[test]
fn no_circle_of_imports_is_large() {
    let found = found(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    assert!(found.is_empty(), "more than {FILES_MAX} files import each other: {found:#?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test makes the files that it reads")]
fn a_circle_of_five_files_is_found_and_one_of_four_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("sample/src");
    fs::create_dir_all(source.join("d")).unwrap();
    let write = |file: &str, code: &str| fs::write(source.join(file), code).unwrap();
    write("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nuse a::A;\n");
    write("a.rs", "use crate::{\n    b::B,\n    std::fmt,\n};\n");
    write("b.rs", "pub(crate) use super::c::C as Other;\n");
    write("c.rs", "fn c() {\n    crate::d::e::f();\n}\n");
    write("d.rs", "pub(crate) mod e;\npub(crate) use e::E;\n// use crate::lib::X;\n");
    let test = "#[cfg(test)]\nmod tests {\n    use crate::d::X;\n}\n";
    write("d/e.rs", &format!("use super::super::a::A;\n{test}"));
    assert_eq!(found(folder.path()), BTreeSet::new(), "d.rs only names its child");
    write("d/e.rs", "use crate::a::A;\nuse super::D;\n");
    assert_eq!(found(folder.path()), BTreeSet::new(), "nothing leads from d.rs");
    write("d.rs", "pub(crate) mod e;\nuse crate::a::A;\n");
    let files = ["a.rs", "b.rs", "c.rs", "d.rs", "d/e.rs"].map(str::to_owned);
    assert_eq!(found(folder.path()), BTreeSet::from([("sample".to_owned(), files.into())]));
}
