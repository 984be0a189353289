//! Go programs, compiled once into the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::flume::{cache, lock};
use crate::python::environment;

/// The compiler.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/go/requirements.txt"));

/// Returns a published program, by its module and version. Go's checksum database verifies the
/// modules.
///
/// # Panics
///
/// When it cannot be compiled.
pub fn installed(module: &str) -> PathBuf {
    let name = module.rsplit('/').next().unwrap_or(module).replace('@', "-");
    let (program, place) = (name.rsplit_once('-').expect("a version").0, cache().join(&name));
    let _others_wait = lock(&name);
    let program = place.join(program);
    if !program.exists() {
        run(go().args(["install", module]).env("GOBIN", &place));
    }
    program
}

/// Returns a test program, by the folder of its module, which contains the checksums of its
/// dependencies. Compiles it unless the cached one has the same sources.
///
/// # Panics
///
/// When it cannot be compiled.
pub fn compiled(name: &str, folder: &Path) -> PathBuf {
    let _others_wait = lock(name);
    let place = cache().join(name);
    let (program, complete) = (place.join(name), place.join("complete"));
    let source = |file| fs::read_to_string(folder.join(file)).expect("a file of the module");
    let sources = ["main.go", "go.mod", "go.sum"].map(source).concat() + REQUIREMENTS;
    if fs::read_to_string(&complete).is_ok_and(|compiled| compiled == sources) {
        return program;
    }
    fs::create_dir_all(&place).expect("the user's cache");
    // Without debug information.
    let mut build = go();
    build.args(["build", "-ldflags=-s -w", "-o"]).arg(&program).arg(".").current_dir(folder);
    run(&mut build);
    fs::write(complete, sources).expect("the user's cache");
    program
}

fn go() -> Command {
    let mut command = Command::new(environment("go", REQUIREMENTS).join("go"));
    command.env("GOFLAGS", "-modcacherw").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("the compiler runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}
