//! `aqueduct-edge`: the agent on the machines of the producers. It knows what an edge needs, and no
//! store.

use std::process::ExitCode;

use program::cli::{self, EdgeArgs};

fn main() -> ExitCode {
    let version = env!("AQUEDUCT_VERSION");
    cli::main::<EdgeArgs>("aqueduct-edge", version, std::env::args_os(), components::EDGE)
}
