//! Simulates whole clusters in one process, from one seed: the production agents run on a simulated
//! network, simulated disks and clocks that jump, with one simulated store.
//!
//! ```text
//!   aqueduct-sim --seeds 300                 the driver: one process for each seed
//!        │ starts, reads one line
//!        ▼
//!   aqueduct-sim --seed 7                    one seed
//!     scenario: how many hosts, their settings and faults  (scenario)
//!     ┌───────── turmoil: a runtime for each host, one thread, simulated time ──────────┐
//!     │  edge-0 … edge-3      collector-0 … collector-4   observer, with it the store   │
//!     │  program::run_until     program::run_until            GET /metrics      names,      │
//!     │  tail_dir or sequence grpc ► durable ► hdfs       of all hosts      files       │
//!     │  ► durable ► grpc     and, in some seeds, relays between the two                │
//!     └─────────────────────────────────────────────────────────────────────────────────┘
//!     faults between the ticks  (faults)        checks after each store call  (books)
//!     60 s of load and faults, then all is healed, and 120 s to finish  (cluster)
//! ```
//!
//! The agents are production code, and `config` reads their configuration from text as a user would
//! write it. The simulation implements [`pipeline::Env`]: network (turmoil), disk
//! ([`channel::testkit::SimDisk`], which forgets unsynced data), wall clock, randomness and
//! blocking threads. It also implements the store, either as the trait of `hdfs://` and `file://`,
//! or as the trait of the library below `s3://`.
//!
//! | module | contents |
//! |---|---|
//! | `scenario` | everything that the seed determines before the start |
//! | `world`, `machine` | shared state; one host with the state that survives its crash |
//! | `net` | connections of an agent over turmoil's, which can be reset |
//! | `names`, `name_book` | discovery: which agents are found |
//! | `store`, `books`, `asked` | the store as a host; its invariants; its calls |
//! | `objects` | the same store as an object server, below `storage-objects` |
//! | `form` | the file format, and its reader |
//! | `shelves` | the lines in each directory, while files are merged |
//! | `turn` | the store calls at which a stop does most harm |
//! | `input` | applications that write log files, with rotation |
//! | `fault_kind`, `faults` | the kinds of faults; when they occur, and their repair |
//! | `operator` | outside changes of the ledger, and their repair |
//! | `parts` | the components of the agents |
//! | `observer` | reads the metrics of every agent, like a monitor |
//! | `cluster` | one seed from beginning to end |
//! | `proof` | the auditor's proof at the end, from accounts and ledgers |
//! | `campaign` | many seeds, in child processes |
//! | `mutants` | which planted bugs are found, with the feature `mutants` |
//! | `trace` | all events of a run, as a hash and as text |
//!
//! # Determinism
//!
//! The same program and the same seed produce the same trace, byte for byte, on any machine. For
//! this, each seed needs its own process: tokio counts task ids per process, and they determine the
//! order in which a crashed host's tasks are dropped.

mod asked;
mod books;
mod campaign;
mod cluster;
mod dice;
mod fault_kind;
mod faults;
mod form;
mod input;
mod letters;
mod machine;
#[cfg(feature = "mutants")]
mod mutants;
mod name_book;
mod names;
mod net;
mod objects;
mod observer;
mod operator;
mod parts;
mod proof;
mod scenario;
mod shelves;
mod store;
mod trace;
mod turn;
mod world;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Runs clusters of the real agents in simulated worlds, and counts every event at the end.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    /// Seeds to run: a number from 0 on, or `A..B`
    #[arg(long, value_name = "N|A..B", default_value = "20", value_parser = campaign::seeds)]
    seeds: std::ops::Range<u64>,
    /// Run this one seed in this process, and print one line of JSON
    #[arg(long, value_name = "S", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// With --seed: print a trace to stderr
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Seeds at a time [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Record each finished seed in this file, and skip seeds that it already contains
    #[arg(long, value_name = "FILE")]
    log: Option<std::path::PathBuf>,
    /// With --seed: plant this bug
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME", requires = "seed")]
    mutant: Option<String>,
    /// Which of these planted bugs are found in the seeds: names, or `all`
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["seed", "log"])]
    mutants: Vec<String>,
    /// With --mutants: continue with the next bug once one is found
    #[cfg(feature = "mutants")]
    #[arg(long, requires = "mutants")]
    until_found: bool,
}

const EXAMPLES: &str = "\
Examples:
  aqueduct-sim --seeds 300                     300 seeds; exit status 1 if one is red
  aqueduct-sim --seeds 0..20000 --log runs     a campaign that can be stopped and resumed
  aqueduct-sim --seed 42 --trace               one seed again, with its trace";

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // If stderr is closed, the error cannot be reported elsewhere.
            drop(writeln!(io::stderr(), "aqueduct-sim: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Runs the command. Returns whether everything passed.
fn run(cli: Cli) -> io::Result<bool> {
    #[cfg(feature = "mutants")]
    if let Some(name) = &cli.mutant {
        support::mutants::plant(name).map_err(io::Error::other)?;
    }
    if let Some(seed) = cli.seed {
        let report = cluster::run(seed, cli.trace);
        let line = serde_json::to_string(&report).expect("a report is plain data");
        writeln!(io::stdout(), "{line}")?;
        return Ok(report.violations.is_empty());
    }
    let jobs = campaign::jobs(cli.jobs);
    #[cfg(feature = "mutants")]
    if !cli.mutants.is_empty() {
        return mutants::run(&cli.mutants, &cli.seeds, jobs, cli.until_found);
    }
    campaign::run(&campaign::Options { seeds: cli.seeds, jobs, log: cli.log })
}
