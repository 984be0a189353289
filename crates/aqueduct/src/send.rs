//! `aqueduct send`: sends lines from standard input as events to a source of an agent or of Flume.
//!
//! ```text
//!   standard input ─► input (a thread) ─► batches ─► the sink of the address ─► acknowledged
//!                                                    one batch in flight
//! ```
//!
//! The sinks `avro`, `thrift` and `http` send the events and interpret the responses. One batch is
//! in flight at a time, so that the acknowledged lines are always a prefix of the input and one
//! number tells where to continue. The protocol between agents is not supported, because its
//! guarantees need a channel.

mod input;
mod rpc_props;
mod target;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use pipeline::{ErrorClass, Outcome, Sink, SinkError, Taken};
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::runtime;
use input::{Input, Lines};

/// How long a sent batch may take after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Interval between progress lines, on a terminal and elsewhere.
const PROGRESS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

const EXAMPLES: &str = "\
Examples:
  aqueduct send avro://collector-1:4545 < access.log
  journalctl -o cat | aqueduct send avro://127.0.0.1:4545 --header unit=nginx
  aqueduct send https://collector-1:5140 --ca ca.pem --batch 500 < events.txt
  aqueduct send thrift://flume-1:4141 --set protocol=binary < access.log
  aqueduct send avro://collector-1:4545 --skip 12300 < access.log

A response acknowledges a batch: it is in the channels of the source. The program stops at the first
failure; events of an unanswered batch may be stored. It prints the number of acknowledged lines,
including those of --skip, to standard output: pass it as --skip to resume.

Exit codes: 0 every line is acknowledged, 1 not every line, 2 wrong arguments";

/// Send lines of standard input as events, to an `avro`, `thrift` or `http` source.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct SendArgs {
    /// The source: avro://HOST:PORT, thrift://HOST:PORT, http://HOST:PORT/PATH or https://…
    #[arg(required_unless_present = "rpc_props")]
    address: Option<String>,

    /// A header of every event; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,

    /// Headers of every event, as a file of Java properties
    #[arg(long, value_name = "FILE")]
    header_file: Option<PathBuf>,

    /// Maximum number of events in one call
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: Option<u32>,

    /// Skip this many lines at the beginning, which are already acknowledged
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    skip: u64,

    /// Use TLS, and trust the authorities of this host
    #[arg(long)]
    tls: bool,

    /// Use TLS, and trust the authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A setting of the sink for this address, such as compression=deflate or tls.key=FILE
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,

    /// Settings as a file of Flume's RPC client: hosts, batch-size, ssl and others
    #[arg(long, value_name = "FILE")]
    rpc_props: Option<PathBuf>,
}

/// Splits name and value at the first `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Why some lines are not acknowledged.
#[derive(Debug)]
struct Failure {
    problem: String,
    /// Lines that were sent and may be stored.
    in_doubt: usize,
}

impl Failure {
    fn before_sending(problem: String) -> Self {
        Self { problem, in_doubt: 0 }
    }
}

