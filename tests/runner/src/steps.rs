//! Steps that are not system tests: simulation, power cuts, fuzzing, checks of release artifacts.
//!
//! The runner starts itself as `step NAME` for each, under a supervisor.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::cargo;
use crate::head::Lane;

/// A step: when it runs, and its requirements.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Shown by `--list`.
    pub(crate) about: &'static str,
    pub(crate) lane: Lane,
    /// Programs, by the names in `programs.rs`, separated by spaces.
    pub(crate) needs: &'static str,
    pub(crate) root: bool,
    pub(crate) weight: u8,
    pub(crate) background: bool,
    pub(crate) limit_minutes: u64,
    pub(crate) exclusive: Option<&'static str>,
    /// Paths whose changes trigger it.
    pub(crate) paths: &'static str,
    /// Whether it runs programs of the build.
    pub(crate) programs: bool,
    run: fn() -> Result<(), String>,
}

/// Steps in this group do not wait for cargo's lock on the target folder.
const CARGO: Option<&str> = Some("cargo");

/// Defaults: a step of the core lane on one core.
const STEP: Step = Step {
    name: "",
    about: "",
    lane: Lane::Core,
    needs: "",
    root: false,
    weight: 1,
    background: false,
    limit_minutes: 15,
    exclusive: None,
    paths: "@core",
    programs: true,
    run: || Ok(()),
};

/// All steps, in list order.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "doc-tests",
        about: "examples in the documentation of the crates",
        exclusive: CARGO,
        paths: "crates",
        limit_minutes: 30,
        programs: false,
        run: || run(&mut cargo::command("test", &["--doc"])),
        ..STEP
    },
    Step {
        name: "no-planted-bugs",
        about: "programs that are shipped are built without planted bugs",
        weight: 0,
        paths: "Cargo.toml crates",
        programs: false,
        run: no_planted_bugs,
        ..STEP
    },
    Step {
        name: "simulation",
        about: "150 simulated clusters with faults of network, disk and clock",
        background: true,
        limit_minutes: 40,
        paths: "@core crates/sim",
        run: || run(program("aqueduct-sim").args(["--seeds", "150"])),
        ..STEP
    },
    Step {
        name: "power-cuts",
        about: "acknowledged events survive power cuts; losses by a disk that lies are detected",
        needs: "mkfs.ext4 mount",
        root: true,
        limit_minutes: 10,
        paths: "crates/channel crates/env tests/powercut",
        run: power_cuts,
        ..STEP
    },
    Step {
        name: "torture",
        about: "one round of each fault under real processes",
        needs: "mkfs.ext4 mount",
        root: true,
        limit_minutes: 20,
        paths: "@core tests/torture",
        run: || run(program("aqueduct-torture").args(["--seed", &seed()])),
        ..STEP
    },
    Step {
        name: "weakened-torture",
        about: "torture detects a program that was weakened",
        lane: Lane::All,
        needs: "mkfs.ext4 mount",
        root: true,
        paths: "tests/torture",
        // Cut responses always leave events that are stored but not acknowledged; the step ends
        // after the first round that finds some.
        run: || {
            run(program("aqueduct-torture").args([
                "--rounds",
                "25",
                "--only",
                "cut-answers",
                "--weaken",
            ]))
        },
        ..STEP
    },
    Step {
        name: "planted-bugs",
        about: "the simulation finds every planted bug",
        lane: Lane::All,
        background: true,
        limit_minutes: 60,
        paths: "crates/sim",
        run: || {
            let arguments = ["--mutants", "all", "--seeds", "600", "--until-found"];
            run(program("aqueduct-sim").args(arguments))
        },
        ..STEP
    },
    Step {
        name: "documentation",
        about: "the documentation of the crates builds without a warning",
        lane: Lane::All,
        background: true,
        limit_minutes: 30,
        exclusive: CARGO,
        paths: "crates",
        programs: false,
        run: documentation,
        ..STEP
    },
    Step {
        name: "fuzz",
        about: "any bytes into every decoder, guided by coverage",
        lane: Lane::All,
        needs: "c++",
        background: true,
        limit_minutes: 90,
        exclusive: CARGO,
        paths: "fuzz crates/wire crates/flume-channel",
        programs: false,
        run: || run(&mut Command::new("fuzz/run")),
        ..STEP
    },
    Step {
        name: "instructions",
        about: "no stage costs over 5 % more instructions per event than docs/instructions.md",
        lane: Lane::Long,
        needs: "valgrind",
        exclusive: CARGO,
        limit_minutes: 60,
        paths: "crates/count docs/instructions.md",
        programs: false,
        run: instructions,
        ..STEP
    },
    Step {
        name: "fips",
        about: "the FIPS build, compared with the default build",
        lane: Lane::Long,
        needs: "cmake go perl nm",
        exclusive: CARGO,
        limit_minutes: 90,
        paths: "tests/fips crates/crypto",
        programs: false,
        run: fips,
        ..STEP
    },
];

