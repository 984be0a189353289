//! `aqueduct`: the operator's program. It contains both agents, so that one file has everything.

mod admin;
mod audit;
#[cfg(all(test, feature = "hdfs", feature = "sql"))]
mod book;
mod channel;
mod check;
#[cfg(feature = "hdfs")]
mod commit_ledger;
#[cfg(feature = "hdfs")]
mod completeness;
#[cfg(feature = "hdfs")]
mod demos;
mod dlq;
#[cfg(all(feature = "hdfs", feature = "sql"))]
mod ending;
#[cfg(all(feature = "hdfs", feature = "sql"))]
mod export;
mod fleet;
#[cfg(all(feature = "hdfs", feature = "sql"))]
mod import;
mod manual;
mod migrate;
mod parts;
mod pki;
mod plugin;
mod reference;
mod reload;
#[cfg(feature = "hdfs")]
mod roster;
mod runtime;
mod schema;
mod send;
#[cfg(all(feature = "hdfs", feature = "sql"))]
mod sqoop_tools;
mod status;
mod tap;
mod top;
#[cfg(feature = "hdfs")]
mod trace;
#[cfg(feature = "hdfs")]
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use program::cli::{self, CollectorArgs, EdgeArgs};

/// Move log lines from files to HDFS, each exactly once.
#[derive(Debug, Parser)]
#[command(name = "aqueduct", version = env!("AQUEDUCT_VERSION"))]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "hdfs")]
    Demo(demos::DemosArgs),
    Check(check::CheckArgs),
    Components(reference::ComponentsArgs),
    Schema(schema::SchemaArgs),
    Status(status::StatusArgs),
    Reload(reload::ReloadArgs),
    Stop(parts::StopArgs),
    Start(parts::StartArgs),
    Drain(parts::DrainArgs),
    Audit(audit::AuditArgs),
    Top(top::TopArgs),
    Tap(tap::TapArgs),
    Send(send::SendArgs),
    #[cfg(feature = "hdfs")]
    Verify(verify::VerifyArgs),
    #[cfg(feature = "hdfs")]
    Trace(trace::TraceArgs),
    #[cfg(feature = "hdfs")]
    Complete(completeness::CompleteArgs),
    #[cfg(feature = "hdfs")]
    Roster(roster::RosterArgs),
    Channel(channel::ChannelArgs),
    Dlq(dlq::DlqArgs),
    #[cfg(feature = "hdfs")]
    Ledger(commit_ledger::LedgerArgs),
    Edge(EdgeArgs),
    Collector(CollectorArgs),
    Pki(pki::PkiArgs),
    Fleet(fleet::FleetArgs),
    Plugin(plugin::PluginArgs),
    #[cfg(all(feature = "hdfs", feature = "sql"))]
    Import(import::ImportArgs),
    #[cfg(all(feature = "hdfs", feature = "sql"))]
    Export(export::ExportArgs),
    #[cfg(all(feature = "hdfs", feature = "sql"))]
    Sqoop(sqoop_tools::SqoopArgs),
    Convert(migrate::ConvertArgs),
    Agent(migrate::FlumeAgentArgs),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// Returns the program with all of its commands.
fn program() -> clap::Command {
    cli::as_subcommands(Program::command())
}

