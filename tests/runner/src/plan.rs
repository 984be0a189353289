//! Selects what runs: system tests, steps and the tests of crates. Pure.

use std::collections::BTreeSet;

use crate::cargo::{Package, SYSTEM, Wanted};
use crate::changed;
use crate::head::{Head, Lane};
use crate::steps::{STEPS, Step};

/// The lanes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The core lane.
    Core,
    /// Everything but long tests.
    All,
    /// Everything.
    Long,
}

impl Scope {
    fn includes(self, lane: Lane) -> bool {
        match self {
            Self::Core => lane == Lane::Core,
            Self::All => lane != Lane::Long,
            Self::Long => true,
        }
    }
}

/// What the user requested.
#[derive(Debug)]
pub(crate) enum Request {
    Scope(Scope),
    /// Names of system tests, steps and packages.
    Names(Vec<String>),
    /// Changed files, and the system tests that use changed helpers.
    Changed {
        files: Vec<String>,
        users: BTreeSet<String>,
    },
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) system: Vec<Head>,
    pub(crate) steps: Vec<&'static Step>,
    /// Packages whose tests run.
    pub(crate) crates: BTreeSet<String>,
    /// Whether to run tests of crates that need more than HDFS.
    pub(crate) all_of_crates: bool,
}

/// Selects from everything that exists.
///
/// # Errors
///
/// An unknown name, with the closest known names.
pub(crate) fn plan(
    request: &Request,
    heads: &[Head],
    packages: &[Package],
) -> Result<Plan, String> {
    let testable = || packages.iter().map(|it| it.name.clone()).filter(|name| name != SYSTEM);
    match request {
        Request::Scope(scope) => Ok(Plan {
            system: heads.iter().filter(|head| scope.includes(head.lane)).cloned().collect(),
            steps: STEPS.iter().filter(|step| scope.includes(step.lane)).collect(),
            crates: testable().collect(),
            all_of_crates: *scope != Scope::Core,
        }),
        Request::Names(names) => {
            let steps = STEPS.iter().map(|step| step.name.to_owned());
            let known: Vec<String> =
                heads.iter().map(|head| head.name.clone()).chain(steps).chain(testable()).collect();
            if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
                return Err(no_such_name(unknown, &known));
            }
            let wanted = |name: &str| names.iter().any(|it| it == name);
            Ok(Plan {
                system: heads.iter().filter(|head| wanted(&head.name)).cloned().collect(),
                steps: STEPS.iter().filter(|step| wanted(step.name)).collect(),
                crates: testable().filter(|name| wanted(name)).collect(),
                all_of_crates: true,
            })
        }
        Request::Changed { files, users } => Ok(changed_plan(files, users, heads, packages)),
    }
}

fn changed_plan(
    files: &[String],
    users: &BTreeSet<String>,
    heads: &[Head],
    packages: &[Package],
) -> Plan {
    let all = changed::concerns_all(files);
    let own: BTreeSet<&str> = files.iter().filter_map(|file| changed::own_test(file)).collect();
    let runs = |head: &&Head| {
        (all && head.lane == Lane::Core)
            || own.contains(head.name.as_str())
            || users.contains(&head.name)
            || changed::concerns(files, head.paths.iter().map(String::as_str))
    };
    let steps = STEPS.iter().filter(|step| {
        (all && step.lane == Lane::Core) || changed::concerns(files, step.paths.split(' '))
    });
    let mut crates = changed::packages(files, packages);
    if all {
        crates.extend(packages.iter().map(|package| package.name.clone()));
    }
    crates.remove(SYSTEM);
    // A test of the lane `long` takes hours: only --long and its name start it.
    Plan {
        system: heads.iter().filter(runs).filter(|it| it.lane != Lane::Long).cloned().collect(),
        steps: steps.filter(|step| step.lane != Lane::Long).collect(),
        crates,
        all_of_crates: true,
    }
}

