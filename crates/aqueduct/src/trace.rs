//! `aqueduct trace`: finds a line.
//!
//! ```text
//!  FILE, byte ──► the line, and the position of its file in channels
//!                     │ a retained segment names its batch
//!  text ──────────────┼─► batches in channels, dead letters ─────► identities
//!  identity ──────────┘                                                   │
//!                            commit ledgers: the entry, its files ◄───────┘
//!                                            └─► the file that holds the text, and its line
//! ```
//!
//! `trace` changes nothing, and agents may be running. It reports what is no longer known: a
//! channel deletes a segment after its delivery, a ledger forgets the file names of a generation
//! when the next one starts, and nothing remains of events that an interceptor dropped.

mod host;
mod line;
mod report;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pipeline::{Env, Identity};
use program::cli::{self, EXIT_RUNTIME};

use crate::channel::Keys;
use crate::runtime;
use line::Line;
use report::Report;

const EXAMPLES: &str = "\
Examples:
  # A line by a byte of it, from the host that it was written on:
  aqueduct trace --file /var/log/nginx/access.log --offset 48211 --data-dir /var/lib/aqueduct \\
      --store 'hdfs://namenode:8020/logs/%Y-%m-%d'

  # By its text, if a channel or a file still contains it:
  aqueduct trace --text 'order 4711' --data-dir /var/lib/aqueduct --store file:///data/logs

  # A batch that a log, `aqueduct tap` or another trace has named, on a collector:
  aqueduct trace --batch 8f1d…/3/77 --data-dir /var/lib/aqueduct --store hdfs://namenode:8020/logs

The command searches only --data-dir and --store; for a line on another host, run it there. It finds
the file of a delivered batch while the channel has the segment and the ledger lists the files;
after that, only by --text. Compressed and columnar files are listed, but not searched.

Exit codes: 0 found, 1 not found or not readable, 2 wrong arguments";

/// Find a line: its batch, the agent that has it, and its file in the store.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct TraceArgs {
    /// The file that the line was written to, by its current name
    #[arg(long, value_name = "FILE", requires = "offset")]
    file: Option<PathBuf>,
    /// Any byte of the line
    #[arg(long, value_name = "BYTE", requires = "file")]
    offset: Option<u64>,
    /// A part of the line's text
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    text: Option<String>,
    /// The batch: ORIGIN/EPOCH/SEQUENCE
    #[arg(long, value_name = "IDENTITY", required_unless_present_any = ["file", "text"])]
    batch: Option<Identity>,
    /// Data directory of an agent on this host; several may be given
    #[arg(long, value_name = "DIR")]
    data_dir: Vec<PathBuf>,
    /// The `url` of an `hdfs` sink; several may be given
    #[arg(long, value_name = "URL")]
    store: Vec<String>,
    /// Name of that sink; needed where several have stored below one URL
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Maximum number of bytes of visible files to read for a text
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    read_max: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: Keys,
}

/// What to look for.
pub(super) struct SearchTarget {
    /// The line, if it is given by file and byte.
    line: Option<Line>,
    /// Text in the event's body; empty if unknown.
    text: Vec<u8>,
}

impl SearchTarget {
    /// Returns whether this body matches.
    fn is(&self, body: &[u8]) -> bool {
        match &self.line {
            Some(line) => line.text == body,
            None => !self.text.is_empty() && memchr::memmem::find(body, &self.text).is_some(),
        }
    }
}

/// Searches for the line and prints the result.
pub(crate) fn run(args: &TraceArgs) -> ExitCode {
    let env = env::real();
    match runtime::block_on(traced(args, &env)) {
        Ok(report) => {
            let printed = cli::print(&if args.json { report.json() } else { report.text() });
            if report.is_found() { printed } else { ExitCode::from(EXIT_RUNTIME) }
        }
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Searches channels first: batches committed in the meantime are then found in the store.
async fn traced(args: &TraceArgs, env: &Env) -> Result<Report, String> {
    let line = match (&args.file, args.offset) {
        (Some(file), Some(offset)) => Some(line::read(file, offset, env)?),
        _ => None,
    };
    let text = match (&line, &args.text) {
        (Some(line), _) => line.text.clone(),
        (None, Some(text)) => text.clone().into_bytes(),
        (None, None) => Vec::new(),
    };
    let wanted = SearchTarget { line, text };
    let mut report = Report::new(wanted.line.as_ref());
    report.batches.extend(args.batch);
    let encryption = args.keys.encryption();
    for data_dir in &args.data_dir {
        host::search(data_dir, encryption.as_ref(), env, &wanted, &mut report)?;
    }
    // An agent searched earlier may hold a batch that a later one named.
    let named = report.batches.clone();
    for data_dir in &args.data_dir {
        host::search_batches(data_dir, encryption.as_ref(), env, &named, &mut report)?;
    }
    for url in &args.store {
        let sink = args.sink.as_deref();
        let left = args.read_max;
        store::search_store((url, sink), env, &wanted, left, &mut report).await?;
    }
    report.conclude(&wanted, args.store.is_empty());
    Ok(report)
}

#[cfg(test)]
mod tests;
