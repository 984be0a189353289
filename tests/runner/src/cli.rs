//! The command line, and the parts of the repository that it refers to.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::changed;
use crate::git;
use crate::head::{self, Head};
use crate::plan::{Plan, Request, Scope};

const SYSTEM_TESTS: &str = "tests/tests/system";
const HELPERS: &str = "tests/src";

const EXAMPLES: &str = "\
Examples:
  tests/run                    the core lane: what proves the promise of the core
  tests/run --all              also connectors, Flume, containers, fuzzing, planted bugs
  tests/run --changed          what the changes of this branch concern
  tests/run --changed HEAD~3   what changed since a revision concerns
  tests/run kafka nats         two system tests
  tests/run aqueduct-channel   the tests of one crate
  tests/run --all --list       what would run, with lane, weight and needs
  AQUEDUCT_SEED=7 tests/run nginx
                               the kill times of an earlier run, which printed this seed

A failed test runs three times more, alone; if it passes each time it is listed as UNSTEADY.
With CI=true a test that cannot run is a failure; elsewhere it is listed as NOT RUN.
The exit code is 0 if every test passed, 1 if one failed, and 2 if the run could not start.";

/// Runs the tests of Aqueduct.
#[derive(Debug, Parser)]
#[command(
    name = "tests/run",
    bin_name = "tests/run",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    /// System tests, steps or packages, by name; without one, the core lane
    names: Vec<String>,
    /// Run every lane but long tests
    #[arg(long, conflicts_with_all = ["long", "changed", "names"])]
    all: bool,
    /// Run everything, with longer faults and an hour of fuzzing for each target
    #[arg(long, conflicts_with_all = ["changed", "names"])]
    pub(crate) long: bool,
    /// Run what the changes since REV concern; without REV, since the branch left origin/main
    #[arg(long, value_name = "REV", num_args = 0..=1, conflicts_with = "names")]
    changed: Option<Option<String>>,
    /// Show what would run
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the results as JUnit XML; by default to junit.xml in the target folder
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) internal: Option<Internal>,
}

/// How the runner starts itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// Runs a command, and kills everything that it leaves.
    #[command(hide = true)]
    Supervise {
        limit: u64,
        nice: i32,
        folder: String,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Runs a step.
    #[command(hide = true)]
    Step { name: String },
}

/// Returns the request of these arguments.
///
/// # Errors
///
/// When git does not list the changes, or a source cannot be read.
pub(crate) fn request(arguments: &Arguments, heads: &[Head]) -> Result<Request, String> {
    if let Some(revision) = &arguments.changed {
        let files = git::changed_files(revision.as_deref())?;
        let tests: Result<Vec<_>, String> = heads.iter().map(|it| source_of(&it.name)).collect();
        let users = changed::users(&files, &sources(Path::new(HELPERS))?, &tests?);
        return Ok(Request::Changed { files, users });
    }
    Ok(match (arguments.long, arguments.all, arguments.names.as_slice()) {
        (true, ..) => Request::Scope(Scope::Long),
        (_, true, _) => Request::Scope(Scope::All),
        (_, _, []) => Request::Scope(Scope::Core),
        (_, _, names) => Request::Names(names.to_vec()),
    })
}

/// Returns the heads of all system tests, by name.
///
/// # Errors
///
/// A file cannot be read, or the first mistake in a head. A path that does not exist is one: a
/// change of what has replaced it would not run the test.
pub(crate) fn heads() -> Result<Vec<Head>, String> {
    heads_in(Path::new("."))
}

fn heads_in(root: &Path) -> Result<Vec<Head>, String> {
    let files = rust_files(&root.join(SYSTEM_TESTS))?;
    let tests = files.iter().filter(|file| !file.ends_with("main.rs"));
    tests
        .map(|file| {
            let head = head::parse(file, &read(file)?)?;
            let mut paths = head.paths.iter().filter(|path| !path.starts_with('@'));
            match paths.find(|path| !root.join(path).exists()) {
                Some(path) => {
                    Err(format!("{}: `Paths` names {path}: no such file", file.display()))
                }
                None => Ok(head),
            }
        })
        .collect()
}

/// Returns the sources of a system test with its modules.
fn source_of(name: &str) -> Result<(String, String), String> {
    let folder = Path::new(SYSTEM_TESTS).join(name);
    let mut source = read(&folder.with_extension("rs"))?;
    if folder.is_dir() {
        source.extend(sources(&folder)?.into_iter().map(|(_, text)| text));
    }
    Ok((name.to_owned(), source))
}

/// Returns names and texts of the sources in a folder. Subfolders belong to the module of their
/// name.
fn sources(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let files = rust_files(folder)?;
    files
        .iter()
        .map(|file| {
            let mut text = read(file)?;
            let below = file.with_extension("");
            if below.is_dir() {
                text.extend(sources(&below)?.into_iter().map(|(_, text)| text));
            }
            Ok((file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), text))
        })
        .collect()
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect();
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// Formats the list of a plan.
pub(crate) fn listing(plan: &Plan) -> String {
    let mut text = format!("{:16} {:9} {:>6}  {}\n", "name", "lane", "weight", "goal [needs]");
    let mut row = |name: &str, lane: &str, weight: u8, about: &str, needs: &str, root: bool| {
        let root = if root { " root" } else { "" };
        let needs = match format!("{needs}{root}").trim() {
            "" => String::new(),
            needs => format!(" [{needs}]"),
        };
        text += &format!("{name:16} {lane:9} {weight:>6}  {about}{needs}\n");
    };
    for head in &plan.system {
        let needs = head.needs.join(" ");
        row(&head.name, head.lane.name(), head.weight, &head.goal, &needs, head.root);
    }
    for step in &plan.steps {
        row(step.name, step.lane.name(), step.weight, step.about, step.needs, step.root);
    }
    if !plan.crates.is_empty() {
        let names: Vec<&str> = plan.crates.iter().map(String::as_str).collect();
        text += &format!("\ntests of crates: {}\n", names.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
        let asked = Arguments::try_parse_from(["tests/run", "kafka", "nats"]).unwrap();
        assert_eq!(asked.names, ["kafka", "nats"]);
        let asked = Arguments::try_parse_from(["tests/run", "--changed", "HEAD~3"]).unwrap();
        assert_eq!(asked.changed, Some(Some("HEAD~3".to_owned())));
        assert!(Arguments::try_parse_from(["tests/run", "--all", "kafka"]).is_err());
    }

    #[test]
    fn every_system_test_has_a_right_head() {
        let heads = heads_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap();
        assert!(heads.len() > 60);
    }
}
