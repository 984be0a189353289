//! `aqueduct`: the operator's program. It holds both agents too, so that one file shows the whole.

mod account;
mod admin;
mod channel;
mod check;
mod demo;
mod dlq;
mod ledger;
mod verify;

use std::process::ExitCode;

use agent::cli::{self, CollectorArgs, EdgeArgs};
use clap::{Parser, Subcommand};

use channel::ChannelArgs;
use check::CheckArgs;
use demo::DemoArgs;
use dlq::DlqArgs;
use ledger::LedgerArgs;
use verify::VerifyArgs;

/// Move log lines from files to HDFS, each exactly once.
#[derive(Debug, Parser)]
#[command(name = "aqueduct", version = env!("AQUEDUCT_VERSION"), about)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(DemoArgs),
    Check(CheckArgs),
    Verify(VerifyArgs),
    Channel(ChannelArgs),
    Dlq(DlqArgs),
    Ledger(LedgerArgs),
    Edge(EdgeArgs),
    Collector(CollectorArgs),
}

fn main() -> ExitCode {
    match Program::try_parse() {
        Ok(Program { command: Command::Demo(args) }) => demo::run(&args),
        Ok(Program { command: Command::Check(args) }) => check::run(&args),
        Ok(Program { command: Command::Verify(args) }) => verify::run(&args),
        Ok(Program { command: Command::Channel(args) }) => channel::run(&args),
        Ok(Program { command: Command::Dlq(args) }) => dlq::run(&args),
        Ok(Program { command: Command::Ledger(args) }) => ledger::run(&args),
        Ok(Program { command: Command::Edge(args) }) => cli::execute(&args, &components::EDGE),
        Ok(Program { command: Command::Collector(args) }) => {
            cli::execute(&args, &components::COLLECTOR)
        }
        Err(error) => cli::usage(&error),
    }
}
