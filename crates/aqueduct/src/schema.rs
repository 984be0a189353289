//! `aqueduct schema`: prints the JSON schema of a configuration for editors, and infers columns
//! from samples.

#[cfg(feature = "parquet")]
mod infer;

use std::process::ExitCode;

use clap::Args;
use program::cli;

use crate::reference;

const EXAMPLES: &str = "\
Examples:
  aqueduct schema > aqueduct.schema.json
  aqueduct schema | jq '.definitions.sink_hdfs.properties | keys'
  aqueduct schema infer visits.json

In TOML, for Taplo, at the top of a file:
  #:schema ./aqueduct.schema.json
In YAML, for yaml-language-server:
  # yaml-language-server: $schema=./aqueduct.schema.json";

/// Print the JSON schema of a configuration file, with every component of this program.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    #[cfg(feature = "parquet")]
    #[command(subcommand)]
    action: Option<Action>,
}

#[cfg(feature = "parquet")]
#[derive(Debug, clap::Subcommand)]
enum Action {
    Infer(infer::InferArgs),
}

/// Prints the schema, or the inferred settings.
#[cfg(feature = "parquet")]
pub(crate) fn run(args: &SchemaArgs) -> ExitCode {
    match &args.action {
        Some(Action::Infer(args)) => infer::run(args),
        None => of_configuration(),
    }
}

/// Prints the schema.
#[cfg(not(feature = "parquet"))]
pub(crate) fn run(_: &SchemaArgs) -> ExitCode {
    of_configuration()
}

fn of_configuration() -> ExitCode {
    let mut schema = config::schema::file(catalogue::FULL, agent::dead_letters::schema);
    // Editors show the first sentence of a component's page.
    for listed in catalogue::FULL.all() {
        let name = config::schema::definition(listed.role, listed.kind);
        let definition =
            schema.pointer_mut(&format!("/definitions/{name}")).and_then(|it| it.as_object_mut());
        if let Some(definition) = definition {
            definition.insert("description".to_owned(), reference::summary(&listed).into());
        }
    }
    cli::print(&format!("{schema:#}\n"))
}
