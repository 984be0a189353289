//! `aqueduct completions` and `aqueduct man`: generates shell completions and man pages for
//! packages from the command definitions.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;
use program::cli::{self, EXIT_RUNTIME};

const COMPLETIONS: &str = "\
Examples:
  aqueduct completions bash > /usr/share/bash-completion/completions/aqueduct
  aqueduct completions zsh > ~/.zfunc/_aqueduct
  aqueduct completions fish > ~/.config/fish/completions/aqueduct.fish";

/// Print a script that completes commands and options of this program in a shell.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

const MAN: &str = "\
Examples:
  aqueduct man /usr/share/man/man1
  aqueduct man . && man ./aqueduct.1

Each command has its own page; the page of the program lists them.";

/// Write the manual pages of this program into a directory.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = MAN)]
pub(crate) struct ManArgs {
    /// An existing directory; existing pages with the same names are replaced
    directory: PathBuf,
}

/// Prints the completion script of a shell.
pub(crate) fn completions(args: &CompletionsArgs, mut program: Command) -> ExitCode {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    cli::print(&String::from_utf8_lossy(&script))
}

/// Writes a man page for each command.
pub(crate) fn man(args: &ManArgs, program: Command) -> ExitCode {
    let directory = &args.directory;
    let Err(error) = clap_mangen::generate_to(program, directory) else {
        return ExitCode::SUCCESS;
    };
    let directory = directory.display();
    cli::print_line(&format!(
        "cannot write the pages to {directory}: {error}; pass a directory that you may write to"
    ));
    ExitCode::from(EXIT_RUNTIME)
}
