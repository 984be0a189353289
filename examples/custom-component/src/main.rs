//! `level-agent`: the edge agent with a component of its own.

mod level;

use std::process::ExitCode;

use pipeline::component::entry;
use pipeline::{Catalogue, Group};
use program::cli::{self, EdgeArgs};

/// The components of this crate: a line for each.
static OWN: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    interceptors: &[entry::<level::Config>()],
    ..Group::EMPTY
};

/// What this program knows: what every edge knows, and its own.
const CATALOGUE: Catalogue = Catalogue {
    groups: &[&components::GROUP, &components_files::GROUP, &components_grpc::GROUP, &OWN],
    unavailable: components::UNAVAILABLE,
};

fn main() -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    cli::main::<EdgeArgs>("level-agent", version, std::env::args_os(), CATALOGUE)
}