/// Sends the lines and prints the number of acknowledged ones.
pub(crate) fn run(args: &SendArgs) -> ExitCode {
    let env = env::real();
    let prepared = target::from_args(args, &env).and_then(|target| {
        let headers = headers(args, &env)?;
        Ok((target, headers, runtime::new()?))
    });
    let (target, headers, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let input = Input { headers, batch: target.batch, skip: args.skip };
    let mut progress = Progress::new(args.skip, &target.address);
    let sent = runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| {
            Failure::before_sending(format!(
                "cannot register signal handlers, so nothing is sent: {error}; check the limits of \
                 the process (`ulimit -n`)"
            ))
        })?;
        let lines = input.begin(io::stdin());
        send(target.sink, lines, signals, &mut progress).await
    });
    progress.end();
    let (acknowledged, address) = (progress.acknowledged, &target.address);
    let printed = cli::print(&format!("{acknowledged}\n"));
    match sent {
        Ok(()) => {
            cli::print_line(&format!("{acknowledged} lines are acknowledged by {address}"));
            printed
        }
        Err(Failure { problem, in_doubt }) => {
            let doubt = match in_doubt {
                0 => String::new(),
                lines => format!("; the next {lines} may be stored already"),
            };
            cli::print_line(&format!(
                "{problem}\n{acknowledged} lines are acknowledged by {address}{doubt}; resume \
                 with --skip {acknowledged}"
            ));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Returns the headers of every event.
fn headers(args: &SendArgs, env: &pipeline::Env) -> Result<Vec<(String, String)>, String> {
    let mut headers = match &args.header_file {
        Some(path) => {
            let read = rpc_props::properties(path, env);
            read.map_err(|problem| format!("--header-file {problem}"))?
        }
        None => Vec::new(),
    };
    for (name, value) in &args.header {
        headers.retain(|(other, _)| other != name);
        headers.push((name.clone(), value.clone()));
    }
    Ok(headers)
}

/// Sends batches until the input ends.
async fn send(
    mut sink: Box<dyn Sink>,
    mut lines: mpsc::Receiver<Lines>,
    mut signals: Signals,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let opened = sink.open().await;
    opened.map_err(|error| Failure::before_sending(agent::chain(&error)))?;
    let mut ticket = 0;
    loop {
        let read = tokio::select! {
            biased;
            name = signals.next() => {
                return Err(Failure::before_sending(format!("stopped by {name}")));
            }
            read = lines.recv() => read,
        };
        match read {
            Some(Lines::Batch(batch)) => {
                ticket += 1;
                let events = batch.len();
                deliver(&mut *sink, Taken { ticket, batch }, &mut signals).await?;
                progress.add(events);
            }
            Some(Lines::Failed(problem)) => return Err(Failure::before_sending(problem)),
            None => {
                sink.close().await;
                return Ok(());
            }
        }
    }
}

/// Sends one batch and waits for its acknowledgement. After a signal, waits only a little longer.
async fn deliver(sink: &mut dyn Sink, taken: Taken, signals: &mut Signals) -> Result<(), Failure> {
    let events = taken.batch.len();
    sink.write(taken).await.map_err(|error| failed(&error, events))?;
    let mut settled = std::pin::pin!(settled(sink, events));
    tokio::select! {
        biased;
        settled = &mut settled => settled,
        name = signals.next() => timeout(GRACE, settled).await.unwrap_or_else(|_| {
            Err(Failure { problem: format!("stopped by {name}"), in_doubt: events })
        }),
    }
}

/// Waits for the result of the batch of this many events.
async fn settled(sink: &mut dyn Sink, events: usize) -> Result<(), Failure> {
    loop {
        return match sink.settled().await.outcome {
            Outcome::Delivered => Ok(()),
            // The sink reports the delivery later.
            Outcome::Stored => continue,
            Outcome::Again(Some(error)) => Err(failed(&error, events)),
            Outcome::Again(None) | Outcome::HeldBack(_) => Err(Failure::before_sending(
                "the agent did not accept the batch and stored none of it; retry, and see the log \
                 of the agent"
                    .to_owned(),
            )),
            Outcome::Refused(letter) => {
                let (detail, refused) = (letter.detail, letter.events.len());
                let problem = format!("the source rejected {refused} events permanently: {detail}");
                Err(Failure { problem, in_doubt: if letter.whole { 0 } else { events } })
            }
        };
    }
}

/// Maps a failure to the fate of the events of a batch, which is one call.
fn failed(error: &SinkError, events: usize) -> Failure {
    let in_doubt = if error.class == ErrorClass::Indeterminate { events } else { 0 };
    Failure { problem: agent::chain(error), in_doubt }
}

/// Signals that stop the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    caught: Option<&'static str>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, caught: None })
    }

    /// Returns the name of the next signal. Once caught, returns the same name again.
    async fn next(&mut self) -> &'static str {
        if let Some(name) = self.caught {
            return name;
        }
        let name = tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        *self.caught.insert(name)
    }
}

/// Progress on standard error.
struct Progress {
    acknowledged: u64,
    address: String,
    is_terminal: bool,
    shown: Instant,
    has_line: bool,
}

impl Progress {
    fn new(acknowledged: u64, address: &str) -> Self {
        let (address, is_terminal) = (address.to_owned(), io::stderr().is_terminal());
        Self { acknowledged, address, is_terminal, shown: Instant::now(), has_line: false }
    }

    fn add(&mut self, lines: usize) {
        self.acknowledged += lines as u64;
        let pace = if self.is_terminal { PROGRESS[0] } else { PROGRESS[1] };
        if self.shown.elapsed() < pace {
            return;
        }
        self.shown = Instant::now();
        let text = format!("{} lines are acknowledged by {}", self.acknowledged, self.address);
        if self.is_terminal {
            self.has_line = true;
            // Overwrite the previous line.
            let _ = write!(io::stderr(), "\r{text}");
        } else {
            cli::print_line(&text);
        }
    }

    /// Ends the progress line.
    fn end(&self) {
        if self.has_line {
            let _ = writeln!(io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_cut_at_its_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("=b").is_err() && pair("a").is_err());
    }
}
