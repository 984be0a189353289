//! Cuts the power under a durable channel on a real file system, and checks the rest.
//!
//! ```text
//!   writer process ─► ext4 ─► loop device ─► one file in FUSE, in this process
//!        │ reports acknowledgements on a pipe          │ keeps the synced data, and separately
//!        ▼                                             ▼ every write since the last sync
//!   acknowledged so far ─────────── cut ─────────► the synced data, and a seeded subset of the
//!                                                    sectors written since: mounted, opened, read
//! ```
//!
//! A cut keeps everything before the last sync of the device, and any 512-byte sectors written
//! later, from none to all, as the seed decides. Every batch whose commit returned before the cut
//! must be in the channel, complete and once, unless the consumer had started to commit it.
//!
//! With `run --lie`, syncs of the disk do nothing; the harness must then find losses. Needs root
//! (FUSE, loop devices, mounts), Linux and `mkfs.ext4`.

#![expect(clippy::disallowed_methods, reason = "it stands outside the world that `Env` is")]

mod cut;
mod device;
mod full;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Cuts the power under a durable channel, and looks at what is left.
#[derive(Parser)]
#[command(after_help = "Examples:\n  aqueduct-powercut run --cuts 100 --seed 1\n  \
                        aqueduct-powercut run --cuts 20 --lie   (has to find losses)\n  \
                        aqueduct-powercut full")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Cuts the power again and again; ends with 1 if anything acknowledged is missing.
    Run {
        /// How many cuts.
        #[arg(long, default_value_t = 100)]
        cuts: u32,
        /// Decides when the power fails and which sectors survive.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Take the channel's syncs away, to see that this harness finds what is lost then.
        #[arg(long)]
        lie: bool,
    },
    /// Fills the disk under a channel and empties it again; ends with 1 if anything is missing.
    Full,
    /// The writer process (started by `run`).
    #[command(hide = true)]
    Write {
        directory: PathBuf,
        #[arg(long)]
        lie: bool,
    },
    /// Prints what a channel still holds (started by `run`).
    #[command(hide = true)]
    Read { directory: PathBuf },
}

#[expect(clippy::print_stderr, reason = "it is a command; this is how it complains")]
fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { cuts, seed, lie } => cut::campaign(cuts, seed, lie),
        Command::Full => full::run(),
        Command::Write { directory, lie } => writer::write(&directory, lie).map(|()| true),
        Command::Read { directory } => writer::read(&directory).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("aqueduct-powercut: {text}");
            ExitCode::FAILURE
        }
    }
}
