//! Jobs: the commands of a plan, with their demands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cargo::{Built, Executable, Package, SYSTEM};
use crate::head::Head;
use crate::plan::Plan;
use crate::programs::{self, HDFS};
use crate::queue::Demand;
use crate::steps::Step;
use crate::supervise::OWN_PROGRAM;

/// The time limit of the tests of one crate.
const CRATE_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Factor for limits with `AQUEDUCT_LONG`.
const LONG_FACTOR: u32 = 8;
/// Crates with ignored tests, and their requirements.
const CRATE_NEEDS: [(&str, &[&str]); 5] = [
    ("aqueduct-components-hdfs", &[HDFS]),
    ("aqueduct-ledger", &[HDFS]),
    ("aqueduct-storage-hdfs", &[HDFS]),
    ("aqueduct-storage-objects", &["python3", "openssl"]),
    ("aqueduct-storage-webhdfs", &[HDFS]),
];

/// A command that runs once.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) demand: Demand,
    pub(crate) needs: Vec<String>,
    pub(crate) root: bool,
    pub(crate) kind: Kind,
}

/// What a job runs.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A module of the system tests.
    System,
    /// The test programs of a crate, with or without ignored tests.
    Crate { ignored: bool },
    /// A step.
    Step,
    /// A libtest program: its arguments without test names; its folder; the test names.
    Tests {
        program: PathBuf,
        folder: PathBuf,
        names: Vec<String>,
        each: bool,
        arguments: Vec<String>,
    },
}

/// Returns the jobs of a plan, not yet bound to test programs.
pub(crate) fn jobs(plan: &Plan, long: bool) -> Vec<Job> {
    let factor = if long { LONG_FACTOR } else { 1 };
    let system = plan.system.iter().map(|head| system(head, factor));
    let steps = plan.steps.iter().map(|step| of_step(step, factor));
    let crates = plan.crates.iter().map(|name| of_crate(name, plan.all_of_crates));
    system.chain(steps).chain(crates).collect()
}

fn system(head: &Head, factor: u32) -> Job {
    Job {
        name: head.name.clone(),
        demand: Demand {
            weight: head.weight,
            background: false,
            jvm: head.needs.iter().any(|it| matches!(it.as_str(), "java" | "javac" | "mvn")),
            exclusive: head.exclusive.clone(),
            limit: head.limit * factor,
        },
        needs: head.needs.clone(),
        root: head.root,
        kind: Kind::System,
    }
}

fn of_step(step: &Step, factor: u32) -> Job {
    Job {
        name: step.name.to_owned(),
        demand: Demand {
            weight: step.weight,
            background: step.background,
            jvm: step.name == "torture",
            exclusive: step.exclusive.map(str::to_owned),
            limit: Duration::from_secs(60 * step.limit_minutes) * factor,
        },
        needs: step.needs.split_whitespace().map(str::to_owned).collect(),
        root: step.root,
        kind: Kind::Step,
    }
}

fn of_crate(name: &str, all: bool) -> Job {
    let found = CRATE_NEEDS.iter().find(|(it, _)| *it == name).map_or(&[][..], |(_, it)| *it);
    // The core lane has HDFS and no other server.
    let ignored = all || found.iter().all(|need| *need == HDFS);
    let needs = found.iter().filter(|_| ignored).map(|&it| it.to_owned()).collect();
    Job {
        name: name.to_owned(),
        demand: Demand { weight: 1, limit: CRATE_LIMIT, ..Demand::default() },
        needs,
        root: false,
        kind: Kind::Crate { ignored },
    }
}

/// Binds the jobs to the built programs: one for each program of a crate, and for each module of
/// the system tests.
///
/// # Errors
///
/// When the program of the system tests does not list its tests, or lacks the tests of a module.
pub(crate) fn bind(
    jobs: Vec<Job>,
    built: &Built,
    packages: &[Package],
    threads: usize,
) -> Result<Vec<Job>, String> {
    let folder =
        |name: &str| packages.iter().find(|it| it.name == name).map(|it| it.folder.clone());
    let found = built.tests.iter().find(|it| it.package == SYSTEM && it.target == "system");
    let modules = match (jobs.iter().any(|job| matches!(job.kind, Kind::System)), found) {
        (true, Some(program)) => modules(&program.path)?,
        (true, None) => return Err("the build has no program with the system tests".to_owned()),
        (false, _) => BTreeMap::new(),
    };
    let mut bound = Vec::new();
    for job in jobs {
        match job.kind {
            Kind::Crate { ignored } => {
                let of_crate = built.tests.iter().filter(|it| it.package == job.name);
                let folder = folder(&job.name).unwrap_or_default();
                bound.extend(of_crate.map(|it| crate_program(&job, it, &folder, ignored, threads)));
            }
            Kind::System => {
                let names = modules.get(&job.name).cloned();
                let names = names
                    .ok_or_else(|| format!("tests/tests/system/{}.rs has no test", job.name))?;
                let program = found.map(|it| it.path.clone()).unwrap_or_default();
                bound.push(Job { kind: system_program(program, names), ..job });
            }
            Kind::Step | Kind::Tests { .. } => bound.push(job),
        }
    }
    Ok(bound)
}