/// Formats the message for an unknown name.
fn no_such_name(name: &str, known: &[String]) -> String {
    let mut close: Vec<(f64, &String)> =
        known.iter().map(|it| (strsim::jaro_winkler(name, it), it)).collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0));
    let names: Vec<&str> = close.iter().take(3).map(|(_, it)| it.as_str()).collect();
    format!(
        "no system test, step or package is named `{name}`; closest: {}; `tests/run --long --list` \
         lists all",
        names.join(", ")
    )
}

impl Plan {
    /// Returns what cargo must build for it.
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            crates: !self.crates.is_empty(),
            system: !self.system.is_empty(),
            programs: self.steps.iter().any(|step| step.programs),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn head(name: &str, lane: Lane, path: &str) -> Head {
        Head {
            name: name.to_owned(),
            goal: String::new(),
            lane,
            needs: Vec::new(),
            root: false,
            weight: 1,
            limit: Duration::from_secs(60),
            exclusive: None,
            paths: vec![path.to_owned()],
        }
    }

    fn heads() -> Vec<Head> {
        vec![
            head("files", Lane::Core, "@core"),
            head("kafka", Lane::Connector, "crates/components-kafka"),
            head("edge_builds", Lane::Long, "crates/edge"),
        ]
    }

    fn packages() -> Vec<Package> {
        [("aqueduct-wire", "crates/wire"), (SYSTEM, "tests")]
            .map(|(name, folder)| Package {
                name: name.to_owned(),
                folder: folder.into(),
                ..Package::default()
            })
            .into()
    }

    fn names(plan: &Plan) -> Vec<&str> {
        let system = plan.system.iter().map(|head| head.name.as_str());
        system.chain(plan.crates.iter().map(String::as_str)).collect()
    }

    #[test]
    fn lanes_decide_what_a_run_has() {
        let of = |scope| plan(&Request::Scope(scope), &heads(), &packages()).unwrap();
        let (core, all, long) = (of(Scope::Core), of(Scope::All), of(Scope::Long));
        assert_eq!(names(&core), ["files", "aqueduct-wire"]);
        assert_eq!(names(&all), ["files", "kafka", "aqueduct-wire"]);
        assert_eq!(names(&long), ["files", "kafka", "edge_builds", "aqueduct-wire"]);
        let has = |plan: &Plan, name: &str| plan.steps.iter().any(|step| step.name == name);
        assert!(has(&core, "simulation") && !has(&core, "fuzz"));
        assert!(has(&all, "fuzz") && !has(&all, "fips") && has(&long, "fips"));
    }

    #[test]
    fn a_wrong_name_is_answered_with_close_ones() {
        let error = plan(&Request::Names(vec!["kafak".to_owned()]), &heads(), &packages());
        let error = error.unwrap_err();
        assert!(error.contains("named `kafak`; closest: kafka"), "{error}");
        let request = Request::Names(vec!["kafka".to_owned(), "fuzz".to_owned()]);
        let plan = plan(&request, &heads(), &packages()).unwrap();
        assert_eq!((names(&plan), plan.steps.len()), (vec!["kafka"], 1));
        assert_eq!(plan.wanted(), Wanted { crates: false, system: true, programs: false });
    }

    #[test]
    fn a_change_runs_what_it_concerns() {
        let of = |files: &[&str], users: &[&str]| {
            let files = files.iter().map(|&it| it.to_owned()).collect();
            let users = users.iter().map(|&it| it.to_owned()).collect();
            plan(&Request::Changed { files, users }, &heads(), &packages()).unwrap()
        };
        assert_eq!(names(&of(&["crates/components-kafka/a.rs"], &[])), ["kafka"]);
        assert_eq!(names(&of(&["crates/wire/a.rs"], &[])), ["files", "aqueduct-wire"]);
        assert_eq!(names(&of(&["tests/tests/system/kafka/cuts.rs"], &[])), ["kafka"]);
        assert_eq!(names(&of(&["tests/src/kafka.rs"], &["kafka"])), ["kafka"]);
        assert_eq!(names(&of(&["Cargo.lock"], &[])), ["files", "aqueduct-wire"]);
        assert_eq!(names(&of(&["crates/edge/a.rs"], &[])), ["files"]);
        assert_eq!(names(&of(&["README.md"], &[])), Vec::<&str>::new());
    }
}
