//! `aqueduct-demo`: the demo, and the two agents that it starts. It links only the components that
//! they need, so that it builds much faster than `aqueduct`.

use std::process::ExitCode;

use aqueduct_demo::DemoArgs;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use pipeline::Catalogue;
use program::cli::{self, CollectorArgs, EdgeArgs};

const EXAMPLES: &str = "\
Examples:
  cargo demo                          send a log that the demo writes
  cargo demo /var/log/nginx/*.log     send your own files; the demo only reads them
  cargo demo --stay                   keep the agents running at the end, to look at their pages
  cargo demo --seed 7                 write the same log again

Everything runs on this machine, below one temporary folder, on ports of 127.0.0.1.
Exit code 0 means that every line arrived exactly once.
`aqueduct demo` is the same demo; `aqueduct demo table`, `db` and `iot` show more.";

/// Send lines through an edge and two collectors, kill one collector, and count every line.
#[derive(Debug, Parser)]
#[command(name = "aqueduct-demo", version = env!("AQUEDUCT_VERSION"), after_help = EXAMPLES)]
#[command(long_about = None, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
struct Program {
    #[command(subcommand)]
    agent: Option<Agent>,
    #[command(flatten)]
    demo: DemoArgs,
}

/// The agents that the demo starts.
#[derive(Debug, Subcommand)]
enum Agent {
    #[command(hide = true)]
    Edge(EdgeArgs),
    #[command(hide = true)]
    Collector(CollectorArgs),
}

/// The light components, and the sink `hdfs` with stores in local folders only.
const CATALOGUE: Catalogue = Catalogue {
    groups: &[
        &components::GROUP,
        &components_files::GROUP,
        &components_grpc::GROUP,
        &components_hdfs::GROUP,
    ],
    unavailable: components::UNAVAILABLE,
};

fn main() -> ExitCode {
    let version = match cli::begin(env!("AQUEDUCT_VERSION")) {
        Ok(version) => version,
        Err(code) => return code,
    };
    let matches = Program::command().version(version).try_get_matches();
    match matches.and_then(|matches| Program::from_arg_matches(&matches)) {
        Ok(Program { agent: None, demo }) => aqueduct_demo::run(&demo),
        Ok(Program { agent: Some(Agent::Edge(args)), .. }) => cli::execute(&args, components::EDGE),
        Ok(Program { agent: Some(Agent::Collector(args)), .. }) => cli::execute(&args, CATALOGUE),
        Err(error) => cli::usage(&error),
    }
}