fn crate_program(
    job: &Job,
    built: &Executable,
    folder: &Path,
    ignored: bool,
    threads: usize,
) -> Job {
    let mut arguments = vec!["--test-threads".to_owned(), threads.to_string()];
    arguments.extend(ignored.then(|| "--include-ignored".to_owned()));
    let (program, folder) = (built.path.clone(), folder.to_owned());
    let kind = Kind::Tests { program, folder, names: Vec::new(), each: false, arguments };
    Job { name: format!("{}/{}", job.name, built.target), kind, ..job.clone() }
}

fn system_program(program: PathBuf, names: Vec<String>) -> Kind {
    let arguments = ["--exact", "--include-ignored", "--test-threads", "1", "--nocapture"];
    let arguments = arguments.map(str::to_owned).into();
    Kind::Tests { program, folder: PathBuf::from("tests"), names, each: true, arguments }
}

/// Returns the names of a program's tests by their first module.
fn modules(program: &Path) -> Result<BTreeMap<String, Vec<String>>, String> {
    let output = Command::new(program).args(["--list", "--format", "terse"]).output();
    let output = output.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(name) = line.strip_suffix(": test")
            && let Some((module, _)) = name.split_once("::")
        {
            modules.entry(module.to_owned()).or_default().push(name.to_owned());
        }
    }
    Ok(modules)
}

impl Job {
    /// Returns whether it needs the shared HDFS.
    pub(crate) fn wants_hdfs(&self) -> bool {
        self.needs.iter().any(|need| need == HDFS)
    }

    /// Returns why it cannot run on this machine.
    pub(crate) fn obstacle(&self) -> Option<String> {
        programs::obstacle(&self.needs, self.root)
    }

    /// Returns the job without ignored tests; `None` if nothing is left.
    pub(crate) fn without_ignored(self) -> Option<Self> {
        let kind = Kind::Crate { ignored: false };
        matches!(self.kind, Kind::Crate { .. }).then(|| Self { kind, needs: Vec::new(), ..self })
    }

    /// Returns whether each test has its own line in the output.
    pub(crate) fn shows_each(&self) -> bool {
        matches!(self.kind, Kind::Tests { each: true, .. })
    }

    /// Returns the program, its arguments and its working folder.
    pub(crate) fn command(&self) -> (PathBuf, Vec<String>, PathBuf) {
        match &self.kind {
            Kind::Tests { program, folder, names, arguments, .. } => {
                let arguments = arguments.iter().chain(names).cloned().collect();
                (program.clone(), arguments, folder.clone())
            }
            _ => (
                PathBuf::from(OWN_PROGRAM),
                vec!["step".to_owned(), self.name.clone()],
                PathBuf::from("."),
            ),
        }
    }

    /// Returns a job for one of its tests, with output; `None` for a step.
    pub(crate) fn again(&self, name: &str) -> Option<Self> {
        match &self.kind {
            Kind::Tests { program, folder, each, .. } => {
                let Kind::Tests { arguments, .. } = system_program(program.clone(), Vec::new())
                else {
                    return None;
                };
                let (program, folder, names) =
                    (program.clone(), folder.clone(), vec![name.to_owned()]);
                let kind = Kind::Tests { program, folder, names, each: *each, arguments };
                Some(Self { kind, ..self.clone() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_runs_again_by_its_exact_name() {
        let built = Executable { package: "p".into(), target: "lib".into(), path: "/t/p".into() };
        let job = crate_program(&of_crate("p", true), &built, Path::new("crates/p"), true, 2);
        assert_eq!(job.command().1, ["--test-threads", "2", "--include-ignored"]);
        let again = job.again("a::b").unwrap();
        assert_eq!(
            again.command().1,
            ["--exact", "--include-ignored", "--test-threads", "1", "--nocapture", "a::b"]
        );
        assert_eq!((again.name.as_str(), again.command().2), ("p/lib", PathBuf::from("crates/p")));
    }

    #[test]
    fn object_stores_run_with_their_servers_only_where_everything_runs() {
        let name = "aqueduct-storage-objects";
        let (core, all) = (of_crate(name, false), of_crate(name, true));
        assert!(matches!(core.kind, Kind::Crate { ignored: false }) && core.needs.is_empty());
        assert!(all.needs.contains(&"python3".to_owned()));
    }
}
