//! The client process: its calls are encoded once, so that each costs only a write and a read, with
//! a thread per connection.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use formats::avro::call::Status;
use formats::avro::caller::{Caller, Reply};
use formats::avro::datum::{put_event, put_long};
use formats::avro::frame;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Result};
use crate::process::Usage;

/// What the process gets as its input.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The source
    #[arg(long)]
    to: String,
    /// Connections
    #[arg(long)]
    connections: u32,
    /// Events of a call
    #[arg(long)]
    batch: u32,
    /// Bytes of a body
    #[arg(long)]
    body: u32,
    /// Seconds that are measured, after as many that are not
    #[arg(long)]
    seconds: u32,
    /// Process of the agent, whose CPU time is read
    #[arg(long)]
    agent: u32,
}

/// Results of the clients in the measured phase.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    /// Events of successful calls.
    pub(super) events: u64,
    /// Failed calls.
    pub(super) failed: u64,
    pub(super) seconds: f64,
    /// CPU time of the agent.
    pub(super) cpu_s: f64,
}

/// Phases of a run, as every thread sees them.
const WARM: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

#[derive(Default)]
struct Counts {
    phase: AtomicU8,
    events: AtomicU64,
    failed: AtomicU64,
}

/// Calls until the time is over, and prints the results.
pub(crate) fn run(options: &Options) -> Result<()> {
    let events = events(options);
    let counts = Counts { phase: AtomicU8::new(WARM), ..Counts::default() };
    let limit = Duration::from_secs(options.seconds.into());
    let answered = thread::scope(|scope| {
        let clients: Vec<_> = (0..options.connections)
            .map(|_| scope.spawn(|| client(options, &events, &counts)))
            .collect();
        thread::sleep(limit);
        let measured = measure(options.agent, &counts, limit);
        counts.phase.store(OVER, Ordering::SeqCst);
        for client in clients {
            client.join().expect("a client does not panic")?;
        }
        let (seconds, cpu_s) = measured?;
        let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let (events, failed) = (count(&counts.events), count(&counts.failed));
        Ok::<_, Error>(Answered { events, failed, seconds, cpu_s })
    })?;
    let text = serde_json::to_string(&answered).expect("numbers can be written");
    writeln!(io::stdout().lock(), "{text}").doing(|| "say what was answered".to_owned())
}

/// Starts the measured phase of this duration. Returns its actual seconds, and the CPU time of the
/// agent.
fn measure(agent: u32, counts: &Counts, limit: Duration) -> Result<(f64, f64)> {
    let before = Usage::read(agent)?;
    let began = Instant::now();
    counts.phase.store(MEASURED, Ordering::SeqCst);
    thread::sleep(limit);
    counts.phase.store(OVER, Ordering::SeqCst);
    let seconds = began.elapsed().as_secs_f64();
    Ok((seconds, Usage::read(agent)?.cpu_s - before.cpu_s))
}

/// Returns the events of a call: lines with the headers host and time.
fn events(options: &Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_long(&mut bytes, options.batch.into());
    for n in 0..options.batch {
        let time = (1_795_000_000_000_u64 + u64::from(n)).to_string();
        let headers = [("host", "web-1.example.net"), ("timestamp", &*time)];
        let mut body = format!("{n} GET /cart 200 cache=miss upstream=eu-1 rt=0.031 ");
        while body.len() < options.body as usize {
            body.push_str("and so on ");
        }
        body.truncate(options.body as usize);
        put_event(&mut bytes, &headers, body.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// Runs one connection: a call, its response, the next call.
fn client(options: &Options, events: &[u8], counts: &Counts) -> Result<()> {
    let talking = || format!("call {}", options.to);
    let mut stream = TcpStream::connect(&options.to).doing(talking)?;
    stream.set_nodelay(true).doing(talking)?;
    let mut answers = BufReader::new(stream.try_clone().doing(talking)?);
    let (mut caller, mut answer) = (Caller::default(), Vec::new());
    // The first call contains the handshake; later calls differ only in their serial numbers.
    let mut call = frame::write(1, &[&caller.begin(), events]);
    for serial in 1_u32.. {
        call[..4].copy_from_slice(&serial.to_be_bytes());
        stream.write_all(&call).and_then(|()| read(&mut answers, &mut answer)).doing(talking)?;
        let reply = caller.answer(&answer).map_err(|problem| Error::Answer {
            from: options.to.clone(),
            detail: problem.to_string(),
        })?;
        if serial == 1 {
            call = frame::write(1, &[&caller.begin(), events]);
        }
        match counts.phase.load(Ordering::Relaxed) {
            OVER => break,
            MEASURED if reply == Reply::Status(Status::Ok) => {
                counts.events.fetch_add(options.batch.into(), Ordering::Relaxed);
            }
            MEASURED => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads the next response: the bytes of its buffers. Our responses have one buffer, Flume's
/// several.
fn read(stream: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut numbers = [0; 8];
    stream.read_exact(&mut numbers)?;
    answer.clear();
    for _ in 0..number(&numbers[4..]) {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let start = answer.len();
        answer.resize(start + number(&length), 0);
        stream.read_exact(&mut answer[start..])?;
    }
    Ok(())
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
