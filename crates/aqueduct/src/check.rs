//! `aqueduct check`: everything that is wrong with a configuration, or what it promises.

mod connect;
mod paths;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::cli::{self, EXIT_CONFIG, EXIT_RUNTIME};
use clap::{Args, ValueEnum};
use config::ConfigErrors;
use peers::discovery::{Discovery, Found, Query};
use pipeline::{Env, Routing, Settings};

use paths::{Path, paths, words};

const EXAMPLES: &str = "\
Examples:
  aqueduct check /etc/aqueduct/collector.toml
  aqueduct check /etc/aqueduct/*.toml
  aqueduct check --resolve /etc/aqueduct/edge.toml
  aqueduct check --connect /etc/aqueduct/collector.toml
  aqueduct edge --tail '/a/*.log' --to localhost:1 --data-dir /d --print-config | aqueduct check -

Nothing is opened, connected or written; only --resolve asks DNS, and --connect tries from this host
what the sinks connect to, whether their stores take a file, and whether the ports are free.
A channel larger than what its disk has free is warned of.

Exit codes: 0 all valid, 1 something cannot be reached, 2 wrong arguments,
78 a configuration is wrong";

/// Standard input, as an argument and in messages.
const STDIN: &str = "-";

/// Report everything that is wrong with a configuration, or what each path of it promises.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Configuration files: .toml, .yaml or .yml; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Format of standard input
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Look up the collectors that are not named but discovered, and show them
    #[arg(long)]
    resolve: bool,

    /// Try to connect, to store and to listen, as the agent would; nothing stays
    #[arg(long)]
    connect: bool,
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

/// Checks the files and prints what is to be said of each.
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
            Ok(Report { text, warnings, is_reached }) => {
                all_reached &= is_reached;
                warnings.iter().for_each(|warning| cli::say(&format!("warning: {warning}")));
                if cli::print(&text) != ExitCode::SUCCESS {
                    return ExitCode::FAILURE;
                }
            }
            Err(errors) => {
                cli::say(&errors.to_string());
                all_valid = false;
            }
        }
    }
    match (all_valid, all_reached) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(EXIT_RUNTIME),
        (false, _) => ExitCode::from(EXIT_CONFIG),
    }
}

/// What is to be said of a configuration.
struct Report {
    text: String,
    /// What of it does not suit the disk.
    warnings: Vec<String>,
    /// Whether all that was tried was reached.
    is_reached: bool,
}

/// What is to be said of the configuration `file`.
fn report(
    file: &str,
    settings: Settings,
    args: &CheckArgs,
    env: &Env,
) -> Result<Report, ConfigErrors> {
    let draft = config::examine(file, settings, &env.host);
    let (plan, checked) = cli::checked(draft, catalogue::FULL, env)?;
    let programs = match agent::check(&plan, components::EDGE, env) {
        Ok(_) => "aqueduct-edge and aqueduct-collector",
        Err(_) => "aqueduct-collector",
    };
    let mut text = format!("{file}: valid, for {programs}\n");
    for path in paths(&plan, &checked) {
        let Path { source, channel, sink, guarantee, weakest } = path;
        let promise = words(guarantee);
        let weakest = weakest.map(|link| format!("; weakest link: {link}")).unwrap_or_default();
        writeln!(text, "{source} -> {channel} -> {sink}: {promise}{weakest}")
            .expect("a string takes it");
    }
    for (source, routing) in &checked.routings {
        let Routing { digest, text: routing } = routing;
        writeln!(text, "{source} routes {routing} [{digest:016x}]").expect("a string takes it");
    }
    for (sink, discovery) in &checked.discoveries {
        let found = if args.resolve { found(discovery, env) } else { String::new() };
        writeln!(text, "{sink} discovers {}{found}", discovery.query).expect("a string takes it");
    }
    let is_reached = !args.connect || connect::tried(&plan, env, &mut text)?;
    Ok(Report { text, warnings: checked.warnings, is_reached })
}

/// The addresses that are found now, or why none is.
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
            format!(": {}", found.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Err(error) => format!(": cannot be looked up: {error}"),
    }
}

#[cfg(test)]
mod tests;