fn main() -> ExitCode {
    let version = match cli::begin(env!("AQUEDUCT_VERSION")) {
        Ok(version) => version,
        Err(code) => return code,
    };
    let matches = program().version(version).try_get_matches();
    match matches.and_then(|matches| Program::from_arg_matches(&matches)) {
        #[cfg(feature = "hdfs")]
        Ok(Program { command: Command::Demo(args) }) => demos::run(&args),
        Ok(Program { command: Command::Check(args) }) => check::run(&args),
        Ok(Program { command: Command::Components(args) }) => reference::run(&args),
        Ok(Program { command: Command::Schema(args) }) => schema::run(&args),
        Ok(Program { command: Command::Status(args) }) => status::run(&args),
        Ok(Program { command: Command::Reload(args) }) => reload::run(&args),
        Ok(Program { command: Command::Stop(args) }) => parts::stop(&args),
        Ok(Program { command: Command::Start(args) }) => parts::start(&args),
        Ok(Program { command: Command::Drain(args) }) => parts::drain(&args),
        Ok(Program { command: Command::Audit(args) }) => audit::run(&args),
        Ok(Program { command: Command::Top(args) }) => top::run(&args),
        Ok(Program { command: Command::Tap(args) }) => tap::run(&args),
        Ok(Program { command: Command::Send(args) }) => send::run(&args),
        #[cfg(feature = "hdfs")]
        Ok(Program { command: Command::Verify(args) }) => verify::run(&args),
        #[cfg(feature = "hdfs")]
        Ok(Program { command: Command::Trace(args) }) => trace::run(&args),
        #[cfg(feature = "hdfs")]
        Ok(Program { command: Command::Complete(args) }) => completeness::run(&args),
        #[cfg(feature = "hdfs")]
        Ok(Program { command: Command::Roster(args) }) => roster::run(&args),
        Ok(Program { command: Command::Channel(args) }) => channel::run(&args),
        Ok(Program { command: Command::Dlq(args) }) => dlq::run(&args),
        #[cfg(feature = "hdfs")]
        Ok(Program { command: Command::Ledger(args) }) => commit_ledger::run(&args),
        Ok(Program { command: Command::Edge(args) }) => cli::execute(&args, components::EDGE),
        Ok(Program { command: Command::Collector(args) }) => cli::execute(&args, catalogue::FULL),
        Ok(Program { command: Command::Pki(args) }) => pki::run(&args),
        Ok(Program { command: Command::Fleet(args) }) => fleet::run(&args),
        Ok(Program { command: Command::Plugin(args) }) => plugin::run(&args),
        #[cfg(all(feature = "hdfs", feature = "sql"))]
        Ok(Program { command: Command::Import(args) }) => import::run(&args),
        #[cfg(all(feature = "hdfs", feature = "sql"))]
        Ok(Program { command: Command::Export(args) }) => export::run(&args),
        #[cfg(all(feature = "hdfs", feature = "sql"))]
        Ok(Program { command: Command::Sqoop(args) }) => sqoop_tools::run(&args),
        Ok(Program { command: Command::Convert(args) }) => migrate::convert(&args),
        Ok(Program { command: Command::Agent(args) }) => migrate::run(&args),
        Ok(Program { command: Command::Completions(args) }) => {
            manual::completions(&args, program())
        }
        Ok(Program { command: Command::Man(args) }) => manual::man(&args, program()),
        Err(error) => migrate::usage(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects every command with its name and the text after its help.
    fn all(command: &clap::Command, name: &str, found: &mut Vec<(String, String)>) {
        for below in command.get_subcommands() {
            all(below, &format!("{name} {}", below.get_name()), found);
        }
        let help = command.get_after_help().map(ToString::to_string);
        found.push((name.to_owned(), help.unwrap_or_default()));
    }

    #[test]
    fn each_command_shows_examples_that_call_it_by_its_name() {
        let mut found = Vec::new();
        all(&program(), "aqueduct", &mut found);
        assert!(found.len() >= 15, "{found:?}");
        for (name, help) in found.iter().filter(|(name, _)| name != "aqueduct") {
            let examples = help.split("Examples:\n").nth(1);
            let examples = examples.unwrap_or_else(|| panic!("no examples: {name}\n{help}"));
            assert!(examples.contains(&format!("  {name} ")), "{name}:\n{help}");
            assert!(!examples.contains("aqueduct-"), "{name}:\n{help}");
            // The terminal or clap breaks longer lines.
            let widest = help.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= 100), "{name}:\n{help}");
        }
    }

    /// Commands without `--json`, and why.
    const NO_JSON: [(&str, &str); 26] = [
        ("agent", "an agent: its log is JSON by --log-format, its state by `status --json`"),
        ("channel account", "prints JSON anyway"),
        ("channel export", "prints events: --format json"),
        ("collector", "an agent, as `agent`"),
        ("convert sqoop", "prints a configuration"),
        ("completions", "prints a script for a shell"),
        ("demo", "shows an agent to a person; its exit code says how it went"),
        ("demo db", "as `demo`"),
        ("demo iot", "as `demo`"),
        ("demo table", "as `demo`"),
        ("dlq show", "prints events: --format json"),
        ("edge", "an agent, as `agent`"),
        ("export", "an agent that ends: its exit code says how it went"),
        ("fleet serve", "a server: its state by `fleet status --json`"),
        ("import", "an agent that ends: its exit code says how it went"),
        ("man", "writes manual pages"),
        ("pki collector", "prints settings in TOML, to be put into a configuration"),
        ("pki edge", "prints settings in TOML, to be put into a configuration"),
        ("pki init", "writes files; prints what to do with them"),
        ("pki revoke", "writes a file; prints what to do with it"),
        ("pki token", "prints the line of a file"),
        ("plugin new", "prints settings in TOML, to be put into a configuration"),
        ("schema", "prints JSON anyway"),
        ("schema infer", "prints settings in TOML, to be put into a configuration"),
        ("send", "prints one number, which is JSON"),
        ("sqoop", "prints what Sqoop prints"),
    ];

    /// Collects the commands that run something, and whether they have `--json`.
    fn doing(command: &clap::Command, name: &str, found: &mut Vec<(String, bool)>) {
        let below: Vec<_> = command.get_subcommands().collect();
        for below in &below {
            doing(below, format!("{name} {}", below.get_name()).trim_start(), found);
        }
        if below.is_empty() || !command.is_subcommand_required_set() {
            let has = command.get_arguments().any(|it| it.get_long() == Some("json"));
            found.push((name.to_owned(), has));
        }
    }

    #[test]
    fn each_command_that_prints_a_result_prints_it_as_json_too() {
        let mut found = Vec::new();
        doing(&program(), "", &mut found);
        assert!(found.iter().filter(|(_, has)| *has).count() >= 20, "{found:?}");
        let excused = |name: &str| NO_JSON.iter().any(|(excused, _)| *excused == name);
        let page = include_str!("../../../docs/tools.md");
        let table = page.split("## Output for programs: `--json`").nth(1).unwrap_or_default();
        for (name, has) in &found {
            assert!(!has || table.contains(&format!("`{name}`")), "{name} is not in docs/tools.md");
            assert!(*has != excused(name), "{name}: {}", if *has { "has it" } else { "lacks it" });
        }
        let all: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let gone = NO_JSON.iter().filter(|(name, _)| !all.contains(name));
        let gone: Vec<_> = gone.collect();
        assert!(gone.is_empty() || cfg!(not(feature = "hdfs")), "{gone:?}");
    }
}
