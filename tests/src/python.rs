//! Python programs, installed once from PyPI into the user's cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::flume::{cache, lock};

/// Returns the program folder of the environment `name` with these packages; installs it unless it
/// is in the cache.
///
/// # Panics
///
/// When it cannot be installed.
pub fn environment(name: &str, requirements: &str) -> PathBuf {
    let _others_wait = lock(name);
    let place = cache().join(name);
    let (programs, complete) = (place.join("bin"), place.join("complete"));
    if fs::read_to_string(&complete).is_ok_and(|installed| installed == requirements) {
        return programs;
    }
    // A folder of another version, or an incomplete one.
    let _none = fs::remove_dir_all(&place);
    let run = |command: &mut Command| {
        let done = command.output().expect("python3 runs");
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&place));
    let file = place.join("requirements.txt");
    fs::write(&file, requirements).expect("the user's cache");
    run(Command::new(programs.join("pip")).args(["install", "-q", "-r"]).arg(&file));
    fs::write(complete, requirements).expect("the user's cache");
    programs
}
