//! Build script of the programs: `AQUEDUCT_VERSION` = version and commit, for `--version`.
//!
//! The commit is `AQUEDUCT_COMMIT` where that is set (a build without the repository), else what
//! git says, else `unknown`. Only the programs' own crates are built again after a commit.

#![expect(clippy::print_stdout, reason = "a build script speaks to cargo by printing")]

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=AQUEDUCT_COMMIT");
    let given = std::env::var("AQUEDUCT_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(from_git).unwrap_or_else(|| "unknown".into());
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    println!("cargo:rustc-env=AQUEDUCT_VERSION={version} ({commit})");
}

fn from_git() -> Option<String> {
    // Every commit and checkout adds a line here, also where HEAD itself names a branch.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if std::path::Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}
