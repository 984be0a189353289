//! `aqueduct-collector`: the agent between edges and stores. It knows every component.

use std::process::ExitCode;

use program::cli::{self, CollectorArgs};

fn main() -> ExitCode {
    let version = env!("AQUEDUCT_VERSION");
    cli::main::<CollectorArgs>("aqueduct-collector", version, std::env::args_os(), catalogue::FULL)
}