/// Runs the step of this name. Prints why it failed, and returns the exit code.
pub(crate) fn run_step(name: &str) -> i32 {
    let found = STEPS.iter().find(|step| step.name == name);
    let result = found.map_or_else(|| Err(format!("no step {name}")), |step| (step.run)());
    match result {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{name}: {message}");
            1
        }
    }
}

fn seed() -> String {
    env::var("AQUEDUCT_SEED").unwrap_or_else(|_| "1".to_owned())
}

/// Returns the command of a program of the build.
fn program(name: &str) -> Command {
    Command::new(PathBuf::from(env::var_os("AQUEDUCT_BIN_DIR").unwrap_or_default()).join(name))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("cannot start {command:?}: {error}")),
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok(text.into_owned())
}

/// Without the test features, so that cargo reuses the results of the lints.
fn documentation() -> Result<(), String> {
    let mut doc = Command::new("cargo");
    run(doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn no_planted_bugs() -> Result<(), String> {
    for package in ["aqueduct", "aqueduct-collector", "aqueduct-edge"] {
        let mut tree = Command::new("cargo");
        let arguments = ["--offline", "--edges", "features,normal,build", "--prefix", "none"];
        tree.arg("tree").args(arguments).args(["--package", package]);
        let text = output(&mut tree)?;
        if !text.contains(package) {
            return Err(format!("cargo tree failed: {text}"));
        }
        if let Some(line) = text.lines().find(|line| line.contains("\"mutants\"")) {
            return Err(format!("{package} is built with planted bugs: {line}"));
        }
    }
    Ok(())
}

fn power_cuts() -> Result<(), String> {
    let powercut = || program("aqueduct-powercut");
    run(powercut().args(["run", "--cuts", "20", "--seed", &seed()]))?;
    run(powercut().arg("full"))?;
    // Events that a lying disk keeps by chance are not lost: one of three cuts must lose some.
    let text = output(powercut().args(["run", "--cuts", "3", "--lie"]))?;
    match [1, 2, 3].iter().any(|count| text.contains(&format!(": {count} lost something"))) {
        true => Ok(()),
        false => Err(format!("no loss was detected although syncs did nothing:\n{text}")),
    }
}

/// Builds the shipped programs, and returns their folder.
fn release(packages: &[&str]) -> Result<PathBuf, String> {
    let mut build = Command::new("cargo");
    build.args(["build", "--release"]).env_remove("OPENSSL_NO_VENDOR");
    run(build.args(packages.iter().flat_map(|package| ["--package", package])))?;
    Ok(cargo::target().join("x86_64-unknown-linux-gnu/release"))
}

/// Build the counter together with `aqueduct`, so that both have the same features.
fn instructions() -> Result<(), String> {
    let folder = release(&["aqueduct", "aqueduct-count", "aqueduct-collector"])?;
    let mut count = Command::new(folder.join("aqueduct-count"));
    run(count.args(["--check", "docs/instructions.md"]))
}

fn fips() -> Result<(), String> {
    let folder = release(&["aqueduct", "aqueduct-count", "aqueduct-collector"])?;
    run(Command::new("tests/fips").arg(folder.join("aqueduct")))
}
