//! Matching of patterns, and walks on real files.

#![expect(clippy::disallowed_methods, reason = "the test lays out real files")]

use std::os::unix::fs::symlink;

use super::*;

fn walked(root: &Path, pattern: &str, follow_links: bool) -> Found {
    let mut found = Found::new(follow_links);
    let pattern = Pattern::new(&format!("{}/{pattern}", root.display())).unwrap();
    pattern.walk(&*env::real().disk, |_| false, &mut found);
    found
}

fn found(root: &Path, pattern: &str) -> Vec<String> {
    let found = walked(root, pattern, true);
    let short = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    found.files.keys().map(short).collect()
}

#[test]
fn the_walk_finds_what_the_pattern_matches_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for path in ["a.log", "b.txt", "x/a.log", "x/y/c.log", "x/y/z/d.log", "w/a.log"] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    symlink(root.join("x"), root.join("link")).unwrap();
    symlink(root.join("a.log"), root.join("s.log")).unwrap();
    symlink("nowhere", root.join("broken.log")).unwrap();
    let all = ["a.log", "b.txt", "s.log", "x/a.log", "x/y/c.log", "x/y/z/d.log", "w/a.log"];
    for (pattern, expected) in [
        ("a.log", vec!["a.log"]),
        ("*.log", vec!["a.log", "s.log"]),
        ("*/a.log", vec!["link/a.log", "w/a.log", "x/a.log"]),
        ("x/**/*.log", vec!["x/a.log", "x/y/c.log", "x/y/z/d.log"]),
        ("**/d.log", vec!["x/y/z/d.log"]),
        ("x/y/**", vec!["x/y/c.log", "x/y/z/d.log"]),
        ("[bw]*/{a,b}.log", vec!["w/a.log"]),
        ("missing/*.log", vec![]),
    ] {
        assert_eq!(found(root, pattern), expected, "{pattern}");
        let absolute = Pattern::new(&format!("{}/{pattern}", root.display())).unwrap();
        for path in all.iter().chain(&expected) {
            let is_found = expected.contains(path);
            assert_eq!(absolute.matches(&root.join(path)), is_found, "{pattern}, {path}");
        }
    }
}

#[test]
fn without_links_none_is_followed_below_what_the_pattern_spells_out() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for path in ["secret", "real/a.log", "real/sub/b.log"] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    symlink(root.join("real"), root.join("link")).unwrap();
    symlink(root.join("secret"), root.join("real/s.log")).unwrap();
    symlink(root.join("real/sub"), root.join("real/subs")).unwrap();
    for (pattern, files, passed_over) in [
        ("real/*.log", vec!["real/a.log"], vec!["real/s.log"]),
        ("real/s.log", vec![], vec!["real/s.log"]),
        ("link/a.log", vec!["link/a.log"], vec![]),
        ("real/*/b.log", vec!["real/sub/b.log"], vec!["real/s.log", "real/subs"]),
        ("*/a.log", vec!["real/a.log"], vec!["link"]),
        ("*/subs/b.log", vec![], vec!["link", "real/subs"]),
    ] {
        let found = walked(root, pattern, false);
        let under = |names: &[&str]| names.iter().map(|n| root.join(n)).collect::<Vec<_>>();
        let (seen, not): (Vec<_>, Vec<_>) =
            (found.files.into_keys().collect(), found.passed_over.into_keys().collect());
        assert_eq!((seen, not), (under(&files), under(&passed_over)), "{pattern}");
    }
}

#[test]
fn explains_an_invalid_pattern() {
    for pattern in ["", "/", "/a/../b", "/{a/b,c}", "/[z"] {
        assert!(Pattern::new(pattern).is_err(), "{pattern}");
    }
    for (pattern, hint) in [
        ("~/logs/*.log", "/home/"),
        ("~app/x.log", "`~`"),
        ("${HOME}/x.log", "variable"),
        ("$HOME/x.log", "variable"),
        ("/srv/$APP/x.log", "variable"),
        ("/srv/${APP}.log", "variable"),
        ("/tmp/", "`/tmp/*.log`"),
    ] {
        let problem = Pattern::new(pattern).unwrap_err();
        assert!(problem.contains(hint), "{pattern}: {problem}");
    }
    for pattern in ["/a/b~", "/a/Outer$Inner.log", "/a/$-x.log"] {
        Pattern::new(pattern).unwrap();
    }
}

#[test]
fn exclusions_are_of_names_or_of_whole_paths() {
    let covers = |text: &str, path: &str| Exclusion::new(text).unwrap().covers(Path::new(path));
    assert!(covers("*.gz", "/var/log/a.gz") && !covers("*.gz", "/var/log.gz/a"));
    assert!(covers("/var/**/old/*", "/var/log/old/a") && !covers("/var/*", "/var/log/a"));
}
