//! `aqueduct check`: reports all errors of a configuration, or the guarantees of its paths.

mod connect;
mod paths;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use config::ConfigErrors;
use peers::discovery::{Discovery, Found, Query};
use pipeline::{Env, Routing, Settings};
use program::cli::{self, EXIT_CONFIG, EXIT_RUNTIME};

use serde::Serialize;
use serde_json::json;

use crate::channel::print_json;
use paths::{Path, guarantee_text, paths};

const EXAMPLES: &str = "\
Examples:
  aqueduct check /etc/aqueduct/collector.toml
  aqueduct check /etc/aqueduct/*.toml
  aqueduct check --resolve /etc/aqueduct/edge.toml
  aqueduct check --connect /etc/aqueduct/collector.toml
  aqueduct check --json /etc/aqueduct/*.toml | jq -r '.errors[]'
  aqueduct edge --tail '/a/*.log' --to localhost:1 --data-dir /d --print-config | aqueduct check -

Without options, it connects to nothing and writes nothing. --resolve asks DNS. --connect tests from
this host whether sinks can connect, stores accept a file, and ports are free.
It warns of a channel larger than the free space of its disk. It reads the positions in `data_dir`,
whose agent may be running, and warns of sources that would resend events after a change of names.

Exit codes: 0 all valid, 1 something cannot be reached, 2 wrong arguments,
78 a configuration is wrong";

/// Standard input, as an argument and in messages.
const STDIN: &str = "-";

/// Report all errors of a configuration, or the guarantee of each of its paths.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Configuration files: .toml, .yaml or .yml; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Format of standard input
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Look up and show the collectors that the configuration discovers by DNS
    #[arg(long)]
    resolve: bool,

    /// Try to connect, store and listen, as the agent would; leaves nothing behind
    #[arg(long)]
    connect: bool,

    /// Print one JSON object for each file, on a line
    #[arg(long)]
    json: bool,
}

/// The format of a configuration that has no file name.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// TOML
    #[default]
    Toml,
    /// YAML
    Yaml,
}

/// Checks the files and prints a report for each.
pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let env = env::real();
    let (mut all_valid, mut all_reached) = (true, true);
    for file in &args.files {
        let settings = match file.as_os_str() == STDIN {
            true => cli::read_stdin(
                match args.format {
                    Format::Toml => "toml",
                    Format::Yaml => "yaml",
                },
                &env,
            ),
            false => cli::read(file, &env),
        };
        let name = file.display().to_string();
        match settings.and_then(|settings| report(&name, settings, args, &env)) {
            Ok(report) => {
                all_reached &= report.is_reached();
                let printed = if args.json {
                    print_json(&report)
                } else {
                    let say = |warning: &String| cli::print_line(&format!("warning: {warning}"));
                    report.warnings.iter().for_each(say);
                    cli::print(&report.text())
                };
                if printed != ExitCode::SUCCESS {
                    return ExitCode::FAILURE;
                }
            }
            Err(errors) => {
                all_valid = false;
                if args.json {
                    print_json(&refused(&name, &errors));
                } else {
                    cli::print_line(&errors.to_string());
                }
            }
        }
    }
    match (all_valid, all_reached) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(EXIT_RUNTIME),
        (false, _) => ExitCode::from(EXIT_CONFIG),
    }
}

/// The report on a valid configuration.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    valid: bool,
    /// The programs that can run it.
    programs: &'static [&'static str],
    paths: Vec<Path>,
    routings: Vec<Routed>,
    discoveries: Vec<Discovered>,
    /// Sources that hold the reports of their channel back, by channel.
    silent: BTreeMap<String, Vec<String>>,
    /// Results of `--connect`.
    connections: Vec<Connection>,
    /// Settings that do not suit the disk, are insecure, or cause duplicates.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Routed {
    source: String,
    routing: String,
    digest: String,
}

#[derive(Debug, Serialize)]
struct Discovered {
    sink: String,
    query: String,
    /// The addresses, or why the lookup failed; only set if a lookup ran.
    found: Option<String>,
}

#[derive(Debug, Serialize)]
struct Connection {
    /// Role and name.
    component: String,
    reached: bool,
    /// The address reached, or the error.
    said: String,
}

/// Formats a rejected configuration.
fn refused(file: &str, errors: &ConfigErrors) -> serde_json::Value {
    let errors: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    json!({ "file": file, "valid": false, "errors": errors })
}

impl Report {
    /// Returns whether all attempted connections succeeded.
    fn is_reached(&self) -> bool {
        self.connections.iter().all(|connection| connection.reached)
    }

    fn text(&self) -> String {
        let mut text = format!("{}: valid, for {}\n", self.file, self.programs.join(" and "));
        let mut put = |line: &str| writeln!(text, "{line}").expect("a string takes it");
        for Path { source, channel, sink, guarantee, weakest } in &self.paths {
            let promise = guarantee_text(*guarantee);
            let weakest = weakest.as_ref().map(|link| format!("; weakest link: {link}"));
            let weakest = weakest.unwrap_or_default();
            put(&format!("{source} -> {channel} -> {sink}: {promise}{weakest}"));
        }
        for Routed { source, routing, digest } in &self.routings {
            put(&format!("{source} routes {routing} [{digest}]"));
        }
        for Discovered { sink, query, found } in &self.discoveries {
            let found = found.as_ref().map(|found| format!(": {found}")).unwrap_or_default();
            put(&format!("{sink} discovers {query}{found}"));
        }
        for (channel, sources) in &self.silent {
            let sources = sources.join(", ");
            put(&format!("{channel} reports no progress for receipts, because of {sources}"));
        }
        for Connection { component, reached, said } in &self.connections {
            let failed = if *reached { "" } else { "FAILED: " };
            put(&format!("{component}: {failed}{said}").replace(char::is_control, " "));
        }
        text
    }
}

/// Builds the report on the configuration `file`.
fn report(
    file: &str,
    settings: Settings,
    args: &CheckArgs,
    env: &Env,
) -> Result<Report, ConfigErrors> {
    let draft = config::examine(file, settings, &env.host);
    let (plan, checked) = agent::checked(draft, catalogue::FULL, env)?;
    let of_edge = Env { names: Arc::new(env::HostNames), ..env.clone() };
    let programs: &[_] = match agent::check(&plan, components::EDGE, &of_edge) {
        Ok(_) => &["aqueduct-edge", "aqueduct-collector"],
        Err(_) => &["aqueduct-collector"],
    };
    let routed = |(source, routing): (&String, &Routing)| Routed {
        source: source.clone(),
        routing: routing.text.to_string(),
        digest: format!("{:016x}", routing.digest),
    };
    let discovered = |(sink, discovery): (&String, &Discovery)| Discovered {
        sink: sink.clone(),
        query: discovery.query.to_string(),
        found: args.resolve.then(|| found(discovery, env)),
    };
    let resends = agent::resends(&plan, catalogue::FULL, env)?;
    let warnings = [&checked.warnings[..], &resends].concat();
    Ok(Report {
        file: file.to_owned(),
        valid: true,
        programs,
        paths: paths(&plan, &checked),
        routings: checked.routings.iter().map(|(s, r)| routed((s, r))).collect(),
        discoveries: checked.discoveries.iter().map(|(s, d)| discovered((s, d))).collect(),
        silent: checked.silent,
        connections: if args.connect { connect::tried(&plan, env)? } else { Vec::new() },
        warnings,
    })
}

/// Looks up the addresses. Returns them, or why none was found.
fn found(discovery: &Discovery, env: &Env) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.and_then(|runtime| {
        runtime.block_on(discovery.query.look_up(&*env.names, discovery.server))
    });
    match answer {
        Ok(found) => {
            let one = |Found { address, priority, weight }: &Found| match discovery.query {
                Query::Host { .. } => address.to_string(),
                Query::Service(_) => format!("{address} (priority {priority}, weight {weight})"),
            };
            found.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("lookup failed: {error}"),
    }
}

#[cfg(test)]
mod tests;
