//! Migration from Flume and Sqoop: `aqueduct convert` translates a Flume configuration, `aqueduct
//! agent` runs one, and `aqueduct convert sqoop` translates Sqoop calls.

mod agent;
mod convert;
mod jvm;
mod monitoring;
#[cfg(all(feature = "hdfs", feature = "sql"))]
mod sqoop;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::program::cli;
use config::{CONFIG_BYTES_MAX, ConfigErrors, Plan};
use flume::{Conversion, File, Options, Outcome, World};
use pipeline::Env;
use pipeline::settings::Place;

pub(crate) use agent::{FlumeAgentArgs, run};
pub(crate) use convert::{ConvertArgs, convert};

/// Exit code of `aqueduct convert` for a wrong command line (`EX_USAGE` of sysexits.h). Code 2
/// means that something needs a decision.
const EXIT_CONVERT_USAGE: u8 = 64;

/// Maximum total size of all files, in bytes.
const FILES_MAX: u64 = CONFIG_BYTES_MAX;

/// Timeout of a config filter's command.
const FILTER_LIMIT: Duration = Duration::from_secs(30);

/// Prints clap's message and returns the exit code.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let code = cli::usage(error);
    let is_convert = std::env::args_os().nth(1).is_some_and(|it| it == "convert");
    match is_convert && error.exit_code() != 0 {
        true => ExitCode::from(EXIT_CONVERT_USAGE),
        false => code,
    }
}

/// Reads the files.
///
/// # Errors
/// A file cannot be read; the message names it and the reason.
fn read(paths: &[PathBuf], env: &Env) -> Result<Vec<File>, String> {
    let mut files = Vec::new();
    let mut left = FILES_MAX;
    for path in paths {
        let name = path.display().to_string();
        let text = config::file_text(path, left, env);
        let text = text.map_err(|problem| format!("{name}: {problem}"))?;
        left = left.saturating_sub(text.len() as u64);
        files.push(File { name: name.into(), text });
    }
    Ok(files)
}

/// The environment of a translation: this process and the components of this program.
pub(crate) struct HostContext<'a> {
    env: &'a Env,
    defines: BTreeMap<String, String>,
    runs_filters: bool,
    kinds: BTreeSet<(&'static str, &'static str)>,
}

impl<'a> HostContext<'a> {
    /// `defines` are the values of `-D`, as `name=value`.
    pub(crate) fn new(env: &'a Env, defines: &[String], runs_filters: bool) -> Self {
        let pair = |it: &String| {
            let (name, value) = it.split_once('=').unwrap_or((it, ""));
            (name.to_owned(), value.to_owned())
        };
        let all = catalogue::FULL.all();
        let kinds = all.iter().map(|listed| (listed.role, listed.kind)).collect();
        Self { env, defines: defines.iter().map(pair).collect(), runs_filters, kinds }
    }
}

impl World for HostContext<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.env.blocking.variable(name)?.into_string().ok()
    }

    fn system(&self, name: &str) -> Option<String> {
        self.defines.get(name).cloned()
    }

    fn run(&self, program: &str, argument: &str) -> Option<Result<String, String>> {
        if !self.runs_filters {
            return None;
        }
        let mut words = program.split_whitespace();
        let program = words.next().unwrap_or_default();
        let arguments: Vec<String> = words.chain([argument]).map(str::to_owned).collect();
        let output = self.env.blocking.output(program, &arguments, FILTER_LIMIT);
        Some(match output.map(String::from_utf8) {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(_)) => Err("the output of the program is not UTF-8".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        config::file_bytes(Path::new(path), FILES_MAX, self.env)
    }

    fn zone(&self) -> Option<String> {
        // TZ may also name a file.
        let set = self.variable("TZ").filter(|zone| !zone.contains("/etc/"));
        let named = || String::from_utf8(self.file("/etc/timezone").ok()?).ok();
        let linked = || {
            let path = self.env.disk.canonical(Path::new("/etc/localtime")).ok()?;
            Some(path.to_str()?.split_once("/zoneinfo/")?.1.to_owned())
        };
        let zone = set.or_else(linked).or_else(named)?;
        Some(zone.trim().to_owned()).filter(|zone| !zone.is_empty())
    }

    fn has(&self, role: &str, kind: &str) -> bool {
        self.kinds.contains(&(role, kind))
    }
}

/// Returns the plan of a translation. Adds the problems that the examination of the plan finds to
/// the report, except on lines that need a decision anyway.
fn examined(conversion: &mut Conversion, file: &str, env: &Env) -> Plan {
    let settings = conversion.settings.clone();
    let (plan, mut errors) = config::examine(file, settings, &env.host);
    let warnings = match ::agent::check(&plan, catalogue::FULL, env) {
        Ok(checked) => checked.warnings,
        Err(ConfigErrors(more)) => {
            errors.extend(more);
            Vec::new()
        }
    };
    let report = &mut conversion.report;
    let line = |place: &Place| (place.file.clone(), place.line);
    let known: BTreeSet<_> = report.of(Outcome::Decision).map(|it| line(&it.place)).collect();
    for error in errors.iter().filter(|it| !known.contains(&line(&it.place))) {
        report.add(Outcome::Decision, &error.place, &error.path, error.problem.clone());
    }
    // The translation reports plain text with its line.
    for warning in warnings.into_iter().filter(|it| !it.contains("plain text leaves this host")) {
        let place = Place { file: file.into(), ..Place::default() };
        report.add(Outcome::Advice, &place, "check", warning);
    }
    plan
}

/// Reads and translates the files.
///
/// # Errors
/// A file cannot be read, or does not contain the agent. The message contains a hint.
fn translated(
    paths: &[PathBuf],
    options: &Options,
    here: &HostContext<'_>,
) -> Result<(Conversion, Plan), String> {
    let files = read(paths, here.env)?;
    let conversion = flume::convert(&files, options, here).map_err(|error| error.to_string());
    let shown = files.first().map_or("", |file| &*file.name);
    let mut conversion = conversion.map_err(|problem| match problem.starts_with(shown) {
        true => problem,
        false => format!("{shown}: {problem}"),
    })?;
    let plan = examined(&mut conversion, shown, here.env);
    Ok((conversion, plan))
}
