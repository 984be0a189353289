//! Plans, runs and reports every test of the workspace. `tests/run` starts it.
//!
//! ```text
//!   heads, steps, packages ─► plan ─► jobs ─► queue ─► supervise ─► libtest ─► report, junit
//! ```
//!
//! `plan`, `changed`, `queue`, `head`, `libtest` and `junit` are pure.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program of the command line")]
#![allow(clippy::disallowed_methods, reason = "it times real processes on a real disk")]

mod cargo;
mod changed;
mod cli;
mod exec;
mod git;
mod hdfs;
mod head;
mod job;
mod junit;
mod libtest;
mod plan;
mod programs;
mod queue;
mod report;
mod steps;
mod supervise;

use std::env;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Instant;

use clap::Parser as _;

use cli::{Arguments, Internal};
use exec::Machine;
use hdfs::Hdfs;
use job::Job;
use report::{Screen, Skipped};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.internal {
        Some(Internal::Supervise { limit, nice, folder, command }) => {
            Ok(supervise::run(*limit, *nice, folder, command))
        }
        Some(Internal::Step { name }) => Ok(steps::run_step(name)),
        None => run(&arguments),
    };
    match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(message) => {
            eprintln!("tests/run: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<i32, String> {
    let started = Instant::now();
    let (heads, packages) = (cli::heads()?, cargo::packages()?);
    let plan = plan::plan(&cli::request(arguments, &heads)?, &heads, &packages)?;
    if arguments.list {
        Screen.line(&cli::listing(&plan).trim_end());
        return Ok(0);
    }
    let long = arguments.long || env::var_os("AQUEDUCT_LONG").is_some();
    let strict = env::var("CI").is_ok_and(|value| value == "true");
    let (jobs, skipped) = prepare(job::jobs(&plan, long), strict)?;
    let hdfs_child = jobs.iter().any(Job::wants_hdfs).then(|| thread::spawn(Hdfs::start));
    let built = match plan.wanted() {
        cargo::Wanted { crates: false, system: false, programs: false } => cargo::Built::default(),
        wanted => cargo::build(wanted, &packages)?,
    };
    let hdfs =
        hdfs_child.map(|it| it.join().unwrap_or_else(|_| Err("HDFS did not start".to_owned())));
    let hdfs = hdfs.transpose()?;
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let machine = machine(cores, &built, hdfs.as_ref(), long)?;
    // A test program is one of several parallel jobs.
    let jobs = job::bind(jobs, &built, &packages, cores.div_ceil(2))?;
    let mut finished = machine.run(jobs, &mut Screen);
    machine.run_again(&mut finished, &mut Screen);
    drop(hdfs);
    let cases = report::cases(&finished, &skipped);
    write_junit(arguments, &junit::report(&cases))?;
    let totals = report::totals(&cases);
    Screen.line(&report::summary(&finished, &skipped, totals, started.elapsed()));
    Ok(i32::from(totals.failed > 0))
}

/// Installs missing programs. Returns the jobs that can run, and why others cannot.
fn prepare(jobs: Vec<Job>, strict: bool) -> Result<(Vec<Job>, Vec<Skipped>), String> {
    let build = programs::BUILD.map(str::to_owned);
    let needs: Vec<String> =
        jobs.iter().flat_map(|job| job.needs.iter().cloned()).chain(build.clone()).collect();
    programs::install(&programs::missing(&needs));
    if let Some((program, package)) = programs::missing(&build).first() {
        return Err(format!("the build needs {program}; sudo apt-get install {package}"));
    }
    let (mut able, mut skipped) = (Vec::new(), Vec::new());
    for job in jobs {
        match job.obstacle() {
            None => able.push(job),
            Some(why) => {
                skipped.push((job.name.clone(), why));
                able.extend(job.without_ignored());
            }
        }
    }
    if strict && !skipped.is_empty() {
        let lines: Vec<String> =
            skipped.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        return Err(format!("CI=true, and these cannot run:\n  {}", lines.join("\n  ")));
    }
    Ok((able, skipped))
}

fn machine(
    cores: usize,
    built: &cargo::Built,
    hdfs: Option<&Hdfs>,
    long: bool,
) -> Result<Machine, String> {
    let logs = cargo::target().join("test-logs");
    let _old = fs::remove_dir_all(&logs);
    fs::create_dir_all(&logs)
        .map_err(|error| format!("cannot create {}: {error}", logs.display()))?;
    let programs = built.programs.display().to_string();
    let mut environment = vec![("AQUEDUCT_BIN_DIR".to_owned(), programs)];
    if let Some(hdfs) = hdfs {
        environment
            .extend(hdfs.environment.iter().map(|(name, it)| ((*name).to_owned(), it.clone())));
    }
    if long {
        environment.push(("AQUEDUCT_LONG".to_owned(), "1".to_owned()));
        if env::var_os("AQUEDUCT_FUZZ_SECONDS").is_none() {
            environment.push(("AQUEDUCT_FUZZ_SECONDS".to_owned(), "3600".to_owned()));
        }
    }
    Ok(Machine { cores, logs, environment })
}

fn write_junit(arguments: &Arguments, xml: &str) -> Result<(), String> {
    let file = arguments.junit.clone().unwrap_or_else(|| cargo::target().join("junit.xml"));
    fs::write(&file, xml).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Returns the output of a command that must succeed.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let message = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}: {}", output.status, message.trim()))
        }
    }
}
