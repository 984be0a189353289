//! Instructions per event of each stage of the path, counted by callgrind.
//!
//! They do not depend on how busy a machine is, so that a change which makes a stage dearer is seen
//! where times would drown it. This program is two: without `--stage` it runs itself under valgrind
//! with two numbers of events for each stage, and takes the difference: what a start costs falls
//! out. With `--stage` it does the work of that stage ([`stages`]).
//!
//! What is counted are all threads in user space. Valgrind shows every program the same processor,
//! one with AVX2 where the real one has it, so that `memchr` and libc choose the same code on every
//! such machine; where there is no AVX2 nothing is counted. Another compiler or another libc may
//! count otherwise: then the table is written anew in a change of its own.
#![expect(clippy::disallowed_methods, reason = "this program starts others and reads their files")]

mod error;
mod stages;
mod table;
mod valgrind;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::error::{Doing, Error, Result};
use crate::stages::Stage;
use crate::table::Table;

const EXAMPLES: &str = "Examples:
  aqueduct-count                                 print the \
                        table
  aqueduct-count --check docs/instructions.md    fail if a stage \
                        costs over 5 % more than there
  aqueduct-count --write \
                        docs/instructions.md    accept the current counts
  aqueduct-count --only \
                        put                      one stage

Build it with the optimised profile: \
                        cargo build --release -p aqueduct-count";

/// Count the instructions per event of each stage of the path.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    /// Compare with the table in this file, and fail if a stage has become dearer
    #[arg(long, value_name = "FILE", conflicts_with = "write")]
    check: Option<PathBuf>,
    /// Put the table into this file, in place of the one there
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Count this stage alone, and what it is counted on top of
    #[arg(long, value_enum, conflicts_with = "write")]
    only: Option<Stage>,
    /// Do the work of a stage instead of counting it
    #[arg(long, value_enum, hide = true, requires = "events", requires = "directory")]
    stage: Option<Stage>,
    /// How many events
    #[arg(long, hide = true)]
    events: Option<u64>,
    /// An empty directory for the files of a stage
    #[arg(long, hide = true)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is no other place to report that printing failed.
            let _ = writeln!(io::stderr().lock(), "aqueduct-count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let (Some(stage), Some(events), Some(directory)) = (cli.stage, cli.events, &cli.directory) {
        return stages::work(stage, events, directory);
    }
    let table = Table::new(valgrind::count(cli.only)?);
    write!(io::stdout().lock(), "{}", table.markdown()).doing(|| "print the table".to_owned())?;
    if let Some(path) = &cli.write {
        return table.replace_in(path);
    }
    let Some(path) = &cli.check else { return Ok(()) };
    let comparison = table.compare(&Table::read(path)?);
    write!(io::stdout().lock(), "\n{comparison}").doing(|| "print the comparison".to_owned())?;
    match comparison.dearer() {
        rows if rows.is_empty() => Ok(()),
        rows => Err(Error::Dearer { rows, table: path.clone() }),
    }
}
