//! Builds everything once, and knows the packages and test programs of the workspace.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The same features for every build of a run, so that nothing is built twice: planted bugs, which
/// are off by default, and ODBC.
const FEATURES: &str = "aqueduct-sim/mutants,aqueduct-channel/mutants,aqueduct-catalogue/odbc,\
                        aqueduct-components-process/mutants,aqueduct-components-wasm/mutants";
/// The programs that tests start.
const PROGRAMS: [&str; 7] = [
    "aqueduct",
    "aqueduct-edge",
    "aqueduct-collector",
    "aqueduct-demo",
    "aqueduct-powercut",
    "aqueduct-torture",
    "aqueduct-sim",
];
/// The package of the system tests.
pub(crate) const SYSTEM: &str = "aqueduct-tests";

/// A package of the workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, relative to the root of the repository.
    pub(crate) folder: PathBuf,
    /// Its dependencies in the workspace.
    pub(crate) needs: BTreeSet<String>,
    pub(crate) programs: Vec<String>,
}

/// A test program.
#[derive(Debug, Clone)]
pub(crate) struct Executable {
    pub(crate) package: String,
    /// `lib`, or the name of its target.
    pub(crate) target: String,
    pub(crate) path: PathBuf,
}

/// The result of a build.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) tests: Vec<Executable>,
    /// The folder of the programs.
    pub(crate) programs: PathBuf,
}

/// What to build for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) crates: bool,
    pub(crate) system: bool,
    pub(crate) programs: bool,
}

/// `cargo NAME` for the whole workspace, with the features of all tests.
pub(crate) fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args([name, "--workspace", "--features", FEATURES]).args(arguments);
    command
}

/// The target folder.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Returns the packages of the workspace.
///
/// # Errors
///
/// When `cargo metadata` fails.
pub(crate) fn packages() -> Result<Vec<Package>, String> {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new("cargo").args(arguments).output();
    let output = output.map_err(|error| format!("cannot start cargo: {error}"))?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)))?;
    let root = PathBuf::from(text(&document["workspace_root"]));
    let packages = document["packages"].as_array().into_iter().flatten();
    Ok(packages.map(|package| read_package(package, &root)).collect())
}

fn read_package(package: &Value, root: &Path) -> Package {
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    let folder = manifest.parent().unwrap_or(root);
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let targets = package["targets"].as_array().into_iter().flatten();
    Package {
        name: text(&package["name"]),
        folder: folder.strip_prefix(root).unwrap_or(folder).to_owned(),
        needs: dependencies
            .filter(|it| it["path"].is_string())
            .map(|it| text(&it["name"]))
            .collect(),
        programs: targets.filter(|it| it["kind"][0] == "bin").map(|it| text(&it["name"])).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Builds everything wanted; cargo shows its progress on standard error.
///
/// # Errors
///
/// When the build fails.
pub(crate) fn build(wanted: Wanted, packages: &[Package]) -> Result<Built, String> {
    let mut cargo = command("build", &["--message-format=json-render-diagnostics"]);
    if wanted.crates {
        cargo.arg("--tests");
    } else if wanted.system {
        cargo.args(["--test", "system"]);
    }
    let exists = |name: &&str| packages.iter().any(|it| it.programs.iter().any(|it| it == name));
    for program in PROGRAMS.iter().filter(|name| (wanted.programs || wanted.system) && exists(name))
    {
        cargo.args(["--bin", program]);
    }
    let child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot start cargo: {error}"))?;
    let programs = target().join("x86_64-unknown-linux-gnu/debug");
    let mut built = Built { programs, ..Built::default() };
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.map_err(|error| format!("cannot read the output of cargo: {error}"))?;
        built.read(&line);
    }
    let status = child.wait().map_err(|error| format!("cannot wait for cargo: {error}"))?;
    status.success().then_some(built).ok_or_else(|| format!("the build failed: {status}"))
}

impl Built {
    fn read(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else {
            return;
        };
        let target = &message["target"];
        if message["profile"]["test"] == true {
            let is_library = target["kind"].as_array().is_some_and(|it| it.contains(&"lib".into()));
            let name = if is_library { "lib".to_owned() } else { text(&target["name"]) };
            let package = package_of(&text(&message["package_id"]));
            self.tests.push(Executable { package, target: name, path });
        } else if target["name"] == "aqueduct" {
            self.programs = path.parent().unwrap_or(&path).to_owned();
        }
    }
}

/// Returns the name in `path+file:///…/crates/wire#aqueduct-wire@0.1.0` or `…/aqueduct#0.1.0`.
fn package_of(id: &str) -> String {
    let (path, rest) = id.rsplit_once('#').unwrap_or(("", id));
    match rest.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => path.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_test_programs_and_the_folder_of_programs() {
        let mut built = Built::default();
        built.read("Compiling…");
        built.read(
            r#"{"reason":"compiler-artifact",
             "package_id":"path+file:///r/crates/wire#aqueduct-wire@0.1.0",
             "target":{"kind":["lib"],"name":"wire"},"profile":{"test":true},
             "executable":"/t/deps/wire-1"}"#,
        );
        built.read(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///r/crates/aqueduct#0.1.0",
             "target":{"kind":["bin"],"name":"aqueduct"},"profile":{"test":false},
             "executable":"/t/debug/aqueduct"}"#,
        );
        assert_eq!(built.programs, Path::new("/t/debug"));
        assert_eq!(
            (built.tests[0].package.as_str(), built.tests[0].target.as_str()),
            ("aqueduct-wire", "lib")
        );
        assert_eq!(package_of("path+file:///r/crates/aqueduct#0.1.0"), "aqueduct");
    }
}
