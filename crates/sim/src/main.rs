//! Whole clusters in one process, from one seed: the production agents on a simulated network, on
//! simulated disks, on clocks that jump, before one simulated store.
//!
//! ```text
//!   aqueduct-sim --seeds 300                 the driver: one process for each seed
//!        │ starts, reads one line
//!        ▼
//!   aqueduct-sim --seed 7                    one seed
//!     scenario: how many, how set, which faults          (scenario)
//!     ┌───────── turmoil: a runtime for each host, one thread, simulated time ──────────┐
//!     │  edge-0 … edge-3      collector-0 … collector-4   observer, with it the store   │
//!     │  agent::run_until     agent::run_until            GET /metrics      names,      │
//!     │  tail_dir or sequence grpc ► durable ► hdfs       of all hosts      files       │
//!     │  ► durable ► grpc     and, in some seeds, relays between the two                │
//!     └─────────────────────────────────────────────────────────────────────────────────┘
//!     faults between the ticks  (faults)      what the store sees, checked at once  (books)
//!     60 s of load and faults, then all is healed and 120 s are left to finish  (cluster)
//! ```
//!
//! Nothing of the agents is modelled: their configuration is text, as a user would write it, and is
//! read by `config`. What is simulated is what [`pipeline::Env`] stands for: network (turmoil),
//! disk ([`channel::testkit::SimDisk`], which forgets what was not synced), wall clock, randomness,
//! threads that block; and the store, behind the trait that `hdfs://` and `file://` implement, or
//! behind that of the library under `s3://`.
//!
//! | module | what it does |
//! |---|---|
//! | `scenario` | what follows from the seed before anything runs |
//! | `world`, `machine` | what all share; one host with all that survives its crash |
//! | `net` | connections of an agent over turmoil's, which can be reset |
//! | `names` | which agent is found, and which is not, where agents look each other up |
//! | `store`, `books` | the store as a host of its own; what is never allowed there |
//! | `objects` | the same store as a server of objects, below `storage-objects` |
//! | `form` | what files look like, and the events in their bytes |
//! | `shelves` | what a reader finds in each directory, while files become one |
//! | `turn` | the calls of the store at which a stop hurts most |
//! | `input` | applications that write log files, with rotation |
//! | `fault_kind`, `faults` | what can go wrong; when it does, and how it is mended |
//! | `operator` | changes of the ledger from outside, and how they are mended |
//! | `parts` | what the agents are made of |
//! | `observer` | asks every agent for its metrics, as an operator would |
//! | `cluster` | one seed from beginning to end |
//! | `proof` | the auditor's proof at the end, from accounts and ledgers |
//! | `campaign` | many seeds, in processes of their own |
//! | `mutants` | which planted bugs are found, with the feature `mutants` |
//! | `trace` | what happened, as a hash, and as text for people |
//!
//! # What is promised for a seed
//!
//! The same program and the same seed make the same trace, byte for byte, on any machine. For this,
//! one seed has one process: task numbers of tokio are counted for the whole process, and decide
//! in which order a crashed host's tasks are dropped.

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
    /// With --seed: print all that happens, to stderr
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Seeds at a time [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Note each finished seed in this file, and skip those that this program has noted there
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
    /// With --mutants: go on to the next bug once one is found
    #[cfg(feature = "mutants")]
    #[arg(long, requires = "mutants")]
    until_found: bool,
}

const EXAMPLES: &str = "\
Examples:
  aqueduct-sim --seeds 300                     300 seeds; exit status 1 if one is red
  aqueduct-sim --seeds 0..20000 --log runs     a campaign that may be stopped and gone on with
  aqueduct-sim --seed 42 --trace               one seed again, with all that happens";

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where stderr is closed there is no other place to report it.
            drop(writeln!(io::stderr(), "aqueduct-sim: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Whether all that was asked for is as it should be.
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
