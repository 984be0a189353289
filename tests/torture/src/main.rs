//! Tortures real processes: two edges, three collectors and a separate HDFS, with one fault per
//! round.
//!
//! ```text
//!   writer ─► logs ─► edge-1 ─┬─ proxy ─► collector-1 ─┐
//!                             ├─ proxy ─► collector-2 ─┼─► HDFS: namenode, datanode1‥3
//!   writer ─► logs ─► edge-2 ─┴─ proxy ─► collector-3 ─┘        │
//!      │                              (on a small disk)         ▼
//!      └── serial numbers ─────────────── count ◄──── Hadoop's own shell
//! ```
//!
//! While the writers write, a fault is done and undone ([`fault`]). Then the writers rest, the
//! edges deliver what they have, and every line of every serial number is looked for in what the
//! store shows. A round is good if each is there once, `aqueduct verify` proves the same without
//! reading a line, and every agent has accounted for all events that came in. What the files look
//! like (lines, gzip, SequenceFiles, merged files, or objects of a bucket) follows from the seed.
//! Rounds follow one another on the same cluster, so what a fault leaves behind meets the next one.
//!
//! `--resume DIR` continues a campaign: each round is a line of `DIR/rounds.jsonl`, with the commit
//! of the tested programs, and the totals are those of that commit.

#![allow(clippy::disallowed_methods, reason = "it stands outside the world that `Env` is")]
#![allow(clippy::print_stdout, reason = "a command; this is how it reports")]

mod campaign;
mod cluster;
mod count;
mod fault;
mod load;
mod proxy;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use fault::Fault;
use store::Form;

/// Tortures edges, collectors and HDFS, and counts every line.
#[derive(Debug, Parser)]
#[command(
    name = "aqueduct-torture",
    after_help = "Examples:\n  \
        aqueduct-torture --rounds 10                      one round of each kind\n  \
        aqueduct-torture --rounds 50 --resume ~/torture   fifty more of a campaign\n  \
        aqueduct-torture --rounds 500 --parallel 4 --resume ~/torture   all of it, four at once\n  \
        aqueduct-torture --rounds 5 --only wipe-collector --seed 7\n  \
        aqueduct-torture --rounds 25 --only cut-answers --weaken   (has to find repeated lines)\n\n\
        It needs Java, Maven, curl and flock, and for the small disk root and mkfs.ext4; without\n\
        root that fault is left out. Ends with 1 if a line was lost, repeated or never written."
)]
pub(crate) struct Arguments {
    /// How many rounds.
    #[arg(long, default_value_t = Fault::ALL.len() as u32)]
    rounds: u32,
    /// Clusters side by side, each with an HDFS of its own: a round is mostly waiting, and needs
    /// about 1.5 GiB of memory.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "weaken")]
    parallel: u32,
    /// Decides the order of the faults, their victims and their times [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Only this kind of fault.
    #[arg(long, value_enum)]
    only: Option<Fault>,
    /// What the files look like [default: by the seed, another one for each of `--parallel`]
    #[arg(long, value_enum)]
    form: Option<Form>,
    /// Take away what makes the programs store each event once, to see that losses of it are found:
    /// ends with 0 if lines were repeated, and records nothing.
    #[arg(long)]
    weaken: bool,
    /// Keep results and logs in this folder, and go on with the campaign that it holds.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let form = arguments.form.unwrap_or_default();
    if let Some(only) = arguments.only.filter(|only| !only.is_possible(form)) {
        let problem = format!("{only:?} means nothing to {form:?} here: it needs an HDFS, or root");
        Arguments::command().error(ErrorKind::ArgumentConflict, problem).exit();
    }
    if campaign::run(&arguments) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
