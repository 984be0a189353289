//! `aqueduct components`: lists the components of this program, and shows the page of each.
//!
//! Settings come from the schema of the component, the rest from its page in `docs/components`.

mod page;
mod show;

use std::process::ExitCode;

use clap::Args;
use config::schema;
use pipeline::catalogue::ROLES;
use pipeline::settings::unknown;
use pipeline::{Catalogue, Listed};
use program::cli::{self, EXIT_USAGE};
use serde_json::{Value as Json, json};

pub(crate) use page::{guarantee, summary};

const EXAMPLES: &str = "\
Examples:
  aqueduct components
  aqueduct components tail_dir
  aqueduct components http --role sink
  aqueduct components --json | jq -r '.[] | .role + \" \" + .kind'

Exit codes: 0 printed, 2 this program does not have the component";

/// List the components of this program, or explain those of one kind.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct ComponentsArgs {
    /// The value of `type = "…"`
    #[arg(value_name = "KIND")]
    kind: Option<String>,

    /// Only this role: source, interceptor, selector, channel, processor, sink, encoder, codec,
    /// decoder
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<&'static str>,

    /// Print JSON: role, kind, summary, guarantee, package, feature and the schema of the settings
    #[arg(long)]
    json: bool,
}

/// Parses a role, in the singular or the plural.
fn role(text: &str) -> Result<&'static str, String> {
    let singular = text.trim_end_matches('s');
    let found = ROLES.iter().find(|role| **role == singular);
    found.copied().ok_or_else(|| unknown("role", text, ROLES))
}

/// Prints the requested components.
pub(crate) fn run(args: &ComponentsArgs) -> ExitCode {
    let found = match chosen(catalogue::FULL, args.kind.as_deref(), args.role) {
        Ok(found) => found,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let text = match (args.json, &args.kind) {
        (true, _) => {
            let all: Vec<Json> = found.iter().map(described).collect();
            format!("{:#}\n", Json::Array(all))
        }
        (false, None) => show::list(&found),
        (false, Some(_)) => found.iter().map(show::page).collect::<Vec<_>>().join("\n\n"),
    };
    cli::print(&text)
}

/// Selects the components of a kind, of a role, or all.
fn chosen(
    catalogue: Catalogue,
    kind: Option<&str>,
    role: Option<&str>,
) -> Result<Vec<Listed>, String> {
    let mut all = catalogue.all();
    all.retain(|listed| role.is_none_or(|role| listed.role == role));
    let Some(kind) = kind else { return Ok(all) };
    let found: Vec<Listed> = all.iter().copied().filter(|listed| listed.kind == kind).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if let Some(problem) = catalogue.unavailable(role, kind) {
        return Err(problem);
    }
    let mut kinds: Vec<&str> = all.iter().map(|listed| listed.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Err(unknown("kind", kind, &kinds))
}

/// Describes a component for scripts.
fn described(listed: &Listed) -> Json {
    json!({
        "role": listed.role,
        "kind": listed.kind,
        "summary": summary(listed),
        "guarantee": guarantee(listed),
        "package": listed.group.package,
        "feature": listed.group.feature,
        "settings": schema::component(listed),
    })
}

#[cfg(test)]
mod tests;
